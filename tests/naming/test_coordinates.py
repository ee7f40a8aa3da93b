"""Reading a database of coordinates: spaces, what is left out, and what is refused."""

import gzip
import logging

import numpy as np
import pandas as pd
import pytest
from made_database import TO_TALAIRACH, make_tables, write_database
from neurovault_ica.archive.database_files import explain_database, find_database
from neurovault_ica.naming.coordinates import read_database
from neurovault_ica.naming.talairach import mni_to_talairach, talairach_to_mni
from scipy import sparse

POINTS = np.array([[-38.0, -24, 56], [40, -22, 56], [8, -92, 0], [-22, -4, -20], [0, 50, 10], [-10, 10, -8]])


@pytest.fixture
def tables():
    return list(make_tables(POINTS, n_studies=30))


def read(folder, vocabulary="terms"):
    return read_database(find_database(folder, vocabulary))


def test_talairach_coordinates_are_brought_to_mni(tmp_path, tables):
    """Unknown spaces count as MNI."""
    database = read(write_database(tmp_path / "made", *tables))
    distance = np.linalg.norm(database.peaks_mm[:, None] - POINTS, axis=2).min(axis=1)
    np.testing.assert_allclose(distance, 0, atol=1e-6)
    assert len(database.studies) == 30
    assert set(tables[1]["space"]) == {"MNI", "TAL", "UNKNOWN"}
    # nimare.utils.tal2mni of NiMARE 0.22.1.
    from_nimare = [[1.07815554, 1.16824353, -4.17804942], [-41.17368204, -15.9528552, 53.50311546]]
    np.testing.assert_allclose(talairach_to_mni(np.array([[0.0, 0, 0], [-40, -20, 50]])), from_nimare, atol=1e-8)
    there = POINTS @ TO_TALAIRACH[:, :3].T + TO_TALAIRACH[:, 3]
    np.testing.assert_allclose(talairach_to_mni(there), POINTS, atol=1e-9)
    np.testing.assert_allclose(mni_to_talairach(POINTS), there, atol=1e-9)


def test_smallest_weight_of_tf_idf_and_of_topics(tmp_path, tables):
    weights = np.tile([0.0, 0.0009, 0.001, 0.04, 0.05], (30, 1))
    tables[2] = weights
    terms = read(write_database(tmp_path / "tfidf", *tables)).has_term.toarray()
    np.testing.assert_array_equal(terms, weights >= 0.001)
    folder = write_database(tmp_path / "topics", *tables, vocabulary="LDA50", kind="weight")
    np.testing.assert_array_equal(read(folder, "LDA50").has_term.toarray(), weights >= 0.05)


def test_what_cannot_be_used_is_left_out_and_counted(tmp_path, tables, caplog):
    coordinates, metadata, weights, _ = tables
    first = metadata["id"][0]
    coordinates = coordinates.astype({"x": object})
    of_first = np.flatnonzero(coordinates["id"] == first)
    coordinates.loc[of_first, ["x", "y", "z"]] = [[200, 0, 0]] * len(of_first)  # outside the brain
    other = np.flatnonzero(coordinates["id"] == metadata["id"][1])
    coordinates.loc[other[0], "x"] = "n.s."
    extra = pd.DataFrame({"id": [77, 77], "peak_id": [1, 2], "x": [0, 0], "y": [0, 0], "z": [0, 0]})
    tables[0] = pd.concat([coordinates, extra])
    metadata.loc[2, "space"] = None
    with caplog.at_level(logging.INFO):
        database = read(write_database(tmp_path / "made", *tables))
    n_peaks = len(tables[0])
    assert len(database.peaks_mm) == n_peaks - len(of_first) - 3
    assert database.studies == [str(study) for study in metadata["id"][1:]]
    np.testing.assert_array_equal(database.has_term.toarray(), weights[1:] >= 0.001)
    assert database.study_of.max() == 28
    assert f"left out {len(of_first)} of {n_peaks} peaks, because they lie more than 10 mm outside" in caplog.text
    assert f"left out 1 of {n_peaks} peaks, because their coordinates are not numbers" in caplog.text
    assert f"2 of {n_peaks} peaks, because their study is not in the metadata" in caplog.text
    assert "left out 1 of 30 studies, because they have no usable peak" in caplog.text


def test_ids_may_be_text(tmp_path, tables):
    for table in tables[:2]:
        table["id"] = "study-0" + table["id"].astype(str)
    assert read(write_database(tmp_path / "made", *tables)).studies[0] == "study-09000001"


def spoil_coordinates(tables):
    tables[0][["x", "y", "z"]] *= 10


def spoil_ids(tables):
    tables[0]["id"] += 1_000_000


def spoil_numbers(tables):
    tables[0][["x", "y", "z"]] = "here"


def spoil_columns(tables):
    tables[0] = tables[0].rename(columns={"x": "X"})


def spoil_order(tables):
    """Exchange y and z."""
    tables[0][["y", "z"]] = tables[0][["z", "y"]].to_numpy()


def spoil_unit(tables):
    tables[0][["x", "y", "z"]] /= 10


def spoil_ids_of_metadata(tables):
    tables[1]["id"] = tables[1]["id"].astype(object)
    tables[1].loc[[2, 3], "id"] = None


def spoil_data_type(tables):
    tables[2] = tables[2].astype(complex)


def spoil_metadata(tables):
    tables[1].loc[1, "id"] = tables[1].loc[0, "id"]


def spoil_features(tables):
    tables[2] = tables[2][:-3]


def spoil_terms(tables):
    tables[3] = tables[3][:-1]


def spoil_vocabulary(tables):
    tables[3] = []


def spoil_rows(tables):
    tables[1] = tables[1][:0]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            spoil_coordinates,
            r"too many peaks \(\d+ of \d+\) lie more than 10 mm outside the brain \(x -\d+ to \d+, .*MNI or Talairach",
        ),
        (spoil_ids, r"no id of .*coordinates.tsv.gz \(such as 10000001\) is in .*metadata.tsv.gz"),
        (spoil_numbers, "x, y and z are not numbers"),
        (spoil_columns, "has no column x; it has id, peak_id, X, y, z"),
        (spoil_order, r"peaks lie .* outside .*, but only \d+ if its columns x, y, z are read as x, z, y; correct"),
        (spoil_unit, "all peaks lie within 1[0-9] mm of each other, as if they were in cm"),
        (spoil_ids_of_metadata, "2 of 30 rows have no id"),
        (spoil_data_type, "its data type is complex128"),
        (spoil_metadata, "the same id has several rows, such as 9000001"),
        (spoil_features, "features of 27 studies, but .*metadata.tsv.gz lists 30"),
        (spoil_terms, "has 5 terms, but .*vocabulary.txt names 4"),
        (spoil_vocabulary, "has no term"),
        (spoil_rows, "metadata.tsv.gz has no rows"),
    ],
)
def test_databases_that_cannot_be_used(tmp_path, tables, spoil, message):
    spoil(tables)
    folder = write_database(tmp_path / "made", *tables)
    with pytest.raises(ValueError, match=message):
        read(folder)


@pytest.mark.parametrize("kind", ["coordinates", "metadata", "features", "vocabulary"])
def test_damaged_files_are_named(tmp_path, tables, kind):
    folder = write_database(tmp_path / "made", *tables)
    file = next(folder.glob(f"*_{kind}.*"))
    for content in (file.read_bytes()[:-20], b"\x89\xff\xfe garbage", b""):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=f"_{kind}"):
            read(folder)


def test_features_with_positions_outside_the_matrix_are_refused(tmp_path, tables):
    """scipy would write outside its memory when it converts them."""
    folder = write_database(tmp_path / "made", *tables)
    file = next(folder.glob("*_features.npz"))
    parts = {"data": np.ones(5), "indices": np.full(5, 9_999_999), "indptr": np.r_[0, np.full(30, 5)]}
    np.savez(file, format=np.array("csr"), shape=(30, 5), **parts)
    with pytest.raises(ValueError, match=r"features\.npz cannot be read as a sparse matrix"):
        read(folder)
    with file.open("wb") as stream:
        np.save(stream, np.ones((30, 5)))
    with pytest.raises(ValueError, match=r"it is not a \.npz file"):
        read(folder)


def test_the_folder_that_nimare_downloads_into_is_found(tmp_path, tables):
    write_database(tmp_path / "cache/neurosynth", *tables)
    assert find_database(tmp_path / "cache", "terms") == find_database(tmp_path / "cache/neurosynth", "terms")
    with pytest.raises(ValueError, match=r"for the vocabulary LDA200 \(build_term_maps.vocabulary\).*: terms"):
        find_database(tmp_path / "cache", "LDA200")


def test_files_are_found_by_their_names(tmp_path, tables):
    folder = write_database(tmp_path / "made", *tables)
    start = folder / "data-made_version-1_"
    assert find_database(folder, "terms").coordinates == f"{start}coordinates.tsv.gz"
    # Files of a user may be uncompressed, and their names may lack a prefix.
    own = tmp_path / "own"
    own.mkdir()
    for kind in ("coordinates", "metadata"):
        (own / f"{kind}.tsv").write_bytes(gzip.decompress((folder / f"data-made_version-1_{kind}.tsv.gz").read_bytes()))
    sparse.save_npz(own / "vocab-mine_features.npz", sparse.coo_matrix(tables[2]))
    (own / "vocab-mine_vocabulary.txt").write_text("\n".join(tables[3]))
    assert len(read(own, "mine").studies) == 30


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: next(folder.glob("*coord*")).unlink(), "has no file of coordinates; the file's name must end"),
        (lambda folder: next(folder.glob("*features*")).unlink(), "has no file of features .* no complete vocabulary"),
        (lambda folder: next(folder.glob("*vocabulary*")).unlink(), "has no file of vocabulary"),
        (lambda folder: (folder / "other_metadata.tsv").touch(), "has 2 files of metadata: .*one database only"),
        (lambda folder: folder.rename(folder.with_name("moved")), "there is no folder"),
    ],
)
def test_a_folder_without_a_database_is_explained(tmp_path, tables, change, message):
    folder = write_database(tmp_path / "made", *tables)
    assert explain_database(str(folder), "terms") is None
    assert "its complete vocabularies are: terms" in explain_database(str(folder), "LDA50")
    change(folder)
    with pytest.raises(ValueError, match=message):
        find_database(folder, "terms")
