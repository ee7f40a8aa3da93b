"""Surrogates keep values, smoothness and symmetry of a map, and their p values are valid."""

import itertools

import numpy as np
import pytest
from made_maps import EGG, EGG_AFFINE, egg, smooth_noise
from neurovault_ica.images.matrix import standardize
from neurovault_ica.statistics.autocorrelation import fit_autocorrelation, stretch
from neurovault_ica.statistics.lattice import Lattice, lattice_of
from neurovault_ica.statistics.surrogates import Surrogates, null_correlations

LATTICE = lattice_of(EGG, EGG_AFFINE)


def sparse(values):
    """Stretch the values so that they have long tails, like those of a component."""
    return standardize(np.sign(values) * np.abs(values) ** 2.5)


def test_lattice_points_are_every_third_voxel_of_the_mask_wherever_its_box_begins():
    affine = np.array([[-2.0, 0, 0, 74], [0, 2, 0, -105], [0, 0, 2, -75], [0, 0, 0, 1]])
    mask = egg(affine, (75, 93, 78))
    lattice = lattice_of(mask, affine)
    every_third = np.argwhere(mask)[lattice.points]
    assert (every_third % 3 == 0).all()
    of_box = np.argwhere(lattice.inside) @ lattice.affine[:3, :3].T + lattice.affine[:3, 3]
    np.testing.assert_allclose(of_box, every_third @ affine[:3, :3].T + affine[:3, 3])
    assert 0.9 < lattice.points.sum() * 27 / mask.sum() < 1.1


@pytest.mark.parametrize("fwhm_mm", [15, 25])
def test_smoothness_of_a_smoothed_field_is_that_of_its_kernel(fwhm_mm):
    """The autocorrelation of smoothed white noise is a Gaussian, wider than the kernel by the square root of 2."""
    rng = np.random.default_rng(0)
    distance = np.array([8.0, 16, 24, 36])
    fields = [smooth_noise(rng, fwhm_mm) for _ in range(30)]
    fitted = [fit_autocorrelation(values, LATTICE) for values in fields]
    expected = np.exp(-np.square(distance) / (4 * (fwhm_mm / 2.3548) ** 2))
    np.testing.assert_allclose(np.mean([fit.at(distance) for fit in fitted], axis=0), expected, atol=0.05)
    assert np.mean([fit.fwhm_mm for fit in fitted]) == pytest.approx(fwhm_mm, rel=0.1)


@pytest.mark.parametrize("many", [False, True])
def test_surrogates_keep_values_smoothness_and_symmetry(many):
    rng = np.random.default_rng(1)
    values = sparse(smooth_noise(rng, 18, symmetry=0.4))
    source = Surrogates(values, LATTICE, rng, many=many)
    pairs = (pair for _ in range(15) for pair in source.draw_pairs())
    drawn = np.concatenate(list(itertools.islice(pairs, 15)))
    np.testing.assert_allclose(np.sort(drawn, axis=1), np.tile(np.sort(values), (30, 1)), atol=1e-6)
    original, *fits = (fit_autocorrelation(map_, LATTICE) for map_ in (values, *drawn))
    distance = np.array([8.0, 16, 24])
    np.testing.assert_allclose(np.mean([fit.at(distance) for fit in fits], axis=0), original.at(distance), atol=0.05)
    assert original.mirror_r > 0.4
    assert abs(np.mean([fit.mirror_r for fit in fits]) - original.mirror_r) < 0.05
    assert np.abs(np.corrcoef(drawn)[np.triu_indices(30, 1)]).max() < 0.6


@pytest.mark.parametrize("n_maps", [20, pytest.param(60, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("shape", "symmetry", "fwhm_mm"),
    [
        pytest.param(lambda values: values, 0.0, 20, marks=pytest.mark.long),
        (sparse, 0.5, 20),
        (lambda values: values, 0.0, (12, 20, 40)),
    ],
    ids=["Gaussian", "sparse and half symmetric", "anisotropic"],
)
def test_five_percent_of_unrelated_smooth_maps_are_below_five_percent(shape, symmetry, fwhm_mm, n_maps):
    rng = np.random.default_rng(3)
    shares, naive = [], []
    for _ in range(n_maps):
        values = shape(smooth_noise(rng, fwhm_mm, symmetry=symmetry))
        other_mm = 0.75 * np.array(fwhm_mm)
        references = np.array([shape(smooth_noise(rng, other_mm, symmetry=symmetry)) for _ in range(15)])
        r = references @ values
        null = null_correlations(values, references, LATTICE, n_maps=39, rng=rng)
        shares.append(((1 + (np.abs(null) >= np.abs(r)).sum(axis=0)) / 40 <= 0.05).mean())
        naive.append((np.abs(r) > 1.96 / np.sqrt(len(values))).mean())
    assert abs(np.mean(shares) - 0.05) < 3 * np.std(shares) / np.sqrt(len(shares))
    # This is the share if voxels are treated as independent.
    assert np.mean(naive) > 0.3


def test_space_is_stretched_until_the_map_is_equally_smooth_along_its_axes():
    rng = np.random.default_rng(8)
    factors = []
    for _ in range(10):
        stretched = stretch(smooth_noise(rng, (16, 24, 36)), LATTICE)
        factors.append(np.diag(stretched.affine)[:3] / np.diag(LATTICE.affine)[:3])
        assert np.prod(factors[-1]) == pytest.approx(1)
    np.testing.assert_allclose(np.exp(np.log(factors).mean(axis=0)), [1.5, 1, 1 / 1.5], rtol=0.06)
    oblique = LATTICE._replace(affine=np.array([[1.0, 1, 0, 0], [1, -1, 0, 0], [1.1, 1.1, 1, 0], [0, 0, 0, 1]]))
    assert stretch(smooth_noise(rng, 20), oblique) is oblique


def test_a_map_that_resembles_a_reference_exceeds_its_surrogates():
    rng = np.random.default_rng(4)
    reference, other = smooth_noise(rng, 15), smooth_noise(rng, 15)
    null = null_correlations(0.5 * reference + other, np.array([reference, other * 0 + 1]), LATTICE, n_maps=99, rng=rng)
    assert np.abs(null[:, 0]).max() < standardize(0.5 * reference + other) @ reference
    assert not null[:, 1].any()


def test_eight_pairs_of_one_field_are_as_unrelated_as_pairs_of_two_fields():
    rng = np.random.default_rng(6)
    values = smooth_noise(rng, 30, symmetry=0.3)
    references = np.array([smooth_noise(rng, 20) for _ in range(8)])
    many = null_correlations(values, references, LATTICE, n_maps=1600, rng=rng)
    source = Surrogates(values, LATTICE, rng)
    single = np.concatenate([source.draw_pair() @ references.T for _ in range(400)])
    np.testing.assert_allclose(many.std(axis=0), single.std(axis=0), rtol=0.15)
    # The correlation of neighbours of a random sequence has a standard error of 1 / sqrt(1600).
    neighbours = np.mean([np.corrcoef(r[:-2], r[2:])[0, 1] for r in many.T])
    assert abs(neighbours) < 3 / np.sqrt(1600)


def test_a_seed_gives_the_same_surrogates():
    values = smooth_noise(np.random.default_rng(5), 15)
    first, second = (Surrogates(values, LATTICE, np.random.default_rng(7)).draw_pair() for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_constant_maps_and_masks_without_points_are_refused():
    with pytest.raises(ValueError, match="constant"):
        Surrogates(np.ones(LATTICE.points.sum()), LATTICE, np.random.default_rng(0))
    speck = np.zeros((30, 30, 30), dtype=bool)
    speck[1, 1, 1] = True
    with pytest.raises(ValueError, match="too small"):
        lattice_of(speck, np.diag([2.0, 2, 2, 1]))


def test_a_lattice_off_the_midline_still_measures_symmetry():
    shifted = Lattice(LATTICE.points, LATTICE.inside, LATTICE.affine + np.array([[0, 0, 0, 2.0]] + [[0] * 4] * 3))
    values = smooth_noise(np.random.default_rng(6), 25, symmetry=1)
    assert fit_autocorrelation(values, shifted).mirror_r > 0.9
