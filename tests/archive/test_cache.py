"""nilearn reads our cache, and we read nilearn's. nilearn's own client asks the tests' server."""

import json
from pathlib import Path

import numpy as np
import pytest
from fetching import Run, cached_files, ids
from neurovault_ica.archive.cache import null_strings_to_none, read_modify_date
from neurovault_server import Archive, Server
from nilearn.datasets import fetch_neurovault, neurovault


@pytest.fixture
def archive():
    """Three studies with the peculiarities of NeuroVault's metadata: null strings, atlases, any kind of text."""
    archive = Archive.small({1: 4, 2: 3, 3: 2})
    archive.images[102] |= {"map_type": "T map", "name": "Übung <b>&amp;</b>", "custom": {"a": [1, None]}}
    archive.images[201]["is_thresholded"] = True
    archive.add_image(350, 3, image_type="atlas")
    return archive


@pytest.fixture
def nilearn_client(monkeypatch):
    """Make nilearn's client send its requests to a test server."""

    def point(server):
        monkeypatch.setattr(neurovault, "_NEUROVAULT_BASE_URL", f"{server.url}/api/")
        monkeypatch.setattr(neurovault, "_NEUROVAULT_COLLECTIONS_URL", f"{server.url}/api/collections/")
        monkeypatch.setattr(neurovault, "_NEUROVAULT_IMAGES_URL", f"{server.url}/api/images/")
        monkeypatch.setattr(neurovault, "_NEUROSYNTH_FETCH_WORDS_URL", f"{server.url}/api/decode/")

    return point


def everything(data_dir, *, words=True, **options):
    """Fetch everything with nilearn: metadata without paths, files and words, ordered by image."""
    found = fetch_neurovault(
        max_images=None, collection_terms={}, image_terms={}, data_dir=data_dir, fetch_neurosynth_words=words,
        verbose=0, **options,
    )  # fmt: skip
    order = sorted(range(len(found.images)), key=lambda i: found.images_meta[i]["id"])
    metas = [
        {key: value for key, value in found.images_meta[i].items() if "_path" not in key and key != "file"}
        for i in order
    ]
    files = [Path(found.images[i]).read_bytes() for i in order]
    if not words:
        return metas, files
    return metas, files, found.word_frequencies[order], list(found.vocabulary)


def test_nilearn_reads_our_cache_as_its_own(archive, nilearn_client, tmp_path):
    with Server(archive) as server:
        nilearn_client(server)
        theirs = everything(tmp_path / "theirs")
        run = Run(tmp_path, server=server)
        run.select()
        run.terms()
        run.download()
    ours = everything(run.data_dir, mode="offline")
    assert ours[0] == theirs[0]
    assert ours[1] == theirs[1]
    assert np.array_equal(ours[2], theirs[2])
    assert ours[3] == theirs[3]
    assert len(ours[1]) == 10


def test_nilearn_selects_the_same_images_with_its_default_terms(archive, nilearn_client, tmp_path):
    with Server(archive) as server:
        nilearn_client(server)
        theirs = fetch_neurovault(max_images=None, data_dir=tmp_path / "theirs", verbose=0)
        _, images, _ = Run(tmp_path, server=server).select(
            collection_terms={"number_of_images": {"not_null": True}},
            image_terms={
                "not_mni": False,
                "is_thresholded": False,
                "map_type": {"not_in": ["ROI/mask", "anatomical", "parcellation"]},
                "image_type": {"not_equal": "atlas"},
            },
        )
    assert sorted(meta["id"] for meta in theirs.images_meta) == ids(images)


def test_we_read_nilearns_cache_and_find_what_is_damaged(archive, nilearn_client, tmp_path):
    with Server(archive) as server:
        nilearn_client(server)
        everything(tmp_path / "data")
        damaged = tmp_path / "data/neurovault/collection_1/image_101.nii.gz"
        damaged.write_bytes(damaged.read_bytes()[:-1])
        before = cached_files(tmp_path / "data")
        offline = Run(tmp_path, data_dir=tmp_path / "data")
        offline.select()
        rows = offline.download()
        terms, _ = offline.terms()
        assert [row["image_id"] for row in rows if row["reason"] == "damaged_file"] == ["101"]
        assert len({row["image_id"] for row in terms}) == 10
        assert cached_files(tmp_path / "data") == before
        # With the server, only the damaged image is downloaded again.
        asked = server.count("/media/")
        run = Run(tmp_path, server=server)
        run.select()
        assert {row["status"] for row in run.download()} == {"ok"}
        assert server.count("/media/") == asked + 1
        run.terms()
        assert server.count("/api/decode/") == 10


def test_a_file_without_metadata_counts_as_incomplete(archive, tmp_path):
    with Server(archive) as server:
        run = Run(tmp_path, server=server)
        run.select()
        image = run.data_dir / "neurovault/collection_1/image_101.nii.gz"
        image.write_bytes(archive.files["1/map_102.nii.gz"])
        assert everything(run.data_dir, mode="offline", words=False) == ([], [])
        run.download()
        assert image.read_bytes() == archive.files["1/map_101.nii.gz"]


@pytest.mark.parametrize(
    ("content", "version"),
    [('{"modify_date": "2018"}', "2018"), ('{"modify_date": null}', "n/a"), ("{}", "n/a"), ("[1]", None), ("{", None)],
)
def test_the_version_of_a_cached_image(tmp_path, content, version):
    path = tmp_path / "neurovault/collection_1/image_2_metadata.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert read_modify_date(tmp_path, 1, 2) == version
    assert read_modify_date(tmp_path, 1, 3) is None


def test_null_strings_are_those_of_nilearn_but_must_match_completely():
    record = {"a": "None / Other", "b": "null", "c": "", "d": "N/A", "e": "null hypothesis rejected", "f": 0}
    ours, theirs = null_strings_to_none(record), neurovault._remove_none_strings(record)
    assert [key for key in record if ours[key] != theirs[key]] == ["e"]


def test_a_complete_cache_is_not_written_again(archive, tmp_path):
    """So a user who may not write into the cache can use it."""
    files = []
    with Server(archive) as server:
        for user in ("first", "second"):
            run = Run(tmp_path / user, server=server, data_dir=tmp_path / "cache")
            run.select()
            run.download()
            run.terms()
            files.append({path: path.stat().st_ino for path in (tmp_path / "cache").rglob("*") if path.is_file()})
    assert files[0] == files[1]


def test_description_is_in_the_cache(archive, tmp_path):
    with Server(archive) as server:
        Run(tmp_path, server=server).select()
    assert "Gorgolewski" in (tmp_path / "data/neurovault/README.txt").read_text()
    assert json.loads((tmp_path / "data/neurovault/records/image_101.json").read_text())["id"] == 101


DEEP = "[" * 100_000


@pytest.mark.parametrize("images", ["[null]", "[[1]]", '[{"id": "x"}]', '[{"id": true}]', "{}", "1", DEEP])
def test_a_damaged_listing_is_requested_again(archive, tmp_path, images):
    with Server(archive) as server:
        run = Run(tmp_path, server=server)
        expected = ids(run.select()[1])
        path = run.data_dir / "neurovault/listings/collection_1.json"
        whole = path.read_text()
        version = json.dumps(json.loads(whole)["version"])
        path.write_text(f'{{"version": {version}, "images": {images}}}')
        asked = server.count("/images/")
        assert ids(run.select()[1]) == expected
        assert server.count("/images/") == asked + 1
        assert path.read_text() == whole


@pytest.mark.parametrize("content", ["[1]", "null", "{}", '{"id": 102}', DEEP, "\udcff"])
def test_a_damaged_record_is_ignored(archive, tmp_path, content):
    with Server(archive) as server:
        run = Run(tmp_path, server=server)
        run.select()
        path = run.data_dir / "neurovault/records/image_101.json"
        path.write_text(content, "utf-8", "surrogateescape")
        assert {row["status"] for row in run.download()} == {"ok"}


@pytest.mark.parametrize("content", [DEEP, "[1]", "null", "1" * 10_000])
def test_damaged_metadata_in_nilearns_cache_are_counted(write_archive, tmp_path, content):
    data_dir = write_archive({1: [{"id": 1}, {"id": 2}]})
    (data_dir / "neurovault/collection_1/image_2_metadata.json").write_text(content)
    _, images, selection = Run(tmp_path, data_dir=data_dir).select()
    assert ids(images) == [1]
    assert sum(row["dropped"] for row in selection if row["criterion"] == "readable metadata") == 1
    assert read_modify_date(data_dir, 1, 2) is None
