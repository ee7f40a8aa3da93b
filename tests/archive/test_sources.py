"""A table of the user's own maps as the archive."""

import copy
import csv
import gzip
import io
import pickle
import re
from pathlib import Path

import pytest
from fetching import Run, ids, write_lock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from neurovault_ica.archive.own_table import read_content
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
        ("", "the columns collection_id, file, image_id are missing"),
        ("file\timage_id\tcollection_id\n", "has no rows"),
        ("file,image_id,collection_id\n", "separated by tabs"),
        ("file\timage_id\tcollection_id\na\ta/1\t1\n", "line 2: image_id 'a/1' is not valid; use up to 100 letters"),
        ("file\timage_id\tcollection_id\na\t1\t-1\n", "line 2: collection_id '-1' is not valid"),
        ("file\timage_id\tcollection_id\na\t1\t1\nb\t1\t2\n", "image_id 1 is given twice, for a and b"),
        ("file\timage_id\tcollection_id\na\t1\n", "line 2: the row has 2 cells, but the header has 3"),
        ("file\timage_id\tcollection_id\timage_id\n", "more than one column is called 'image_id'"),
        ("file\timage_id\tcollection_id\nK\udcf6ln\t1\t1\n", r"is not UTF-8 \(byte 0xf6\); save it as UTF-8"),
        (
            "file\timage_id\tcollection_id\n/x/a.nii\t1\t1\n",
            r"line 2: /x/a\.nii is outside the table's folder, .* write \.\./.*x/a\.nii,",
        ),
        ("file\timage_id\tcollection_id\n \t1\t1\n", "line 2: the column file is empty"),
    ],
)
def test_an_error_explains_what_is_wrong_with_a_table(write_own, text, message):
    with pytest.raises(ValueError, match=message):
        read_content(write_own(text))


def test_a_table_from_a_spreadsheet_is_read(write_own):
    rows = read_content(write_own("\ufefffile\timage_id\tcollection_id\tx\r\na b.nii\t01\t2\tTRUE\r\n")).rows
    assert rows[0] == {"file": "a b.nii", "image_id": 1, "collection_id": 2, "x": True, "id": 1}


def test_an_absolute_path_does_not_go_into_results(write_own, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "lab")
    text = (
        "file\timage_id\tcollection_id\n"
        f"{tmp_path}/lab/maps/a.nii.gz\t1\t1\n{tmp_path}/link/../lab/maps/b.nii\t2\t1\n{tmp_path}/link/maps/b.nii\t3\t1\n"
    )
    table = write_own(text)
    assert [row["file"] for row in read_content(table).rows] == ["maps/a.nii.gz", "maps/b.nii", "maps/b.nii"]
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


HEAD = "file\timage_id\tcollection_id"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # Two opening quotes in four lines.
        (
            f'{HEAD}\tname\na\t1\t1\t"Faces\nb\t2\t1\tHouses\nc\t3\t1\t"Tools\nd\t4\t1\tWords\n',
            r"maps\.tsv, line 2: a quote is opened before 'Faces' and not closed",
        ),
        (f'{HEAD}\tname\tx\na\t1\t1\tA\t1\nb\t2\t1\t"B\t1\nc\t3\t1\tC"\t1\n', "line 3: a quote is opened before 'B'"),
        # A spreadsheet's line break within a cell.
        (f'{HEAD}\tname\na\t1\t1\t"Faces\nhouses"\nb\t2\t1\tB\n', "line 2: .* remove the line break within the cell"),
        (f'{HEAD}\tname\tx\na\t1\t1\t"Faces\thouses"\n', "line 2: the row has 4 cells, but the header has 5"),
        (f'"{HEAD}\na\t1\t1\n', "line 1: a quote is opened before 'file'"),
        (f"{HEAD}\nx\t1\t1\n\n\t\t\nb\t-1\t1\n", "line 5: image_id '-1' is not valid"),
        (f"{HEAD}\t\na\t1\t1\tlost\n", "line 2: 'lost' is in a column without a name"),
        ("file,image_id,collection_id\na,1,1\n", "maps.tsv: the columns seem to be separated by commas,"),
        ('"file";"image_id";"collection_id"\n', "the columns seem to be separated by semicolons"),
        ("file   image_id  collection_id\n", "the columns seem to be separated by spaces"),
        ("PK\x03\x04\x14\0", "is a workbook or a zip file, not text; save it as UTF-8, in a spreadsheet as"),
        (f"{HEAD}\na\0\t1\t1\n", "line 2: the file is not plain text, or is UTF-16 without a byte order mark"),
    ],
)
def test_a_line_that_is_wrong_is_named_and_none_is_swallowed(write_own, text, message):
    with pytest.raises(ValueError, match=message):
        read_content(write_own(text))


def test_quotes_around_whole_fields_go_and_others_stay(write_own):
    text = (
        '"file"\t"image_id"\t"collection_id"\t"name"\n"maps/a.nii.gz"\t"1"\t"1"\t"""Faces"" > houses\ttab"\n'
        'b\t2\t1\t"Faces" > "houses"\nc\t3\t1\t5" coil\nd\t4\t1\t""\n'
    )
    rows = read_content(write_own(text)).rows
    assert [row["name"] for row in rows] == ['"Faces" > houses\ttab', '"Faces" > "houses"', '5" coil', None]
    assert [(row["file"], row["id"]) for row in rows][:2] == [("maps/a.nii.gz", 1), ("b", 2)]


# A text without line breaks, zero bytes and white space at its ends.
CELLS = st.text(st.sampled_from('ab"\t =,;é'), min_size=1, max_size=6).map(str.strip).filter(bool)


@pytest.mark.parametrize("quoting", [csv.QUOTE_ALL, csv.QUOTE_MINIMAL])
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(CELLS, min_size=1, max_size=3))
def test_what_a_spreadsheet_quotes_comes_back(write_own, quoting, names):
    stream = io.StringIO()
    writer = csv.writer(stream, dialect="excel-tab", quoting=quoting)
    writer.writerows([[*HEAD.split("\t"), "name"], *(["a", n, 1, name] for n, name in enumerate(names))])
    assert [row["name"] for row in read_content(write_own(stream.getvalue())).rows] == names


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_table_of_any_spreadsheet_is_read(write_own, encoding, end):
    path = Path(write_own(""))
    path.write_bytes(f"{HEAD}\tname\t\t\na\t1\t1\tKöln\t\t\n\t\t\t\t\t\n".replace("\n", end).encode(encoding))
    assert read_content(str(path)).rows == [{"file": "a", "image_id": 1, "collection_id": 1, "name": "Köln", "id": 1}]


TYPES = (
    f"{HEAD}\tname\tcontrast_definition\tcollection_name\tsex\tage\tnumber_of_subjects\tis_thresholded\t"
    "study\tcode\tversion\tpatient\tdose\n"
    "maps/a.nii.gz\t1\t1\t007\t1e5\t2001\tF\t1e1\t8.0\tTRUE\t2001\t007\t1.10\ttrue\t2.50\n"
    "maps/b.nii\t2\t2\t1.10\ttrue\t-5\tM\tn/a\t31\tno\t2002\t1e5\t1.9\tfalse\t-1\n"
)


def test_texts_stay_texts(write_own):
    first, second = read_content(write_own(TYPES)).rows
    # Fields of NeuroVault have NeuroVault's types.
    assert [first[key] for key in ("name", "contrast_definition", "collection_name")] == ["007", "1e5", "2001"]
    assert [second[key] for key in ("name", "contrast_definition", "collection_name")] == ["1.10", "true", "-5"]
    assert [first[key] for key in ("age", "number_of_subjects", "is_thresholded")] == [10.0, 8, True]
    assert [second[key] for key in ("age", "number_of_subjects", "is_thresholded")] == [None, 31, False]
    # A single code that is not a plain number makes its whole column text. Plain numbers keep their text.
    assert [row["code"] for row in (first, second)] == ["007", "1e5"]
    assert [str(row[key]) for row in (first, second) for key in ("study", "version", "patient", "dose")] == [
        "2001", "1.10", "true", "2.50", "2002", "1.9", "false", "-1",
    ]  # fmt: skip
    assert first["dose"] > 2 > second["dose"]


@pytest.mark.parametrize(
    ("terms", "kept"),
    [
        ({"study": {"not_contains": ["temporary"]}}, [1, 2]),
        ({"study": {"contains": ["2001"]}}, [1]),
        ({"study": {"pattern": "2.*2$"}}, [2]),
        ({"study": {"greater_than": 2001}}, [2]),
        ({"study": "2001"}, [1]),
        ({"study": 2001}, [1]),
        ({"study": {"not_equal": "2001"}}, [2]),
        ({"study": {"is_in": ["2002", "1999"]}}, [2]),
        ({"study": {"not_in": [2002]}}, [1]),
        ({"version": "1.10"}, [1]),
        ({"version": {"is_in": ["1.1", "1.9"]}}, [2]),
        ({"dose": {"greater_or_equal": -1}}, [1, 2]),
        ({"dose": {"less_than": 2.5}}, [2]),
        ({"patient": True}, [1]),
        ({"patient": "false"}, [2]),
        ({"code": "007"}, [1]),
        ({"name": {"contains": ["007"]}}, [1]),
        ({"is_thresholded": False}, [2]),
    ],
)
def test_a_condition_sees_the_number_or_the_text_that_it_names(write_own, tmp_path, terms, kept):
    run = Run(tmp_path, source="table", table=write_own(TYPES))
    assert ids(run.select(image_terms=terms)[1]) == kept


MAP_TYPES = f"{HEAD}\tmap_type\n" + "".join(
    f"maps/a.nii.gz\t{n}\t1\t{text}\n"
    for n, text in enumerate(["Z-map", "zstat1", "spmT_0001", "beta", "n/a", "accuracy", "accuracy"], start=1)
)


@pytest.mark.parametrize(
    ("term", "kept"),
    [
        ({"is_in": ["Z map", "T map"]}, [1, 2, 3]),
        ("Zmap", [1, 2]),
        ({"not_in": ["z-score", "accuracy"]}, [3, 4, 5]),
        ({"not_equal": "univariate-beta map"}, [1, 2, 3, 5, 6, 7]),
        ("accuracy", [6, 7]),
        ({"pattern": "spm"}, [3]),
    ],
)
def test_conditions_recognise_map_types_as_people_write_them(write_own, tmp_path, term, kept):
    run = Run(tmp_path, source="table", table=write_own(MAP_TYPES))
    images = run.select(image_terms={"map_type": term})[1]
    assert ids(images) == kept
    assert [image["map_type"] for image in images if image["image_id"] == "2"] in ([], ["zstat1"])


def test_an_unknown_map_type_is_a_warning_with_the_list(write_own):
    (warning,) = read_content(write_own(MAP_TYPES)).warnings
    assert "unknown map type: 'accuracy' (line 7). Quality criteria for Z and T maps do not apply" in warning
    assert "Write one of Z map, T map, F map, Chi squared map, P map (given null hypothesis)," in warning


def test_a_collection_called_by_a_year_is_kept_by_the_default_condition(write_own, tmp_path):
    run = Run(tmp_path, source="table", table=write_own(TYPES))
    collections, images, _ = run.select(collection_terms={"name": {"not_contains": ["temporary collection"]}})
    assert [row["name"] for row in collections] == ["2001", "-5"]
    assert [row["name"] for row in images] == ["007", "1.10"]


def test_a_value_that_does_not_fit_its_field_is_unknown_with_a_warning(write_own):
    text = (
        f"{HEAD}\tnumber_of_subjects\tage\tis_thresholded\tcollection_echo_time\n"
        "maps/a.nii.gz\t1\t1\t8 (4 f)\t31,5\tmaybe\tinf\nmaps/a.nii.gz\t2\t1\t12.5\t\tn/a\t30\n"
    )
    rows, warnings = read_content(write_own(text))
    assert [rows[0][key] for key in ("number_of_subjects", "age", "is_thresholded", "collection_echo_time")] == [
        None
    ] * 4
    assert rows[1]["number_of_subjects"] is None
    assert [warning.split("maps.tsv: ")[1] for warning in warnings] == [
        "age must be a number, so these cells count as unknown: '31,5' (line 2). Write a number or n/a",
        "collection_echo_time must be a number, so these cells count as unknown: 'inf' (line 2). Write a number or n/a",
        "is_thresholded must be true or false, so these cells count as unknown: 'maybe' (line 2). Write true or"
        " false or n/a",
        "number_of_subjects must be a whole number, so these cells count as unknown: '8 (4 f)' (line 2), '12.5' (line"
        " 3). Write a whole number or n/a",
    ]  # fmt: skip


def test_a_column_of_numbers_with_a_few_texts_is_reported(write_own):
    rows = "".join(
        f"a\t{n}\t1\t{dose}\t00{n}\t{n}E-05\n" for n, dose in enumerate(["1.5", "2", "?", "n/a", "3"], start=1)
    )
    found, warnings = read_content(write_own(f"{HEAD}\tdose\tcode\tp\n{rows}"))
    assert [row["dose"] for row in found] == ["1.5", "2", "?", None, "3"]
    assert [row["p"] < 2e-5 for row in found] == [True, False, False, False, False]
    (warning,) = [warning for warning in warnings if "cannot be found" not in warning]
    assert "dose holds texts, because it has cells that are no numbers: '?' (line 4). The other 3 are" in warning


def test_a_number_that_keeps_its_text_can_be_copied(write_own):
    (row,) = read_content(write_own(f"{HEAD}\tdose\nmaps/a.nii.gz\t1\t1\t2.50\n")).rows
    other = pickle.loads(pickle.dumps(copy.deepcopy(row["dose"])))
    assert (str(other), other + 1, other == "2.50", other == 2.5, other != 2.5) == ("2.50", 3.5, True, True, False)


def test_a_collection_with_two_names_is_reported(write_own, caplog, tmp_path):
    text = (
        f"{HEAD}\tcollection_name\tcollection_DOI\nmaps/a.nii.gz\t1\t7\tn/a\t\nmaps/a.nii.gz\t2\t7\tFaces\t10.1/a\n"
        "maps/a.nii.gz\t3\t7\tHouses\t10.1/a\nmaps/a.nii.gz\t4\t7\tTools\t\n"
    )
    collections, _, _ = Run(tmp_path, source="table", table=write_own(text)).select()
    assert [(row["name"], row["DOI"]) for row in collections] == [("Faces", "10.1/a")]
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "in collection 7, collection_name is 'Faces' in line 3 and 'Houses' in line 4; 'Faces' is used" in warning


def test_paths_are_read_as_people_type_them(write_own, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("HOME", str(tmp_path))
    table = write_own(
        f"{HEAD}\tterms\nmaps\\a.nii.gz\t1\t1\t.\\a_terms.json\n~/lab/maps/b.nii\t2\t1\t~/lab/a_terms.json\n"
        "maps\\c.nii\t3\t1\tno.json\n"
    )
    run = Run(tmp_path, source="table", table=table)
    run.select()
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert f"1 of 3 files in the column file cannot be found: {tmp_path}/lab/maps/c.nii (line 4)" in warnings[0]
    assert f"1 of 3 files in the column terms cannot be found: {tmp_path}/lab/no.json (line 4)" in warnings[1]
    assert [(row["file"], row["status"]) for row in run.download()] == [
        ("maps/a.nii.gz", "ok"), ("maps/b.nii", "ok"), ("maps/c.nii", "failed"),
    ]  # fmt: skip
    assert [row["reason"] for row in run.terms()[1]] == [None, None, "missing_file"]
    with pytest.raises(ValueError, match=r"line 2: .*/elsewhere/a\.nii is outside .* write \.\./elsewhere/a\.nii"):
        read_content(write_own(f"{HEAD}\n~/elsewhere/a.nii\t1\t1\n"))


def test_a_file_whose_name_has_a_backslash_is_found(write_own):
    table = write_own(f"{HEAD}\na\\b.nii\t1\t1\n")
    (Path(table).parent / "a\\b.nii").write_bytes(b"")
    assert read_content(table).rows[0]["file"] == "a\\b.nii"


def test_names_that_look_like_formulas_go_through_all_tables(write_own, tmp_path):
    names = ["=1+2", "-1 back > 0 back", "'@x"]
    rows = "".join(f"maps/a.nii.gz\t{n}\t1\t{name}\t+faces\n" for n, name in enumerate(names))
    run = Run(tmp_path, source="table", table=write_own(f"{HEAD}\tname\tcollection_name\n{rows}"))
    collections, images, _ = run.select()
    assert [row["name"] for row in images] == names
    assert [row["name"] for row in collections] == ["+faces"]
    run.download()
    run.terms()
    lock = write_lock(run.results, tmp_path / "mine.tsv")
    tables = [*(run.results / "fetch_metadata").glob("[ci]*.tsv"), Path(lock)]
    assert not any(re.search(r"(^|\t)[=+@-]", path.read_text()) for path in tables)
    before = [path.read_bytes() for path in tables]
    assert [row["name"] for row in run.select(lock=lock)[1]] == names
    assert [path.read_bytes() for path in tables] == before


def test_images_with_other_spellings_of_a_word_share_the_term(write_own, tmp_path):
    table = write_own(f"{HEAD}\tterms\nmaps/a.nii.gz\t1\t1\tx.json\nmaps/b.nii\t2\t1\ty.json\n")
    for name, term in {"x.json": "Pain", "y.json": "PAIN"}.items():
        (Path(table).parent / name).write_text(f'{{"data": {{"values": {{"{term}": "0.5"}}}}}}', "utf-8-sig")
    run = Run(tmp_path, source="table", table=table)
    run.select()
    assert run.terms()[0] == [{"image_id": image, "term": "pain", "weight": 0.5} for image in ("1", "2")]


@pytest.mark.parametrize(
    ("collection_of", "limit", "is_told"), [("1 1 1", 2, True), ("1 1 1", 3, False), ("1 1 2", 1, False)]
)
def test_a_limit_that_cuts_the_only_collection_is_reported(write_own, tmp_path, caplog, collection_of, limit, is_told):
    rows = "".join(f"maps/a.nii.gz\t{n}\t{collection}\n" for n, collection in enumerate(collection_of.split()))
    caplog.set_level("INFO")
    Run(tmp_path, source="table", table=write_own(f"{HEAD}\n{rows}")).select(max_images_per_collection=limit)
    message = (
        "all 3 images that meet the criteria are in one collection (1), so fetch_metadata.max_images_per_collection"
    )
    assert (f"{message} takes 2 of 3. Set it to null" in caplog.text) == is_told
    assert (f"max_images_per_collection {limit}: dropped 1 of 3 images" in caplog.text) == (limit < 3)


def test_an_error_for_missing_maps_names_a_file(write_own, tmp_path):
    run = Run(tmp_path, source="table", table=write_own(f"{HEAD}\nmaps/x.nii\t1\t1\nmaps/y.nii\t2\t1\n"))
    run.select()
    with pytest.raises(RuntimeError, match=r"1 \(missing_file\).*\. The first missing file is maps/x\.nii$"):
        run.download(max_failed_fraction=0.1)
