"""A table of the user's own maps as the archive."""

import gzip

import pytest
from fetching import Run, ids, write_lock
from neurovault_ica.archive.own_table import read_own_table
from neurovault_server import nifti


@pytest.fixture
def write_own(tmp_path):
    """Write maps and their table into the folder ``lab``."""

    def write(text):
        folder = tmp_path / "lab"
        (folder / "maps").mkdir(parents=True, exist_ok=True)
        (folder / "maps" / "a.nii.gz").write_bytes(nifti(1))
        (folder / "maps" / "b.nii").write_bytes(gzip.decompress(nifti(2)))
        (folder / "a_terms.json").write_text('{"data": {"values": {"faces": 0.5}}}')
        table = folder / "maps.tsv"
        table.write_text(text, "utf-8", "surrogateescape")
        return str(table)

    return write


OWN = (
    "file\timage_id\tcollection_id\tcollection_name\tmap_type\tnumber_of_subjects\tterms\tage\n"
    "maps/a.nii.gz\t1\t7\tFaces\tZ map\t20\ta_terms.json\t31.5\n"
    "maps/b.nii\t2\t7\tFaces\tT map\tn/a\t\t\n"
    "maps/c.nii.gz\t3\t8\tHouses\tZ map\t9\tn/a\t1e2\n"
)


def test_own_maps_are_selected_and_checked_and_get_terms(write_own, tmp_path):
    table = write_own(OWN)
    run = Run(tmp_path, source="table", table=table)
    collections, images, _ = run.select()
    assert ids(images) == [1, 2, 3]
    assert [row["name"] for row in collections] == ["Faces", "Houses"]
    assert [image["number_of_subjects"] for image in images] == [20, None, 9]
    rows = run.download()
    assert [(row["status"], row["reason"], row["file"]) for row in rows] == [
        ("ok", None, "maps/a.nii.gz"), ("ok", None, "maps/b.nii"), ("failed", "missing_file", "maps/c.nii.gz"),
    ]  # fmt: skip
    terms, statuses = run.terms()
    assert [(row["image_id"], row["term"], row["weight"]) for row in terms] == [("1", "faces", 0.5)]
    assert [row["reason"] for row in statuses] == [None, "not_given", "not_given"]
    assert ids(run.select(image_terms={"age": {"greater_than": 30}}, min_subjects=10)[1]) == [1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file\timage_id\n", "the column collection_id is missing"),
        ("", "the column collection_id, file, image_id is missing"),
        ("file\timage_id\tcollection_id\n", "has no rows"),
        ("file,image_id,collection_id\n", "separated by tabs"),
        ("file\timage_id\tcollection_id\na\ta/1\t1\n", "line 2: image_id 'a/1' is not valid; use up to 100 letters"),
        ("file\timage_id\tcollection_id\na\t1\t-1\n", "line 2: collection_id '-1' is not valid"),
        ("file\timage_id\tcollection_id\na\t1\t1\nb\t1\t2\n", "image_id 1 is given twice, for a and b"),
        ("file\timage_id\tcollection_id\na\t1\n", "line 2: the row has more or fewer cells"),
        ("file\timage_id\tcollection_id\timage_id\n", "more than one column is called 'image_id'"),
        ("file\timage_id\tcollection_id\nK\udcf6ln\t1\t1\n", r"is not UTF-8 \(byte 0xf6\); save it as UTF-8"),
        (
            "file\timage_id\tcollection_id\n/x/a.nii\t1\t1\n",
            r"line 2: /x/a\.nii lies outside of the table's folder, .* write \.\./.*x/a\.nii,",
        ),
        ("file\timage_id\tcollection_id\n \t1\t1\n", "line 2: the column file is empty"),
    ],
)
def test_an_error_explains_what_is_wrong_with_a_table(write_own, text, message):
    with pytest.raises(ValueError, match=message):
        read_own_table(write_own(text))


def test_a_table_from_a_spreadsheet_is_read(write_own):
    rows = read_own_table(write_own("\ufefffile\timage_id\tcollection_id\tx\r\na b.nii\t01\t2\tTRUE\r\n"))
    assert rows[0] == {"file": "a b.nii", "image_id": 1, "collection_id": 2, "x": True, "id": 1}


def test_an_absolute_path_does_not_go_into_results(write_own, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "lab")
    text = (
        "file\timage_id\tcollection_id\n"
        f"{tmp_path}/lab/maps/a.nii.gz\t1\t1\n{tmp_path}/link/../lab/maps/b.nii\t2\t1\n{tmp_path}/link/maps/b.nii\t3\t1\n"
    )
    table = write_own(text)
    assert [row["file"] for row in read_own_table(table)] == ["maps/a.nii.gz", "maps/b.nii", "maps/b.nii"]
    run = Run(tmp_path, source="table", table=table)
    run.select()
    assert {row["status"] for row in run.download()} == {"ok"}
    assert not any(str(tmp_path) in path.read_text() for path in run.results.rglob("*.tsv"))


TEXT_IDS = (
    "file\timage_id\tcollection_id\tterms\n"
    "maps/b.nii\tsub-10_contrast-2\tds000030\ta_terms.json\n"
    "maps/a.nii.gz\tsub-9_contrast-2\tds000030\t\n"
    "maps/a.nii.gz\t7\t12\t\n"
)


def test_ids_may_be_text(write_own, tmp_path):
    run = Run(tmp_path, source="table", table=write_own(TEXT_IDS))
    _, images, _ = run.select()
    assert [(row["collection_id"], row["image_id"]) for row in images] == [
        ("12", "7"), ("ds000030", "sub-9_contrast-2"), ("ds000030", "sub-10_contrast-2"),
    ]  # fmt: skip
    assert {row["status"] for row in run.download()} == {"ok"}
    assert run.terms()[0] == [{"image_id": "sub-10_contrast-2", "term": "faces", "weight": 0.5}]
    lock = write_lock(run.results, tmp_path / "mine.tsv")
    tables = [path.read_bytes() for path in sorted((run.results / "fetch_metadata").glob("[ci]*.tsv"))]
    run.select(lock=lock)
    assert [path.read_bytes() for path in sorted((run.results / "fetch_metadata").glob("[ci]*.tsv"))] == tables
    assert {row["status"] for row in run.download(lock=lock)} == {"ok"}
    _, images, _ = run.select(image_ids=["sub-9_contrast-2", 7])
    assert [row["image_id"] for row in images] == ["7", "sub-9_contrast-2"]
