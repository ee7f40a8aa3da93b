"""p is right for values that draws reach. For values beyond all draws, it is right or too large on average."""

import numpy as np
import pytest
from neurovault_ica.statistics.p_values import tail_p
from scipy import stats

DISTRIBUTIONS = {
    "normal": stats.norm(),
    "exponential": stats.expon(),
    "long tail": stats.t(6),
    "bounded": stats.uniform(),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_small_p_are_extrapolated_and_not_too_small(name):
    distribution = DISTRIBUTIONS[name]
    null = distribution.rvs((1000, 400), random_state=np.random.default_rng(0))
    for p, least, most in ((0.2, 0.9, 1.1), (0.03, 0.9, 1.1), (0.003, 0.8, 2), (0.0003, 0.8, 15)):
        found = tail_p(np.full(400, distribution.isf(p)), null)
        assert least < found.mean() / p < most, (p, found.mean() / p)


def test_values_that_ten_draws_reach_have_the_share_of_draws():
    null = np.arange(1.0, 1001)[:, None] * [1, 10]
    np.testing.assert_allclose(tail_p(np.array([900.0, 9000]), null), 102 / 1001)
    assert (tail_p(np.array([1001.0, 10010]), null) <= 1 / 1001).all()
    assert (tail_p(np.array([2000.0, 20000]), null) > 0).all()


def test_draws_without_variation_give_no_error():
    null = np.zeros((500, 2))
    np.testing.assert_allclose(tail_p(np.array([0.0, -1.0]), null), 1)
    assert 0 <= tail_p(np.array([1.0, 1.0]), null)[0] <= 1 / 501
