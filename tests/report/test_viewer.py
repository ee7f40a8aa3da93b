"""Unpacked maps equal the originals, to 1/127 of their largest value."""

import base64
import gzip

import nibabel as nib
import numpy as np
import pytest
from made_report import made_cortex
from neurovault_ica.figures.slices import LEAST_BRAIN, Box
from neurovault_ica.images.maps import Maps, Volume
from neurovault_ica.report.surface_viewer import pack_surface
from neurovault_ica.report.viewer import Grid, grid_of, pack, pack_map, pack_template, pack_viewer, sample_grid

BOX = Box((-20, -30, -10), (20, 26, 30))


def unpack(text):
    """Undo `pack` as the page does."""
    return np.cumsum(np.frombuffer(gzip.decompress(base64.b64decode(text)), np.uint8), dtype=np.uint8)


def unpack_words(text):
    """Undo `pack_words` as the page does."""
    low, high = np.frombuffer(gzip.decompress(base64.b64decode(text)), np.uint8).reshape(2, -1).astype(np.uint16)
    return np.cumsum(low + 256 * high, dtype=np.uint16)


def volume_of(shape, step, origin, seed=0):
    affine = np.diag([*step, 1.0])
    affine[:3, 3] = origin
    return Volume(np.random.default_rng(seed).normal(size=shape).astype(np.float32), affine)


def test_packing_keeps_every_byte():
    codes = np.random.default_rng(0).integers(-127, 128, 5000).astype(np.int8)
    np.testing.assert_array_equal(unpack(pack(codes)).astype(np.int8), codes)
    assert pack(codes) == pack(codes)


def test_meshes_come_back():
    cortex = made_cortex()
    packed = pack_surface(cortex)
    for name in ("inflated", "pial", "white"):
        found = unpack_words(packed[name]).astype(np.int16).reshape(3, -1).T * packed["unit"]
        np.testing.assert_allclose(found, getattr(cortex, name), atol=packed["unit"] * 0.501)
    np.testing.assert_array_equal(unpack_words(packed["faces"]).reshape(-1, 3), cortex.faces)
    np.testing.assert_array_equal(unpack(packed["cortex"]), cortex.is_cortex)
    # The sign of the depth tells sulci from gyri.
    is_clear = np.abs(cortex.sulcal_depth) > 0.01
    depth = unpack(packed["sulcal_depth"]).astype(np.int8)
    np.testing.assert_array_equal(depth[is_clear] > 0, cortex.sulcal_depth[is_clear] > 0)


def test_map_comes_back_inside_the_mask():
    volume = volume_of((21, 29, 21), (2, 2, 2), (-20, -30, -10))
    inside = np.random.default_rng(1).random(volume.data.shape) > 0.5
    # The largest absolute value may be negative.
    volume.data[tuple(np.argwhere(inside)[0])] = -9
    packed = pack_map(volume, grid_of(volume.data.shape, volume.affine, BOX), inside)
    found = unpack(packed["codes"]).astype(np.int8) * packed["unit"]
    np.testing.assert_allclose(found, volume.data[inside], atol=packed["unit"] * 0.501)
    assert np.abs(found).max() == pytest.approx(np.abs(volume.data[inside]).max())


def test_empty_map_is_packed():
    volume = Volume(np.zeros((5, 5, 5), np.float32), np.diag([2.0, 2, 2, 1]))
    packed = pack_map(volume, grid_of((5, 5, 5), volume.affine, BOX), np.ones((5, 5, 5), bool))
    assert not unpack(packed["codes"]).any()


def test_maps_of_2_mm_and_coarser_are_shown_at_their_own_voxels():
    for step in (2.0, 3.0):
        volume = volume_of((7, 8, 9), (step,) * 3, (-6, -8, 0))
        grid = grid_of(volume.data.shape, volume.affine, BOX)
        assert grid == Grid((7, 8, 9), (-6.0, -8.0, 0.0), (step,) * 3)
        assert sample_grid(volume, grid, order=1) is volume.data


@pytest.mark.parametrize("kind", ["finer", "flipped", "oblique"])
def test_other_maps_are_sampled_every_2_mm(kind):
    """A linear map, x + 2 y + 3 z, keeps its values on any grid."""
    affine = np.diag([1.0, 1.0, 1.0, 1.0]) if kind == "finer" else np.diag([-2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-30, -40, -20) if kind == "finer" else (40, -40, -20)
    if kind == "oblique":
        angle = np.deg2rad(10)
        turn = np.eye(4)
        turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        affine = turn @ affine
    shape = (80, 80, 60)
    mm = np.einsum("ij,jklm->iklm", affine[:3, :3], np.indices(shape)) + affine[:3, 3, None, None, None]
    volume = Volume((mm[0] + 2 * mm[1] + 3 * mm[2]).astype(np.float32), affine)
    grid = grid_of(shape, affine, BOX)
    assert grid == Grid((21, 29, 21), (-20.0, -30.0, -10.0), (2.0, 2.0, 2.0))
    x, y, z = np.meshgrid(*(o + 2 * np.arange(n) for o, n in zip(grid.origin, grid.shape, strict=True)), indexing="ij")
    np.testing.assert_allclose(sample_grid(volume, grid, order=1), x + 2 * y + 3 * z, atol=1e-3)


def test_template_is_cut_to_the_box_in_64_greys():
    template = volume_of((61, 71, 61), (1, 1, 1), (-30, -40, -20))
    template.data[:] = np.abs(template.data) / np.abs(template.data).max()
    packed = pack_template(template, BOX)
    assert packed["origin"] == [-20, -30, -10]
    assert packed["shape"] == [41, 57, 41]
    found = unpack(packed["codes"]).reshape(41, 57, 41) / packed["levels"]
    expected = template.data[10:51, 10:67, 10:51]
    np.testing.assert_allclose(found, np.where(expected > LEAST_BRAIN, expected, 0), atol=0.5 / 63 + 1e-6)


def test_viewer_has_all_maps_in_order_and_their_mask():
    volume = volume_of((7, 8, 9), (2, 2, 2), (-6, -8, 0))
    inside = volume.data > 0
    values = np.random.default_rng(1).normal(size=(2, inside.sum())).astype(np.float32)
    maps = Maps(values, inside, nib.Nifti1Image(volume.data, volume.affine).header)
    packed = pack_viewer(maps, volume_of((61, 71, 61), (1, 1, 1), (-30, -40, -20)), BOX)
    assert packed["grid"] == {"shape": [7, 8, 9], "origin": [-6, -8, 0], "step": [2, 2, 2]}
    np.testing.assert_array_equal(unpack(packed["mask"]).reshape(7, 8, 9) > 0, inside)
    for expected, entry in zip(values, packed["maps"], strict=True):
        found = unpack(entry["codes"]).astype(np.int8) * entry["unit"]
        np.testing.assert_allclose(found, expected, atol=entry["unit"] * 0.501)
    assert packed["positive"][0] == "#c9705f"
    assert len(packed["positive"]) == len(packed["negative"]) == 64
