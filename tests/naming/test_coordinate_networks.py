"""Ten networks are made from the coordinates that come with nilearn, without a network."""

import socket

import nibabel as nib
import numpy as np
import pytest
from neurovault_ica.images.targets import target_of
from neurovault_ica.naming.coordinate_networks import REGION_FWHM_MM, seitzman_networks, spelled_out
from neurovault_ica.naming.references import read_reference
from nilearn.datasets import fetch_coords_seitzman_2018, load_mni152_brain_mask
from scipy.spatial.distance import cdist

NAMES = [
    "auditory", "cingulo-opercular", "default mode", "dorsal attention", "frontoparietal", "reward", "salience",
    "somatomotor dorsal", "ventral attention", "visual",
]  # fmt: skip


@pytest.fixture(scope="module")
def mask_img():
    return load_mni152_brain_mask(resolution=4)


@pytest.fixture(scope="module")
def networks(mask_img):
    return seitzman_networks(target_of(mask_img))


def test_ten_networks_have_their_names_in_full(networks):
    names, maps = networks
    assert sorted(names) == NAMES
    assert maps.shape == (10, np.count_nonzero(mask_of(load_mni152_brain_mask(resolution=4))))
    assert spelled_out("SomatomotorLateral") == "somatomotor lateral"


def test_a_value_is_a_gaussian_of_the_distance_to_the_nearest_published_region(networks, mask_img):
    names, maps = networks
    atlas = fetch_coords_seitzman_2018()
    centres = atlas.rois.to_numpy()[np.array(atlas.networks) == "SomatomotorDorsal"]
    distance = cdist(places_of(mask_img), centres).min(axis=1)
    found = maps[names.index("somatomotor dorsal")]
    np.testing.assert_allclose(found, 0.5 ** np.square(distance / (REGION_FWHM_MM / 2)), rtol=1e-5)


# Places in the middle of each network, taken from other atlases: medial prefrontal and posterior cingulate cortex, hand
# area, calcarine sulcus, frontal eye field, Heschl's gyrus, nucleus accumbens.
@pytest.mark.parametrize(
    ("place", "network"),
    [
        ((-2, 54, -4), "default mode"), ((0, -52, 28), "default mode"), ((-40, -24, 54), "somatomotor dorsal"),
        ((6, -84, 4), "visual"), ((-26, -2, 56), "dorsal attention"), ((54, -18, 8), "auditory"),
        ((12, 12, -6), "reward"),
    ],
)  # fmt: skip
def test_known_places_belong_to_their_network(place, network, networks, mask_img):
    names, maps = networks
    voxel = np.linalg.norm(places_of(mask_img) - place, axis=1).argmin()
    assert names[maps[:, voxel].argmax()] == network


def test_a_mask_with_another_grid_has_the_same_values_at_the_same_places(networks, mask_img):
    """The second mask is stored right to left and covers one half of the brain."""
    names, maps = networks
    half = mask_of(mask_img) & (np.arange(mask_img.shape[0])[:, None, None] > mask_img.shape[0] // 2)
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = mask_img.shape[0] - 1
    flipped = nib.Nifti1Image(half[::-1].astype(np.uint8), mask_img.affine @ flip)
    again, values = seitzman_networks(target_of(flipped))
    assert again == names
    volume = np.zeros((10, *mask_img.shape), np.float32)
    volume[:, half[::-1]] = values
    np.testing.assert_allclose(volume[:, ::-1][:, half], maps[:, half[mask_of(mask_img)]], rtol=1e-5, atol=1e-7)


def test_the_reference_opens_no_connection_and_leaves_networks_outside_the_mask_out(mask_img, monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    found = read_reference("seitzman_2018", target_of(mask_img), data_dir=str(tmp_path))
    assert sorted(found.names) == NAMES
    assert not any(tmp_path.iterdir())


def mask_of(mask_img):
    return np.asarray(mask_img.dataobj) != 0


def places_of(mask_img):
    return nib.affines.apply_affine(mask_img.affine, np.argwhere(mask_of(mask_img)))
