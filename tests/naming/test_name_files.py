"""Names of regions are read from files of FSL, BIDS, Schaefer and AAL."""

import pytest
from neurovault_ica.naming.name_files import is_image_file, names_beside, read_name_file
from neurovault_ica.naming.nilearn_atlases import NILEARN_ATLASES

FSL = """<?xml version="1.0" encoding="ISO-8859-1"?>
<atlas version="1.0"><header><name>Harvard-Oxford Cortical Structural Atlas</name>
<type>Probabilistic</type></header><data>
<label index="0" x="48" y="94" z="35">Frontal Pole</label>
<label index="1" x="25" y="70" z="32">Insular Cortex</label>
</data></atlas>"""
# The type Label, as of JHU's white matter: the index is the value in the image, and 0 is the background.
FSL_LABELS = """<?xml version="1.0" encoding="ISO-8859-1"?>
<atlas version="1.0"><header><name>AAL</name><type>Label</type></header><data>
<label index="0" x="0" y="0" z="0">Unclassified</label><label index="1" x="64" y="59" z="60">Precentral_L</label>
<label index="2" x="24" y="58" z="61">Precentral_R</label></data></atlas>"""
AAL = """<?xml version="1.0" encoding="ISO-8859-1"?>
<atlas><data><label><index>2001</index><name>Precentral_L</name></label>
<label><index>2002</index><name>Precentral_R</name></label></data></atlas>"""


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("a.tsv", "index\tname\tcolor\n3\tPutamen\t#fff\n5\tCaudate\t#000\n", [(3, "Putamen"), (5, "Caudate")]),
        ("a.tsv", "\ufeffName\r\nvisual\r\ndefault mode\r\n", [(None, "visual"), (None, "default mode")]),
        ("a.txt", "visual\n\n1 motor\n", [(None, "visual"), (None, "1 motor")]),
        (
            "schaefer.txt",
            "1\t7Networks_LH_Vis_1\t120\t18\t131\t0\n2\t7Networks_LH_Vis_2\t120\t18\t132\t0\n",
            [(1, "7Networks_LH_Vis_1"), (2, "7Networks_LH_Vis_2")],
        ),
        ("a.tsv", 'index\tname\n"1.0"\t"Putamen ""left"""\n2.0\t5" disc\n', [(1, 'Putamen "left"'), (2, '5" disc')]),
        ("HarvardOxford-Cortical.xml", FSL, [(1, "Frontal Pole"), (2, "Insular Cortex")]),
        ("AAL3v1.xml", FSL_LABELS, [(0, "Unclassified"), (1, "Precentral_L"), (2, "Precentral_R")]),
        ("values.xml", '<atlas><label index="0" value="7">Crus I</label></atlas>', [(7, "Crus I")]),
        ("AAL.xml", AAL, [(2001, "Precentral_L"), (2002, "Precentral_R")]),
    ],
    ids=["BIDS", "heading", "list", "Schaefer", "quotes", "FSL", "FSL labels", "FSL values", "AAL"],
)
def test_names_are_read(tmp_path, file, content, expected):
    path = tmp_path / file
    path.write_text(content, encoding="utf-8", newline="")
    assert read_name_file(str(path)) == expected


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("a.tsv", "index\tname\none\tPutamen\n", "one"),
        ("a.tsv", "index\tname\n1\n", "1 column, but the first line has 2"),
        ("a.tsv", "region\tcolor\nPutamen\t#fff\n", "region"),
        ("a.txt", "\n \n", "names no region"),
        ("a.xml", "<atlas><label>", "no element found"),
        ("a.xml", "<atlas/>", "names no region"),
        ("a.xml", FSL.replace('"1"', '"one"', 1), "index 'one' is not a whole number"),
        ("a.xml", AAL.replace("<index>2002</index>", ""), "index '' is not a whole number"),
        ("a.txt", b"\xff\xfe\x00", "line 1: the file is not UTF-16"),
        ("a.tsv", b"index\tname\n1\tCaf\xe9\n", "line 2: the file is not UTF-8"),
        ("a.tsv", 'index\tname\n1\t"Putamen\n2\tCaudate\n3\t"Pallidum\n', "line 2: a quote is opened before 'Putamen'"),
        ("a.txt", 'visual\n"motor\nauditory\n', "line 2: a quote is opened"),
        ("a.txt", "1\tPutamen\n2\n", "line 2 has 1 column, but the first line has 2"),
        ("a.tsv", "index\tname\n1\tPutamen\n1\tCaudate\n", "index 1 has two names, 'Putamen' and 'Caudate'"),
    ],
)
def test_files_without_names_are_refused(tmp_path, file, content, message):
    path = tmp_path / file
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        read_name_file(str(path))


def test_the_file_of_names_lies_beside_the_image(tmp_path):
    image = tmp_path / "my.networks.nii.gz"
    assert names_beside(str(image)) is None
    (tmp_path / "my.networks.txt").touch()
    (tmp_path / "my.tsv").touch()
    assert names_beside(str(image)) == str(tmp_path / "my.networks.txt")


def test_image_files_are_distinguished_from_names_of_atlases():
    assert is_image_file("a/b.nii")
    assert is_image_file("b.nii.gz")
    assert not any(is_image_file(name) for name in NILEARN_ATLASES)


def test_names_are_read_from_utf_16(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("index\tname\n1\tPutamen\n", encoding="utf-16")
    assert read_name_file(str(path)) == [(1, "Putamen")]
