"""Images are selected by the criteria, and every dropped image is counted."""

import json
import random

import pytest
from fetching import Run, ids
from neurovault_server import Archive, Faults, Server


@pytest.fixture
def fetch(tmp_path):
    def run(data_dir, **settings):
        return Run(tmp_path, data_dir=data_dir).select(batches=3, **settings)

    return run


def test_without_criteria_all_images_are_selected_ordered_by_collection_and_id(write_archive, fetch):
    data_dir = write_archive({20: [{"id": 5}, {"id": 1}], 3: [{"id": 9}]})
    collections, images, _ = fetch(data_dir)
    assert ids(images) == [9, 1, 5]
    assert [(row["collection_id"], row["selected"]) for row in collections] == [("3", 1), ("20", 2)]


def test_an_image_stays_in_its_batch_when_others_are_added(write_archive, fetch):
    _, before, _ = fetch(write_archive({1: [{"id": 4}, {"id": 7}, {"id": 8}]}))
    _, after, _ = fetch(write_archive({0: [{"id": 1}], 2: [{"id": 5}]}))
    batch_of = {row["image_id"]: row["batch"] for row in after}
    assert {row["batch"] for row in before} == {0, 1, 2}
    assert all(batch_of[row["image_id"]] == row["batch"] for row in before)


def test_each_criterion_is_counted(write_archive, fetch):
    data_dir = write_archive(
        {
            1: [{"id": 1}, {"id": 2, "map_type": "T map"}, {"id": 3, "number_of_subjects": 5}],
            2: [{"id": 4, "name": "ICA 3"}, {"id": 5, "number_of_subjects": "12"}, {"id": 6, "number_of_subjects": 0}],
        }
    )
    _, images, selection = fetch(data_dir, image_terms={"map_type": "Z map"}, exclude_words=["ica"], min_subjects=10)
    assert ids(images) == [1, 5, 6]
    dropped = {row["criterion"]: row["dropped"] for row in selection if row["dropped"]}
    assert dropped == {"map_type = Z map": 1, "name without ica": 1, "number_of_subjects >= 10 where known": 1}
    assert [row["step"] for row in selection] == list(range(len(selection)))


def test_selection_by_ids_and_filter_functions(write_archive, fetch, tmp_path):
    data_dir = write_archive({1: [{"id": 1}, {"id": 2}], 2: [{"id": 3}, {"id": 4}], 3: [{"id": 5}]})
    (tmp_path / "mine.py").write_text("def even(image):\n    return image['id'] % 2 == 0\n")
    assert ids(fetch(data_dir, collection_ids=[1, 2], image_filter=f"{tmp_path}/mine.py:even")[1]) == [2, 4]
    assert ids(fetch(data_dir, image_ids=[1, 5])[1]) == [1, 5]


def test_damaged_metadata_is_counted_and_the_rest_is_used(write_archive, fetch):
    data_dir = write_archive({1: [{"id": 1}, {"id": 2}], 2: [{"id": 3}]})
    (data_dir / "neurovault/collection_1/image_2_metadata.json").write_text("<html>")
    (data_dir / "neurovault/collection_2/collection_metadata.json").write_text("[]")
    _, images, selection = fetch(data_dir)
    assert ids(images) == [1]
    assert [(row["level"], row["dropped"]) for row in selection if row["dropped"]] == [("collection", 1), ("image", 1)]


def test_strings_that_mean_no_value_are_null(write_archive, fetch):
    data_dir = write_archive({1: [{"id": 1, "task": "None / Other"}, {"id": 2, "task": "null results"}]})
    assert ids(fetch(data_dir, image_terms={"task": {"not_null": True}})[1]) == [2]


def test_a_criterion_that_leaves_nothing_is_named(write_archive, fetch):
    data_dir = write_archive({1: [{"id": 1}]})
    with pytest.raises(RuntimeError, match=r'"DOI = 10\.1/nobody" dropped the last 1 collection;'):
        fetch(data_dir, collection_terms={"DOI": "10.1/nobody"})
    with pytest.raises(RuntimeError, match='"map_type not_equal Z map" dropped the last 1 image;'):
        fetch(data_dir, image_terms={"map_type": {"not_equal": "Z map"}})
    with pytest.raises(ValueError, match=r"no image has the value F map; existing values: Z map \(1\)"):
        fetch(data_dir, image_terms={"map_type": "F map"})


@pytest.mark.parametrize("term", ["Z map", {"not_in": ["T map"]}])
def test_a_misspelt_field_is_named_before_the_whole_archive_is_read(tmp_path, term):
    with Server(Archive.small(dict.fromkeys(range(1, 60), 1))) as server:
        with pytest.raises(ValueError, match=r"no image has the metadata field 'map_typ'; did you mean map_type\?"):
            Run(tmp_path, server=server).select(image_terms={"map_typ": term})
        assert 1 <= sum(path.endswith("/images/") for path in server.counts()) < 30
        with pytest.raises(ValueError, match="terms: no collection has the metadata field 'nam'; did you mean name"):
            Run(tmp_path, server=server).select(collection_terms={"nam": term})


def test_a_field_that_no_record_has_counts_as_missing_with_a_warning(write_archive, fetch, caplog):
    data_dir = write_archive({1: [{"id": 1}, {"id": 2}]})
    assert ids(fetch(data_dir, image_terms={"label_description_file": {"is_null": True}})[1]) == [1, 2]
    assert "no image has the metadata field 'label_description_file'" in caplog.text
    with pytest.raises(ValueError, match=r"field 'contrast', and no image is left.*existing field: .*map_type"):
        fetch(data_dir, image_terms={"contrast": "pain"})


def test_an_id_that_the_server_does_not_have_is_named(tmp_path):
    with pytest.raises(RuntimeError, match="with readable metadata: collection 424242: not on the server"):
        choose(tmp_path, Archive.small({1: 2}), collection_ids=[424242])


def test_collections_without_images_are_reported(tmp_path):
    archive = Archive.small({1: 2, 2: 0})
    archive.collections[2]["DOI"] = "10.1/empty"
    with pytest.raises(RuntimeError, match=r"has no images in the 1 collection meeting the collection criteria"):
        choose(tmp_path, archive, collection_terms={"DOI": "10.1/empty"})
    with pytest.raises(RuntimeError, match="has no collections"):
        choose(tmp_path, Archive())
    faults = Faults(poisoned_images={101, 102})
    with pytest.raises(RuntimeError, match="none of 2 images has readable metadata; the warnings above"):
        choose(tmp_path, archive, faults=faults, collection_terms={"id": 1})


def test_a_folder_without_a_cache_is_reported(tmp_path, fetch):
    with pytest.raises(RuntimeError, match=r"has no folder neurovault/; set archive\.data_dir"):
        fetch(tmp_path)
    (tmp_path / "neurovault").mkdir()
    with pytest.raises(RuntimeError, match="no collection_<id> folder"):
        fetch(tmp_path)


def test_paths_in_records_are_ignored(write_archive, fetch):
    data_dir = write_archive({1: [{"id": 1, "collection_id": "../../etc", "relative_path": "/etc/passwd"}]})
    _, images, _ = fetch(data_dir)
    assert (images[0]["image_id"], images[0]["collection_id"]) == ("1", "1")


# Metadata of a server.

SIZES = {number: number % 4 for number in range(1, 31)}


def choose(folder, archive, *, faults=None, **settings):
    with Server(archive, faults=faults) as server:
        return without_port(Run(folder, server=server).select(**settings))


def without_port(tables):
    """Remove the server's port from addresses."""
    collections, images, selection = tables
    return collections, [image | {"file": image["file"].split("/media/")[1]} for image in images], selection


@pytest.mark.parametrize("seed", [0, 1])
def test_the_selection_depends_only_on_the_archive(tmp_path, write_archive, seed):
    archive = Archive.small(SIZES)
    settings = {"max_images": 12, "max_images_per_collection": 2, "random_state": seed}
    expected = choose(tmp_path / "plain", archive, **settings)
    shuffled = Archive(
        dict(random.Random(1).sample(sorted(archive.collections.items()), len(SIZES))), archive.images, archive.files
    )
    assert choose(tmp_path / "order", shuffled, **settings) == expected
    assert choose(tmp_path / "unordered", archive, faults=Faults(unordered=True), **settings) == expected
    one = {"connections": 1}
    assert choose(tmp_path / "one", archive, network=one, **settings) == expected
    # The cache has a few images of another run.
    choose(tmp_path / "cached", archive, max_images=3, random_state=5)
    assert choose(tmp_path / "cached", archive, **settings) == expected
    # The cache has all metadata.
    local = {
        number: [{"id": i} for i, image in archive.images.items() if image["collection_id"] == number]
        for number in SIZES
    }
    offline = Run(tmp_path / "offline", data_dir=write_archive(local)).select(**settings)
    assert ids(offline[1]) == ids(expected[1])
    assert offline[2] == expected[2]


def test_only_a_changed_collection_is_read_again(tmp_path):
    archive = Archive.small({1: 2, 2: 2, 3: 2})
    with Server(archive) as server:
        run = Run(tmp_path, server=server)
        run.select()
        asked = len(server.asked)
        assert ids(run.select(image_terms={"map_type": "Z map"})[1]) == [101, 102, 201, 202, 301, 302]
        assert [address.split("?")[0] for address in server.asked[asked:]] == ["/api/collections/"]
        archive.images[101]["map_type"] = "F map"
        archive.collections[1]["modify_date"] = "2026-01-01T00:00:00.000001+01:00"
        asked = len(server.asked)
        assert ids(run.select(image_terms={"map_type": "Z map"})[1]) == [102, 201, 202, 301, 302]
        assert [address.split("?")[0] for address in server.asked[asked:]] == [
            "/api/collections/", "/api/collections/1/images/",
        ]  # fmt: skip


def test_reading_stops_when_there_are_enough_images(tmp_path):
    with Server(Archive.small(dict.fromkeys(range(1, 101), 3))) as server:
        run = Run(tmp_path, server=server)
        _, images, selection = run.select(max_images=6, max_images_per_collection=1)
        assert len(images) == 6
        # Six collections are needed. Each of the four connections may have read one more.
        assert server.count("/images/") <= 10
        assert server.most_at_once <= 4
    assert ("read until there were enough images", 100, 6) in [
        (row["criterion"], row["tested"], row["kept"]) for row in selection
    ]


def test_empty_collections_need_no_request(tmp_path):
    archive = Archive.small({1: 0, 2: 2})
    archive.add_collection(3, name="somebody's temporary collection")
    archive.add_image(31, 3)
    with Server(archive) as server:
        terms = {"name": {"not_contains": ["temporary collection"]}}
        assert ids(Run(tmp_path, server=server).select(collection_terms=terms)[1]) == [201, 202]
        assert server.count("/images/") == 1


def test_an_unreadable_record_does_not_affect_other_records(tmp_path, caplog):
    archive = Archive.small({10: 130, 2: 2, 3: 1})
    faults = Faults(poisoned_images={1017}, poisoned_collections={3})
    _, images, selection = choose(tmp_path, archive, faults=faults)
    assert ids(images) == [201, 202, *(number for number in range(1001, 1131) if number != 1017)]
    unreadable = [(row["level"], row["dropped"]) for row in selection if row["criterion"] == "readable metadata"]
    assert unreadable == [("collection", 1), ("image", 1)]
    lost = {line for line in caplog.messages if line.startswith("metadata cannot be read")}
    assert lost == {
        "metadata cannot be read: collection, listed after collection 2: the server cannot show it",
        "metadata cannot be read: image of collection 10 (Study 10), listed after image 1016 and before image"
        " 1018: the server cannot show it",
    }


def test_a_large_unreadable_collection_is_skipped_and_the_rest_is_read(tmp_path):
    archive = Archive.small({10: 120, 2: 2})
    _, images, selection = choose(tmp_path, archive, faults=Faults(poisoned_images=set(range(1001, 1121))))
    assert ids(images) == [201, 202]
    assert any(row["dropped"] >= 20 for row in selection if row["criterion"] == "readable metadata")


@pytest.mark.parametrize("wrong_count", [-2, 5, 10**12])
def test_a_wrong_count_neither_truncates_a_list_nor_makes_it_endless(tmp_path, wrong_count):
    with Server(Archive.small({1: 3, 2: 2}), faults=Faults(wrong_count=wrong_count)) as server:
        _, images, _ = Run(tmp_path, server=server).select()
        assert ids(images)[-2:] == [201, 202]
        assert len(server.asked) < 80


def test_ids_are_requested_one_by_one(tmp_path):
    with Server(Archive.small({1: 3, 2: 2, 3: 4})) as server:
        run = Run(tmp_path, server=server)
        assert ids(run.select(image_ids=[301, 102, 99999])[1]) == [102, 301]
        assert ids(run.select(collection_ids=[2], image_ids=[102, 201])[1]) == [102, 201, 202]
        assert ids(run.select(collection_ids=[2, 77])[1]) == [201, 202]
        assert ids(run.select(image_terms={"collection_id": 1})[1]) == [101, 102, 103]
        assert server.counts()["/api/collections/"] == 0


def test_image_ids_and_collection_ids_work_together_offline(write_archive, fetch):
    data_dir = write_archive({1: [{"id": 1}, {"id": 2}], 2: [{"id": 3}]})
    assert ids(fetch(data_dir, collection_ids=[2], image_ids=[1])[1]) == [1, 3]


def test_maps_of_packs_and_atlases_pass_the_same_filters(tmp_path):
    archive = Archive.small({1: 1})
    archive.add_image(900, 1, image_type="atlas")
    for key in ("map_type", "modality", "analysis_level", "number_of_subjects", "is_thresholded", "not_mni"):
        del archive.images[900][key]
    archive.add_image(901, 1, image_type="NIDM results statistic map", number_of_subjects=0, data={"x": [1, 2]})
    assert ids(choose(tmp_path / "a", archive)[1]) == [101, 900, 901]
    terms = {"map_type": {"not_in": ["ROI/mask"]}, "image_type": {"not_equal": "atlas"}, "modality": "fMRI-BOLD"}
    assert ids(choose(tmp_path / "b", archive, image_terms=terms, min_subjects=10)[1]) == [101, 901]


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("fault", ["refuse", "drop", "truncate", "429", "500", "502", "503", "html", "json", "form"])
def test_a_page_that_fails_once_changes_nothing(tmp_path, fault):
    archive = Archive.small({1: 2, 2: 2})
    expected = choose(tmp_path / "plain", archive)
    with Server(archive) as server:
        server.misbehave("/api/collections/?", fault)
        server.misbehave("/api/collections/2/images/", fault)
        assert without_port(Run(tmp_path / "faulty", server=server).select()) == expected


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize(
    "fault", ["500", "502", "504", "html", "silence_at_once", "refuse", "403", "404", "deep", "redirects"]
)
def test_a_collection_that_always_fails_is_counted_and_skipped(tmp_path, fault, caplog):
    with Server(Archive.small({1: 2, 2: 2, 3: 1})) as server:
        server.misbehave("/api/collections/2/images/", always=fault)
        _, images, selection = Run(tmp_path, server=server).select()
        assert ids(images) == [101, 102, 301]
        assert len(server.asked) < 30
    assert [row["dropped"] for row in selection if row["criterion"] == "readable metadata"] == [0, 2]
    assert "/api/collections/2/images/: " in caplog.text
    assert "images of collection 2 (Study 2): the server cannot list them (2 times)" in caplog.text


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        ("502", r"status 502\)\. Check archive\.url and your connection\."),
        ("html", r"HTML instead of JSON, with status 200\. Check archive\.url and your connection\."),
        ("silence_at_once", ""),
        ("refuse", ""),
        ("404", r"status 404\. Check archive\.url and your connection\."),
    ],
)
def test_a_list_of_collections_that_always_fails_stops_the_run(tmp_path, fault, advice):
    with Server(Archive.small({1: 2, 2: 2})) as server:
        server.misbehave("/api/collections/?", always=fault)
        with pytest.raises(RuntimeError, match=rf"did not deliver the metadata: .*{advice}.* run again to continue"):
            Run(tmp_path, server=server).select()


@pytest.mark.parametrize("fault", ["500", "403", "429", "html"])
def test_an_outage_behind_a_server_that_answers_loses_no_collection(tmp_path, fault):
    """If its database is down, NeuroVault answers with 500, but its page /api/ needs no database."""
    with Server(Archive.small(dict.fromkeys(range(1, 21), 1))) as server:
        server.fault_of = lambda address: fault if 3 < len(server.asked) <= 16 and address != "/api/" else None
        network = {"attempts": 2, "patience_s": 60, "connections": 2}
        _, images, selection = Run(tmp_path, server=server).select(network=network)
        assert len(images) == 20
        assert {row["dropped"] for row in selection} == {0}


def test_a_server_that_refuses_everything_stops_the_run(tmp_path):
    """A firewall may block us while the lists of images are read. The collections must not count as private."""
    with Server(Archive.small(dict.fromkeys(range(1, 21), 1))) as server:
        server.fault_of = lambda _: "403" if len(server.asked) > 8 else None
        with pytest.raises(RuntimeError, match=r"does not answer \(refused: status 403\).*run again to continue"):
            Run(tmp_path, server=server).select()


def test_a_server_that_is_down_stops_the_run(tmp_path):
    with pytest.raises(RuntimeError, match=r"did not deliver the metadata: server_down: .* status 502"):
        choose(tmp_path, Archive.small({1: 2}), faults=Faults(is_down=True))


def test_an_unknown_doi_is_reported(tmp_path):
    with pytest.raises(RuntimeError, match=r'"DOI = 10\.1/nobody" dropped the last 2 collections;'):
        choose(tmp_path, Archive.small({1: 2, 2: 1}), collection_terms={"DOI": "10.1/nobody"})


def test_values_of_a_wrong_type_are_missing_and_any_text_is_kept(tmp_path):
    archive = Archive.small({1: 2})
    archive.images[101] |= {
        "brain_coverage": "high", "is_thresholded": "yes", "file_size": [1], "number_of_subjects": 1e400,
        "name": {"a": ["\ud800", "\t"]}, "description": "\u2028 <b>\udfff", "modify_date": 7,
    }  # fmt: skip
    with Server(archive) as server:
        run = Run(tmp_path, server=server)
        _, images, _ = run.select()
        row = images[0]
        assert [row[key] for key in ("brain_coverage", "is_thresholded", "file_size", "number_of_subjects")] == [
            None
        ] * 4
        assert row["description"] == "  <b>\ufffd"
        rows = run.download()
        assert [row["status"] for row in rows] == ["ok", "ok"]
        assert run.download() == rows
        assert server.count("/media/") == 2


def test_a_doi_is_found_however_it_was_typed(tmp_path):
    archive = Archive.small({1: 1, 2: 1, 3: 1})
    archive.collections[1]["DOI"] = "10.1/Ab(c)<1>"
    archive.collections[2]["DOI"] = "https://doi.org/10.1/aB(C)<1>"
    assert ids(choose(tmp_path, archive, collection_terms={"DOI": "doi: 10.1/ab(c)<1>"})[1]) == [101, 201]


@pytest.mark.parametrize("seed", range(4))
def test_an_image_in_two_collections_of_a_cache_is_used_once_in_its_latest_version(write_archive, fetch, seed):
    summer, winter = "2018-06-30T08:30:00+02:00", "2018-06-30T07:00:00+01:00"
    data_dir = write_archive(
        {
            1: [{"id": 7, "modify_date": winter}, {"id": 8, "modify_date": "?"}, {"id": 9}],
            2: [{"id": 7, "modify_date": summer, "map_type": "T map"}, {"id": 8, "modify_date": summer}],
            3: [{"id": 7, "modify_date": summer}, {"id": 9}, {"id": 10}],
        }
    )
    _, images, selection = fetch(data_dir, random_state=seed, max_images_per_collection=2)
    assert [(row["collection_id"], row["image_id"]) for row in images] == [
        ("1", "9"),
        ("2", "7"),
        ("2", "8"),
        ("3", "10"),
    ]
    dropped = [(row["criterion"], row["tested"], row["dropped"]) for row in selection if row["dropped"]]
    assert dropped == [("listed in another collection too", 8, 4)]
    # The newest record fails a criterion, and the older record is not used instead.
    _, images, selection = fetch(data_dir, random_state=seed, image_terms={"map_type": "Z map"})
    assert ids(images) == [9, 8, 10]
    assert [row["kept"] for row in selection if row["criterion"] == "map_type = Z map"] == [3]


def test_an_image_in_two_collections_of_a_server_is_used_once(tmp_path):
    archive = Archive.small({1: 2, 2: 2})
    archive.images[999] = archive.images[101] | {"collection_id": 2}
    archive.collections[2]["number_of_images"] = 3
    with Server(archive) as server:
        run = Run(tmp_path, server=server)
        for seed in range(3):
            images = run.select(random_state=seed)[1]
            assert [(row["collection_id"], row["image_id"]) for row in images] == [
                ("1", "101"),
                ("1", "102"),
                ("2", "201"),
                ("2", "202"),
            ]


def test_an_answer_with_another_image_is_ignored(tmp_path):
    archive = Archive.small({1: 2})
    archive.images[7] = archive.images[101]
    _, images, selection = choose(tmp_path, archive, image_ids=[7, 102])
    assert ids(images) == [102]
    assert [(row["level"], row["criterion"]) for row in selection if row["dropped"]] == [
        ("collection", "readable metadata")
    ]


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ({"is_in": ["10.1/AB"]}, [101, 201]), ({"not_in": ["DOI: 10.1/ab"]}, [301, 401]),
        ({"not_equal": "10.1/aB"}, [301, 401]), ({"is_in": ["10.1/ab", None]}, [101, 201, 401]),
        ({"is_in": [5]}, []), ({"contains": ["doi.org"]}, [201]),
    ],
)  # fmt: skip
def test_a_doi_matches_in_any_spelling(write_archive, fetch, term, expected):
    data_dir = write_archive({number: [{"id": 100 * number + 1}] for number in range(1, 5)})
    for number, doi in enumerate(["10.1/Ab", "https://doi.org/10.1/aB", "10.1/c", None], start=1):
        path = data_dir / f"neurovault/collection_{number}/collection_metadata.json"
        path.write_text(json.dumps({"id": number, "name": "x", "DOI": doi}))
    if expected:
        assert ids(fetch(data_dir, collection_terms={"DOI": term})[1]) == expected
    else:
        with pytest.raises(RuntimeError, match="DOI is_in"):
            fetch(data_dir, collection_terms={"DOI": term})


@pytest.mark.parametrize("record", [{"id": "7/2", "collection_id": 1}, {"id": 1, "collection_id": "r\u00e9sum\u00e9"}])
def test_ids_that_are_not_valid_are_refused(record, tmp_path, monkeypatch):
    monkeypatch.setattr("neurovault_ica.archive.selected_tables.select", lambda *_, **__: ([record], {}, []))
    with pytest.raises(ValueError, match=r"the cache .* returns the (collection_)?id '.*make ids with safe_id"):
        Run(tmp_path).select()
