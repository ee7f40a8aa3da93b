"""The smoothness of simulated maps is recovered along each axis."""

import numpy as np
import pytest
from made_maps import BOX, noise_in_box
from neurovault_ica.statistics.smoothness import count_resels, neighbour_correlations


def test_neighbours_correlate_as_the_kernel_predicts():
    """White noise smoothed with sigma voxels has the autocorrelation of a Gaussian of sigma times the root of 2."""
    rng = np.random.default_rng(7)
    sigmas = np.array([2, 3, 1.5])
    found = [neighbour_correlations(noise_in_box(rng, sigmas), BOX) for _ in range(8)]
    np.testing.assert_allclose(np.mean(found, axis=0), np.exp(-1 / (4 * sigmas**2)), atol=0.005)


def test_only_neighbours_in_the_mask_are_compared():
    inside = np.ones((2, 2, 4), dtype=bool)
    inside[..., 2] = False
    values = np.array([1.0, 1, 9, 1, 1, 9, 3, 3, 9, 3, 3, 9])
    # Along the first axis, 4 of 6 pairs differ by 2. Along the third, voxels beyond the gap are no neighbours.
    np.testing.assert_allclose(neighbour_correlations(values, inside), [1 - 16 / 6 / (2 * np.var(values)), 1, 1])


def test_a_mask_of_one_slice_has_finite_resels():
    rng = np.random.default_rng(7)
    inside = np.ones((1, 40, 40), dtype=bool)
    # Along the axis without neighbours, the FWHM counts as one voxel.
    assert count_resels(rng.standard_normal(1600), inside) == 1600


def test_resels_follow_from_the_smoothness_along_each_axis():
    rng = np.random.default_rng(7)
    counts = [count_resels(noise_in_box(rng, (2, 3, 1.5)), BOX) for _ in range(8)]
    assert np.mean(counts) == pytest.approx(BOX.sum() / (9 * 2.3548**3), rel=0.1)
    assert count_resels(rng.standard_normal(BOX.sum()), BOX) == BOX.sum()
