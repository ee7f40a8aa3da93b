"""The package of components: readable by nilearn and by project_images, with a header for viewers."""

import json
import re
import shlex

import nibabel as nib
import numpy as np
import pytest
import yaml
from neurovault_ica.naming.component_files import check_components, read_components
from neurovault_ica.runtime.tables import read_table
from package import NOT_STATED, describe_dataset, main, uses_neurosynth, write_package
from partial_tables import write_partial
from workflow_runs import rules_run, snakemake

COMPONENTS = "results/run_ica/space-MNI152NLin2009aSym_res-4_desc-ICA_components.nii.gz"
TEMPLATE = "tpl-MNI152NLin2009aSym"


@pytest.fixture(scope="module")
def package(demo, tmp_path_factory):
    """The components of the demo, packed."""
    folder = tmp_path_factory.mktemp("packages") / "my demo-1"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(demo)
        write_package(folder)
    return folder


def test_files_are_named_as_bids_derivatives(package):
    """bids-validator-deno 3.0.2 finds no error in this folder. It is not a dependency, so this repeats its rules."""
    files = {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()}
    ignored = (package / ".bidsignore").read_text().split()
    known = {file for file in files - {".bidsignore"} if file.split("/")[0] not in ignored}
    maps, mask, names = (
        f"{TEMPLATE}/{TEMPLATE}_atlas-mydemo1_res-4_desc-ICA_probseg",
        f"{TEMPLATE}/{TEMPLATE}_res-4_desc-ICA_mask",
        f"{TEMPLATE}/{TEMPLATE}_atlas-mydemo1_dseg",
    )
    expected = {f"{maps}.nii.gz", f"{maps}.json", f"{mask}.nii.gz", f"{mask}.json", f"{names}.tsv", f"{names}.json"}
    assert known == expected | {"dataset_description.json", "README.md", "atlas-mydemo1_description.json"}
    description = json.loads((package / "dataset_description.json").read_text())
    assert (description["Name"], description["DatasetType"]) == ("my demo-1", "derivative")
    assert re.fullmatch(r"1\.\d+\.\d+", description["BIDSVersion"])
    assert description["GeneratedBy"][0]["Name"]
    assert "CC0" in description["License"]
    assert "https://doi.org/10.5555/demo.4101" in description["ReferencesAndLinks"]


def test_dois_are_addresses_in_whatever_form_they_were_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    typed = {
        "1": {"DOI": "10.1000/bare"},
        "2": {"DOI": "https://doi.org/10.1000/address"},
        "3": {"DOI": "doi:10.1000/scheme."},
        "4": {"preprint_DOI": "10.1000/preprint"},
        "5": {"DOI": "not yet"},
        "6": {"DOI": "10.1000/unused"},
    }
    write_partial("results/fetch_metadata/collections.tsv", [{"collection_id": one} | typed[one] for one in typed])
    write_partial("results/stack_images/images.tsv", [{"image_id": one, "collection_id": one} for one in "12345"])
    assert describe_dataset("mine", "CC0-1.0")["ReferencesAndLinks"] == [
        f"https://doi.org/10.1000/{end}" for end in ("address", "bare", "preprint", "scheme")
    ]


def test_three_lines_of_nilearn_give_the_loadings_of_a_component(package, demo, tmp_path):
    from nilearn.maskers import NiftiMapsMasker

    maps, mask = (str(next(package.glob(f"tpl-*/*_{suffix}.nii.gz"))) for suffix in ("probseg", "mask"))
    img = nib.load(demo / COMPONENTS)
    mixed = 2 * img.slicer[..., 3].get_fdata() - img.slicer[..., 5].get_fdata()
    nib.save(nib.Nifti1Image(mixed.astype(np.float32), img.affine), tmp_path / "my_map.nii")
    loadings = NiftiMapsMasker(maps, mask_img=mask, standardize=None).fit_transform(tmp_path / "my_map.nii")
    expected = np.zeros(12)
    expected[[3, 5]] = 2, -1
    np.testing.assert_allclose(loadings.ravel(), expected, atol=1e-4)


def test_project_images_reads_the_maps_names_loadings_and_treatment(package, demo):
    check_components(str(package))
    found = read_components(str(package), "unused")
    names = read_table(demo / "results/project_terms/desc-ICA_names.tsv")
    assert found.labels == [row["component"] for row in names]
    assert found.names == [row["name"] for row in names]
    img = nib.load(demo / COMPONENTS)
    np.testing.assert_array_equal(found.maps.values[4], img.dataobj[..., 4][found.maps.inside])
    mixing = read_table(demo / "results/run_ica/desc-ICA_mixing.tsv")
    np.testing.assert_array_equal(found.loadings[7], [mixing[7][label] for label in found.labels])
    assert found.images[7]["image_id"] == mixing[7]["image_id"]
    assert (found.treatment["scale"], found.treatment["interpolation"]) == ("unit_variance", "linear")


def test_viewers_find_space_units_and_names_in_the_header(package):
    header = nib.load(next(package.glob("tpl-*/*_probseg.nii.gz"))).header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (4, 4)
    assert header.get_xyzt_units()[0] == "mm"
    assert 2 < float(header["cal_max"]) < 20
    volumes = json.loads(header.extensions[0].get_content())
    table = read_table(next(package.glob("tpl-*/*_dseg.tsv")), described_as="package/dseg.tsv")
    assert [(row["volume"], row["name"]) for row in volumes] == [(row["index"], row["name"]) for row in table]


def test_licenses_are_stated(package, demo, monkeypatch):
    assert "all maps are simulated" in (package / "README.md").read_text()
    configuration = json.loads((demo / "results/write_lock/run.json").read_text())["configuration"]
    assert not uses_neurosynth(configuration)
    for change in ({"build_term_maps": {"database": "neurosynth"}}, {"archive": {"source": "neurovault"}}):
        changed = {key: {**section, **change.get(key, {})} for key, section in configuration.items()
                   if isinstance(section, dict)}  # fmt: skip
        assert uses_neurosynth(changed)
    assert "Not stated" in NOT_STATED
    monkeypatch.chdir(demo)
    assert describe_dataset("other", "CC-BY-4.0")["License"] == "CC-BY-4.0"
    chosen = []
    monkeypatch.setattr(
        "package.write_package", lambda folder, license_name: chosen.append((folder.name, license_name))
    )
    main(["other", "--license", "CC-BY-4.0"])
    assert chosen == [("other", "CC-BY-4.0")]


def test_a_folder_without_a_finished_run_and_an_existing_package_are_refused(package, demo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"run.json not found; finish a run first"):
        main(["new"])
    monkeypatch.chdir(demo)
    with pytest.raises(ValueError, match="already exists"):
        write_package(package)
    with pytest.raises(ValueError, match=r"the name 'of {lab}' has {, which Snakemake would replace; rename it"):
        write_package(tmp_path / "of {lab}")


@pytest.mark.parametrize("name", ["mine", "2026", "pain: ours, 'v2' #1"])
def test_the_command_of_the_readme_names_the_folder(demo, tmp_path, monkeypatch, name):
    monkeypatch.chdir(demo)
    write_package(tmp_path / name)
    command = re.search("^    snakemake .*", (tmp_path / name / "README.md").read_text(), re.MULTILINE)
    *_, argument = shlex.split(command[0])
    key, _, value = argument.partition("=")
    assert (key, yaml.safe_load(value)) == ("project_images", {"maps": "my_maps", "components": name})


def test_own_maps_run_project_images_only_and_never_the_run_again(demo, package, tmp_path):
    (tmp_path / "map.nii.gz").write_bytes(b"")
    overlay = tmp_path / "maps.yaml"
    overlay.write_text(f"project_images: {{maps: {tmp_path}}}")
    assert rules_run(snakemake(demo, "-n", "all", "project_images", "--configfile", overlay)) == {"project_images"}
    overlay.write_text(f"project_images: {{maps: {tmp_path}, components: {package}}}")
    assert rules_run(snakemake(demo, "-n", "project_images", "--configfile", overlay)) == {"project_images"}
    done = snakemake(demo, "-n", "project_images", check=False)
    assert "project_images.maps is null; give a folder" in done.stdout
