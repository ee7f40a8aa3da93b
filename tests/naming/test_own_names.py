"""A person's names of components: read, checked, and kept apart from the evidence."""

import pytest
from neurovault_ica.naming.names import Candidate, apply_own_names, name_components, read_names
from neurovault_ica.naming.own_names import OwnName, read_own_names
from neurovault_ica.runtime.tables import write_table
from wrong_notes import WRONG_NOTES

LABELS = ["ICA_00", "ICA_01", "ICA_02"]
PEAKS = [(42.0, -22.0, 54.0), (0.0, 20.0, -8.0), (-10.0, 12.0, 6.0)]


def save(folder, text, encoding="utf-8"):
    (folder / "mine.tsv").write_bytes(text.encode(encoding))
    return str(folder / "mine.tsv")


def test_names_verdicts_and_remarks_are_read(tmp_path):
    table = save(
        tmp_path,
        'component\tname\tverdict\tremark\tpeak\r\nICA_02\t"hand ""area"""\taccept\t\'=see p. 3\t-10 12 6\r\n\r\n'
        "ICA_00\tn/a\treject\tn/a\t\u221242, -22, 54\r\n",
        "utf-16",
    )
    assert read_own_names(table, LABELS) == {
        "ICA_02": OwnName('hand "area"', "accept", "=see p. 3", (-10, 12, 6)),
        "ICA_00": OwnName("", "reject", "", (-42, -22, 54)),
    }
    assert read_own_names(save(tmp_path, "name\tcomponent\nmotor\tICA_01\n"), LABELS) == {
        "ICA_01": OwnName("motor", "", "", None)
    }
    # Spreadsheets add empty columns and rows; people write verdicts with a capital.
    padded = "component\tname\tverdict\t\t\nICA_01\tmotor\tAccept\t\t\n\t\t\t\t\n"
    assert read_own_names(save(tmp_path, padded), LABELS) == {"ICA_01": OwnName("motor", "accept", "", None)}


@pytest.mark.parametrize(
    ("text", "message"), [*WRONG_NOTES, ("component\tnmae\n", "unknown column 'nmae'; did you mean name?")]
)
def test_what_is_wrong_with_a_table_is_said(tmp_path, text, message):
    with pytest.raises(ValueError, match=r"mine\.tsv") as error:
        read_own_names(save(tmp_path, text), LABELS[:2])
    assert message in str(error.value)


def test_names_of_other_components_are_refused(tmp_path):
    table = save(tmp_path, "component\tname\tpeak\nICA_00\tmotor\t40 -20 56\nICA_01\tvisual\t-10 -90 0\n")
    with pytest.raises(ValueError, match=r"were elsewhere: ICA_01 \(-10 -90 0 then, 0 20 -8 mm now\)\. Name the"):
        read_own_names(table, LABELS, PEAKS)
    near = save(tmp_path, "component\tname\tpeak\nICA_00\tmotor\t40 -20 56\nICA_02\tinsula\t\n")
    assert read_own_names(near, LABELS, PEAKS)["ICA_00"].name == "motor"


def test_a_name_of_a_person_keeps_the_evidence_beside_it(tmp_path):
    candidates = [Candidate("ICA_00", "pain", 0.5, 0.01), Candidate("ICA_01", "rest", 0.2, 0.9996)]
    rows = name_components(LABELS[:2], {"terms": candidates}, ["terms"])
    own = {"ICA_00": OwnName("", "unsure", "see p. 3", None), "ICA_01": OwnName("salience", "accept", "", None)}
    path = tmp_path / "project_terms/desc-ICA_names.tsv"
    nothing = dict.fromkeys(("network", "network_r", "network_q"))
    write_table(path, [row | nothing for row in apply_own_names(rows, own)])
    names = read_names(str(path))
    assert names["ICA_00"][:4] == ("pain", ["pain"], "", "terms")
    assert names["ICA_00"][6:] == ("", "unsure", "see p. 3")
    assert names["ICA_01"][:4] == ("salience", ["rest"], "n.s.", "terms")
    assert names["ICA_01"][6:] == ("unnamed (closest: rest)", "accept", "")
    assert [names[label].is_certain for label in LABELS[:2]] == [True, True]
    assert rows[1]["name"] == "unnamed (closest: rest)"
