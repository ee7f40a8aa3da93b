"""Which images are chosen, and why the others are not."""

import pytest
from fetch_metadata import balance, main
from outputs import read_table

SETTINGS = {
    "batches": 3, "max_images": None, "max_images_per_collection": None, "random_state": 0, "collection_terms": {},
    "collection_filter": None, "collection_ids": None, "image_terms": {}, "image_filter": None, "image_ids": None,
    "exclude_words": [], "min_subjects": None,
}  # fmt: skip


@pytest.fixture
def fetch(tmp_path):
    def run(data_dir, **settings):
        folder = tmp_path / "results" / "fetch_metadata"
        names = ("collections", "images", "selection")
        files = {name: str(folder / f"{name}.tsv") for name in names}
        main(**files, data_dir=str(data_dir), **(SETTINGS | settings))
        return [read_table(files[name]) for name in names]

    return run


def ids(images):
    return [image["image_id"] for image in images]


def test_everything_is_chosen_in_order_of_collection_and_id(write_archive, fetch):
    data_dir = write_archive({20: [{"id": 5}, {"id": 1}], 3: [{"id": 9}]})
    collections, images, _ = fetch(data_dir)
    assert ids(images) == [9, 1, 5]
    assert [image["batch"] for image in images] == [0, 1, 2]
    assert [(row["collection_id"], row["selected"]) for row in collections] == [(3, 1), (20, 2)]


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


def test_ids_and_functions(write_archive, fetch, tmp_path):
    data_dir = write_archive({1: [{"id": 1}, {"id": 2}], 2: [{"id": 3}, {"id": 4}], 3: [{"id": 5}]})
    (tmp_path / "mine.py").write_text("def even(image):\n    return image['id'] % 2 == 0\n")
    assert ids(fetch(data_dir, collection_ids=[1, 2], image_filter=f"{tmp_path}/mine.py:even")[1]) == [2, 4]
    assert ids(fetch(data_dir, image_ids=[1, 5])[1]) == [1, 5]


def records(collections):
    return [
        {"collection_id": number, "id": 100 * number + i} for number, size in collections.items() for i in range(size)
    ]


def test_no_collection_gets_more_than_its_share():
    chosen, steps = balance(records({1: 50, 2: 3, 3: 8}), max_images=None, max_images_per_collection=5, random_state=0)
    counts = [sum(image["collection_id"] == number for image in chosen) for number in (1, 2, 3)]
    assert counts == [5, 3, 5]
    assert [step["dropped"] for step in steps] == [48, 0]


def test_the_draw_is_seeded_and_does_not_depend_on_order():
    images = records(dict.fromkeys(range(1, 30), 4))
    options = {"max_images": 20, "max_images_per_collection": 2}
    first, _ = balance(images, random_state=0, **options)
    again, _ = balance(images[::-1], random_state=0, **options)
    other, _ = balance(images, random_state=1, **options)
    assert first == again
    assert first != other
    assert len(first) == 20


def test_one_more_collection_does_not_reshuffle_the_draw():
    options = {"max_images": 20, "max_images_per_collection": 1, "random_state": 0}
    before, _ = balance(records(dict.fromkeys(range(1, 60), 3)), **options)
    after, _ = balance(records(dict.fromkeys(range(1, 61), 3)), **options)
    assert len([image for image in before if image not in after]) <= 1


def test_damaged_metadata_is_counted_and_the_rest_goes_on(write_archive, fetch):
    data_dir = write_archive({1: [{"id": 1}, {"id": 2}], 2: [{"id": 3}]})
    (data_dir / "neurovault/collection_1/image_2_metadata.json").write_text("<html>")
    (data_dir / "neurovault/collection_2/collection_metadata.json").write_text("[]")
    _, images, selection = fetch(data_dir)
    assert ids(images) == [1]
    assert [(row["level"], row["dropped"]) for row in selection if row["dropped"]] == [("collection", 1), ("image", 1)]


def test_strings_that_mean_nothing_are_null(write_archive, fetch):
    data_dir = write_archive({1: [{"id": 1, "task": "None / Other"}, {"id": 2, "task": "null results"}]})
    assert ids(fetch(data_dir, image_terms={"task": {"not_null": True}})[1]) == [2]


def test_a_criterion_that_leaves_nothing_is_named(write_archive, fetch):
    data_dir = write_archive({1: [{"id": 1}]})
    with pytest.raises(RuntimeError, match=r'"DOI = 10\.1/nobody" dropped the last 1 of 1 collections'):
        fetch(data_dir, collection_terms={"DOI": "10.1/nobody"})
    with pytest.raises(RuntimeError, match='"map_type = F map" dropped the last 1 of 1 images'):
        fetch(data_dir, image_terms={"map_type": "F map"})


def test_what_is_no_cache_is_said(tmp_path, fetch):
    with pytest.raises(RuntimeError, match=r"has no folder neurovault/; set archive\.data_dir"):
        fetch(tmp_path)
    (tmp_path / "neurovault").mkdir()
    with pytest.raises(RuntimeError, match="no collection_<id> folder"):
        fetch(tmp_path)


def test_paths_in_records_are_not_believed(write_archive, fetch):
    data_dir = write_archive({1: [{"id": 1, "collection_id": "../../etc", "relative_path": "/etc/passwd"}]})
    _, images, _ = fetch(data_dir)
    assert (images[0]["image_id"], images[0]["collection_id"]) == (1, 1)
