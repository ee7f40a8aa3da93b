"""The shares distinguish maps in grey matter, white matter, ventricles and at the rim of the brain, on any grid."""

import nibabel as nib
import numpy as np
import pytest
from neurovault_ica.images.targets import target_of
from neurovault_ica.images.templates import mni152_mask
from neurovault_ica.images.tissues import BRAIN_SHARES, limits_for_mask, share_of_tissues, shares_of_mask, tissues_of
from nibabel.affines import apply_affine
from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template
from scipy import ndimage

LIMITS = {"min_grey_matter_share": 0.45, "max_outside_tissue_share": 0.05, "max_rim_share": 0.25}
# Centres in mm, on both sides.
PRECUNEUS, CENTRUM_SEMIOVALE, VENTRICLE = (4, -66, 44), (26, -12, 34), (7, 8, 14)


@pytest.fixture(scope="module")
def masks():
    """Return masks of 3 and 4 mm; a mask of 3 mm on a grid of its own, rotated; and one of grey matter."""
    brain = {mm: mni152_mask("brain", mm) for mm in (3, 4)}
    angle = np.deg2rad(10)
    affine = np.diag([3.0, 3, 3, 1])
    affine[:2, :2] = 3 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    affine[:3, 3] = -affine[:3, :3] @ (32, 38, 26) + (0, -18, 8)
    places = apply_affine(affine, np.stack(np.meshgrid(*map(np.arange, (64, 76, 60)), indexing="ij"), axis=-1))
    voxels = np.rint(apply_affine(np.linalg.inv(brain[3].affine), places)).astype(int)
    shape = np.array(brain[3].shape)
    inside = np.asarray(brain[3].dataobj)[tuple(np.clip(voxels, 0, shape - 1).reshape(-1, 3).T)].reshape(64, 76, 60)
    inside &= ((voxels >= 0) & (voxels < shape)).all(axis=-1)
    return {
        "3 mm": brain[3], "4 mm": brain[4], "rotated": nib.Nifti1Image(inside, affine),
        "grey matter": mni152_mask("gray_matter", 3),
    }  # fmt: skip


@pytest.fixture(scope="module")
def tissues(masks):
    return {name: tissues_of(target_of(mask_img)) for name, mask_img in masks.items()}


@pytest.fixture(scope="module")
def depth_img():
    """Return the distance of each voxel of the MNI152 brain to the nearest voxel outside it, in mm."""
    brain_img = mni152_mask("brain", 1)
    depth = ndimage.distance_transform_edt(np.asarray(brain_img.dataobj))
    return nib.Nifti1Image(depth.astype(np.float32), brain_img.affine)


def planted(mask_img, depth_img):
    """Make four maps: three blobs on both sides, and a shell of 3 mm inside the brain."""
    places = apply_affine(mask_img.affine, np.argwhere(np.asarray(mask_img.dataobj)))
    blobs = []
    for centre in (PRECUNEUS, CENTRUM_SEMIOVALE, VENTRICLE):
        distance = np.linalg.norm(np.abs(places * [1, 0, 0]) + places * [0, 1, 1] - np.array(centre), axis=1)
        blobs.append(np.exp(-np.square(distance / 5) / 2))
    voxels = apply_affine(np.linalg.inv(depth_img.affine), places).T
    shell = ndimage.map_coordinates(depth_img.get_fdata(), voxels, order=1) <= 3
    return np.array([*blobs, shell.astype(float)])


def test_tissues_are_those_of_nilearn_on_its_own_grid(depth_img):
    grey, white = (load().get_fdata() for load in (load_mni152_gm_template, load_mni152_wm_template))
    part = np.zeros(depth_img.shape, dtype=np.uint8)
    part[60:130, 100:160, 60:100] = 1
    found = tissues_of(target_of(nib.Nifti1Image(part, depth_img.affine)))
    inside = part > 0
    np.testing.assert_allclose(found[0], grey[inside], atol=1e-6)
    np.testing.assert_array_equal(found[1], ((grey < 0.2) & (white < 0.2))[inside])
    np.testing.assert_array_equal(found[2], depth_img.get_fdata()[inside] <= 3)


@pytest.mark.parametrize("name", ["3 mm", "4 mm", "rotated"])
def test_shares_tell_tissues_apart_on_any_grid(name, masks, depth_img, tissues):
    grey, outside, rim = share_of_tissues(planted(masks[name], depth_img), tissues[name])
    assert grey[0] > 0.6
    assert grey[1] < 0.2
    assert grey[2] < 0.45
    assert outside[2] > 0.3
    assert max(outside[0], outside[1]) < 0.04
    assert rim[3] > 0.97
    assert max(rim[:3]) < 0.02
    reference = np.array(share_of_tissues(planted(masks["3 mm"], depth_img), tissues["3 mm"]))
    np.testing.assert_allclose(np.array([grey, outside, rim])[:, :3], reference[:, :3], atol=0.1)


def test_limits_hold_for_masks_in_the_brain_and_are_relaxed_for_wider_masks(tissues):
    for name in ("3 mm", "4 mm"):
        of_mask = shares_of_mask(tissues[name])
        assert of_mask == pytest.approx(BRAIN_SHARES, abs=0.004)
        assert limits_for_mask(LIMITS, of_mask) == LIMITS
    # Much of the cortex is at the rim.
    cortex = limits_for_mask(LIMITS, shares_of_mask(tissues["grey matter"]))
    assert cortex == LIMITS | {"max_rim_share": pytest.approx(0.28, abs=0.01)}
    wide = {"grey_matter": 0.4, "outside_tissue": 0.2, "rim": 0.3}
    assert limits_for_mask(LIMITS, wide) == {
        "min_grey_matter_share": round(0.45 * 0.4 / 0.529, 3),
        "max_outside_tissue_share": round(0.05 * 0.2 / 0.0234, 3),
        "max_rim_share": round(0.25 * 0.3 / 0.1288, 3),
    }
    assert set(limits_for_mask(dict.fromkeys(LIMITS), wide).values()) == {None}


def test_a_share_weighs_strong_voxels_by_their_squares():
    tissues = np.array([[1, 0, 0.5], [0, 1, 0], [0, 0, 1]], dtype=np.float32)
    shares = share_of_tissues(np.array([[3.0, -1, 0], [0, 0, -2]]), tissues)
    np.testing.assert_allclose(np.array(shares).T, [[0.9, 0.1, 0], [0.5, 0, 1]])
