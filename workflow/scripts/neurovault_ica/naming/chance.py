"""Run the tests of several sources of names with the same surrogates of the components.

Drawing the surrogates of a component takes longer than any test, so they are drawn once for all tests.
"""

from collections.abc import Sequence

import numpy as np

from neurovault_ica.naming.evidence import SurrogateTest
from neurovault_ica.runtime.log import progress
from neurovault_ica.runtime.threads import in_order, one_blas_thread
from neurovault_ica.statistics.lattice import Lattice
from neurovault_ica.statistics.p_values import MIN_SURROGATES
from neurovault_ica.statistics.surrogates import Surrogates
from neurovault_ica.types import Array, Real


def run_tests(
    components: Real,
    lattice: Lattice,
    tests: Sequence[SurrogateTest],
    *,
    n_permutations: int,
    random_state: int,
    threads: int = 1,
) -> list[Array]:
    """Run all tests with the surrogates of each component.

    Parameters
    ----------
    components : array of shape (n_components, n_points)
    lattice : Lattice
        The positions of the points.
    tests : sequence of SurrogateTest
    n_permutations : int
        Number of surrogates of each component, at least `MIN_SURROGATES`.
    random_state : int
    threads : int
        Surrogates are drawn in threads. The number of threads does not change the result.

    Returns
    -------
    list of array
        The p values of each test, stacked over components.
    """
    n_maps = max(n_permutations, MIN_SURROGATES)

    def draw(number: int) -> Real:
        rng = np.random.default_rng([random_state, number])
        return Surrogates(components[number], lattice, rng, many=True).draw(n_maps)

    with one_blas_thread():
        drawn = in_order(draw, range(len(components)), threads)
        rows = [
            [test(number, surrogates) for test in tests]
            for number, surrogates in enumerate(progress(drawn, total=len(components), unit="component"))
        ]
    return [np.stack(p) for p in zip(*rows, strict=True)]
