"""Planted mixtures are recovered, noise has no activation, and thresholds lie at the requested probability."""

import numpy as np
import pytest
from made_maps import BOX, noise_in_box
from neurovault_ica.statistics.mixture import (
    NO_TAIL,
    Mixture,
    Tail,
    activation_thresholds,
    expected_euler_characteristic,
    fit_mixture,
)
from neurovault_ica.statistics.smoothness import count_resels
from scipy import integrate, ndimage, optimize, stats

N = 200_000
PLANTED = Mixture(-0.1, 0.8, Tail(0.05, 6, 0.6), Tail(0.025, 8, 0.4), 0, 0, converged=True)


def draw(planted, rng, n=N):
    """Draw values from a mixture."""
    positive, negative = int(planted.positive.weight * n), int(planted.negative.weight * n)
    return np.concatenate(
        [
            rng.normal(planted.mean, planted.sd, n - positive - negative),
            rng.gamma(planted.positive.shape, planted.positive.scale, positive),
            -rng.gamma(planted.negative.shape, planted.negative.scale, negative),
        ]
    )


def test_densities_are_those_of_scipy_and_add_up_to_one():
    x = np.linspace(-3, 3, 13)
    noise, positive, negative = PLANTED.densities(x)
    np.testing.assert_allclose(noise, 0.925 * stats.norm(-0.1, 0.8).pdf(x))
    np.testing.assert_allclose(positive, 0.05 * stats.gamma(6, scale=0.6).pdf(x))
    np.testing.assert_allclose(negative, 0.025 * stats.gamma(8, scale=0.4).pdf(-x))
    assert integrate.quad(lambda x: sum(PLANTED.densities(np.array(x))), -30, 30)[0] == pytest.approx(1)


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_mixture_is_recovered(seed):
    fit = fit_mixture(draw(PLANTED, np.random.default_rng(seed)), resels=N)
    assert fit.converged
    assert fit.mean == pytest.approx(-0.1, abs=0.01)
    assert fit.sd == pytest.approx(0.8, abs=0.01)
    for found, planted in ((fit.positive, PLANTED.positive), (fit.negative, PLANTED.negative)):
        assert found.weight == pytest.approx(planted.weight, rel=0.1)
        assert found.shape * found.scale == pytest.approx(planted.shape * planted.scale, rel=0.05)
        assert found.shape * found.scale**2 == pytest.approx(planted.shape * planted.scale**2, rel=0.15)


def test_em_reaches_the_likelihood_of_a_general_optimizer():
    """Bins cost little precision, and EM reaches the maximum: scipy, on single values, finds no higher likelihood."""
    values = draw(PLANTED, np.random.default_rng(5), n=20_000)
    fit = fit_mixture(values, resels=N)

    def mean_log_likelihood(parameters):
        mean, log_sd, *tails = parameters
        both = [Tail(*np.exp(tails[first : first + 3])) for first in (0, 3)]
        return np.log(sum(Mixture(mean, np.exp(log_sd), *both, 0, 0, True).densities(values))).mean()

    start = [fit.mean, np.log(fit.sd), *np.log(fit.positive), *np.log(fit.negative)]
    best = optimize.minimize(lambda parameters: -mean_log_likelihood(parameters), start)
    assert mean_log_likelihood(start) == pytest.approx(-best.fun, abs=2e-5)
    assert fit.mean_log_likelihood == pytest.approx(-best.fun, abs=2e-4)


def test_only_tails_that_exist_are_fitted():
    one_sided = PLANTED._replace(negative=NO_TAIL)
    values = draw(one_sided, np.random.default_rng(1))
    fit = fit_mixture(values, resels=N)
    assert fit.negative == NO_TAIL
    assert fit.positive.weight == pytest.approx(0.05, rel=0.1)
    mirrored = fit_mixture(-values, resels=N)
    assert mirrored.positive == NO_TAIL
    assert mirrored.negative.shape == pytest.approx(fit.positive.shape, rel=0.02)


def test_smooth_noise_is_not_called_activation():
    """Of 40 sides of Gaussian fields, 5 % may have a tail. If voxels were independent, nearly all would have one."""
    rng = np.random.default_rng(2)
    fine, coarse, anisotropic, both = (3,), (8,), ((2, 3, 8),), (2, 8)
    fields = [noise_in_box(rng, *sigmas) for sigmas in (fine, coarse, anisotropic, both) for _ in range(5)]
    fits = [fit_mixture(values, count_resels(values, BOX)) for values in fields]
    assert sum(side.weight > 0 for fit in fits for side in (fit.positive, fit.negative)) <= 6


def test_euler_characteristic_counts_peaks_of_a_field():
    rng = np.random.default_rng(3)
    counts = []
    for _ in range(60):
        field = ndimage.gaussian_filter(rng.standard_normal((48, 48, 48)), 3, mode="wrap")
        counts.append(ndimage.label(field > 3.2 * field.std())[1])
    expected = expected_euler_characteristic(3.2, 48**3 / (3 * 2.3548) ** 3)
    assert np.mean(counts) == pytest.approx(expected, rel=0.25)


def test_euler_characteristic_is_that_of_the_ball_far_below_and_that_of_the_field_between():
    """Far below 0, the whole ball is above z. Of a huge field, as many tunnels as clusters are above z = 1."""
    assert expected_euler_characteristic(-10, 500) == pytest.approx(1)
    huge = 1e15
    assert expected_euler_characteristic(1, huge) / huge == pytest.approx(0, abs=1e-4)
    assert expected_euler_characteristic(0, huge) / huge == pytest.approx(-((4 * np.log(2)) ** 1.5) / (2 * np.pi) ** 2)


def test_thresholds_lie_where_the_probability_is_reached():
    positive, negative = activation_thresholds(PLANTED, 0.5, lowest=-9, highest=9)
    for x in (positive, -negative):
        noise, *tails = PLANTED.densities(np.array(x))
        assert sum(tails) / (noise + sum(tails)) == pytest.approx(0.5, abs=0.01)
    stricter = activation_thresholds(PLANTED, 0.9, lowest=-9, highest=9)
    assert stricter[0] > positive
    assert stricter[1] > negative
    assert activation_thresholds(PLANTED, 0.5, lowest=-1, highest=9) == (pytest.approx(positive, abs=1e-3), np.inf)
    assert activation_thresholds(PLANTED._replace(negative=NO_TAIL), 0.5, lowest=-9, highest=9)[1] == np.inf


def test_a_map_of_one_sign_and_a_constant_map():
    values = np.random.default_rng(4).gamma(2, 1, 10_000)
    fit = fit_mixture(values, resels=100)
    assert activation_thresholds(fit, 0.5, lowest=values.min(), highest=values.max())[1] == np.inf
    with pytest.raises(ValueError, match="all values of a component are the same"):
        fit_mixture(np.ones(100), resels=10)


def test_the_density_of_activation_does_not_rise_towards_zero():
    """Without the limit, these values would be fitted with a shape below 1, and a spike at 0."""
    rng = np.random.default_rng(6)
    values = np.concatenate([rng.normal(0, 0.4, 90_000), rng.gamma(0.5, 3, 10_000)])
    fit = fit_mixture(values, resels=1000)
    assert fit.positive.shape == 1
    assert fit.positive.density(np.array([1e-6])) == pytest.approx(fit.positive.density(np.array([1e-3])), rel=0.01)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rest_sd", [0, 1e-4])
@pytest.mark.parametrize("n_active", [30, 3000])
def test_the_blobs_of_a_sparse_map_are_activation(rest_sd, n_active):
    """All other values of such a map are in one bin of the histogram, so the standard deviation there is unknown."""
    rng = np.random.default_rng(7)
    values = np.concatenate([rest_sd * rng.standard_normal(100_000 - n_active), 5 + rng.random(n_active)])
    fit = fit_mixture(values, resels=100)
    assert fit.converged
    assert fit.positive.weight == pytest.approx(n_active / 1e5)
    assert fit.positive.shape * fit.positive.scale == pytest.approx(5.5, rel=0.05)
    positive, negative = activation_thresholds(fit, 0.5, lowest=values.min(), highest=values.max())
    assert 0.01 < positive < 5
    assert negative == np.inf
