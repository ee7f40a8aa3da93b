"""Terms are read from the file names that Neurosynth, NiMARE and users give."""

import pytest
from neurovault_ica.naming.term_files import explain_term_maps, files_of_term_maps, find_term_files


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize(
    ("name", "term"),
    [
        ("pain.nii", "pain"),
        ("pain_association-test_z_FDR_0.01.nii.gz", "pain"),
        ("pain_pAgF_z_FDR_0.01.nii.gz", "pain"),
        ("working memory_uniformity-test_z.nii.gz", "working memory"),
        ("n_back_z_desc-association.nii.gz", "n back"),
        ("heat-pain.nii.gz", "heat-pain"),
        ("zebra.nii.gz", "zebra"),
        ("vermis/z.nii.gz", "vermis"),
        ("n_back/z_desc-association_level-voxel.nii.gz", "n back"),
        ("pain/association-test_z_FDR_0.01.nii.gz", "pain"),
    ],
)
def test_terms_are_read_from_names(tmp_path, name, term):
    make(tmp_path, name)
    assert find_term_files(str(tmp_path)) == {term: str(tmp_path / name)}


def test_other_measures_hidden_files_and_other_formats_are_ignored(tmp_path):
    make(
        tmp_path, "pain/z.nii.gz", "pain/p.nii.gz", "pain/logp_level-voxel.nii.gz", "heat_chi2.nii.gz", "._heat.nii.gz"
    )
    make(tmp_path, "._heat.nii.gz", "readme.txt", "heat.png", "heat_p_desc-association.nii.gz")
    assert list(find_term_files(str(tmp_path))) == ["pain"]


def test_two_maps_of_one_term_keep_their_names(tmp_path):
    make(tmp_path, "pain_uniformity-test_z.nii.gz", "pain_association-test_z.nii.gz", "heat_z.nii.gz")
    assert list(find_term_files(str(tmp_path))) == [
        "heat",
        "pain (pain_association-test_z.nii.gz)",
        "pain (pain_uniformity-test_z.nii.gz)",
    ]


def test_problems_are_explained(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path, "terms.nii.gz", "named.nii", "named.txt", "table.tsv", "maps/pain.nii", "empty/readme.txt")
    assert "there is no file or folder nowhere (current folder: " in explain_term_maps("nowhere")
    assert "the folder empty has no map of a term; it needs files such as pain_z.nii.gz" in explain_term_maps("empty")
    assert "table.tsv is neither a folder nor a NIfTI file" in explain_term_maps("table.tsv")
    assert "no file names the volumes of terms.nii.gz; put terms.txt with one term per line" in explain_term_maps(
        "terms.nii.gz"
    )
    assert explain_term_maps("named.nii") is None
    assert explain_term_maps("maps") is None
    assert files_of_term_maps("maps") == ["maps/pain.nii"]
    assert files_of_term_maps("named.nii") == ["named.nii", "named.txt"]
