"""Smoothing is a Gaussian filter within the mask, which does not darken its border."""

import numpy as np
import pytest
from neurovault_ica.images.smoothing import Smoother
from neurovault_ica.images.targets import Target
from scipy.ndimage import gaussian_filter

SHAPE = (24, 20, 22)
OBLIQUE = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])


def target(voxel_mm=(2.0, 2.0, 2.0), axes=None) -> Target:
    """Make a ball with a hole, cropped to its bounding box."""
    distance = np.linalg.norm(np.indices(SHAPE) - np.array([12, 10, 11])[:, None, None, None], axis=0)
    inside = (distance < 9) & (distance > 2)
    box = tuple(slice(axis.min(), axis.max() + 1) for axis in np.nonzero(inside))
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if axes is None else axes) * voxel_mm
    return Target(SHAPE, affine, box, inside[box])


@pytest.mark.parametrize("axes", [None, OBLIQUE], ids=["straight", "oblique"])
def test_equals_scipy_within_the_mask_on_anisotropic_grids(axes):
    ball = target((2.0, 3.0, 4.5), axes)
    voxels = np.random.default_rng(0).standard_normal(ball.n_voxels).astype(np.float32)
    volume = np.zeros(ball.inside.shape)
    volume[ball.inside] = voxels
    sds = [7 / 2.3548200450309493 / mm for mm in (2.0, 3.0, 4.5)]
    data, mask = (
        gaussian_filter(array, sds, mode="constant", truncate=5) for array in (volume, ball.inside.astype(float))
    )
    np.testing.assert_allclose(Smoother(ball, 7)(voxels), (data[ball.inside] / mask[ball.inside]), atol=2e-5)


def test_the_border_is_not_darkened():
    ball = target()
    np.testing.assert_allclose(Smoother(ball, 12)(np.full(ball.n_voxels, 3, np.float32)), 3, rtol=1e-6)


def test_a_point_becomes_half_as_high_at_half_the_width():
    shape = (25, 25, 25)
    cube = Target(shape, np.diag([1.5, 1.5, 1.5, 1]), (slice(0, 25),) * 3, np.ones(shape, bool))
    volume = np.zeros(shape, np.float32)
    volume[12, 12, 12] = 1
    smoothed = Smoother(cube, 6)(volume.ravel()).reshape(shape)
    assert smoothed[14, 12, 12] / smoothed[12, 12, 12] == pytest.approx(0.5, rel=1e-4)
    assert smoothed.sum() == pytest.approx(1, rel=1e-3)


def test_a_tiny_width_changes_nothing():
    ball = target()
    voxels = np.random.default_rng(0).standard_normal(ball.n_voxels).astype(np.float32)
    np.testing.assert_array_equal(Smoother(ball, 1e-9)(voxels), voxels)
