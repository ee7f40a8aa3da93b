"""Match components with reference networks, and test whether they correlate more than expected by chance."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from neurovault_ica.images.matrix import standardize
from neurovault_ica.runtime.log import progress
from neurovault_ica.runtime.threads import in_order
from neurovault_ica.statistics.lattice import lattice_of
from neurovault_ica.statistics.p_values import false_discovery_rate
from neurovault_ica.statistics.surrogates import null_correlations
from neurovault_ica.types import Array, Real, Row

# Columns for the best and for the matched network, without the prefix ``best_`` or ``matched_``.
MATCH_COLUMNS = ("network", "r", "positive_r", "one_signed", "p", "q")


class Matches(NamedTuple):
    """The network of each component, arrays of shape (n_components,)."""

    best: npt.NDArray[np.intp]  # the network with the largest |r|
    matched: npt.NDArray[np.intp]  # one to one, with the largest sum of |r|; -1 if no network is left


def correlate_maps(components: Real, networks: Real) -> Array:
    """Return Pearson's r of components and networks over voxels, in double precision.

    Parameters
    ----------
    components : array of shape (n_components, n_voxels)
    networks : array of shape (n_networks, n_voxels)

    Returns
    -------
    array of shape (n_components, n_networks)
    """
    x = standardize(components.astype(np.float64))
    return np.stack([x @ standardize(network.astype(np.float64)) for network in networks], axis=1)


def match_components(r: Array) -> Matches:
    """Find the best network of each component, and the best one-to-one matching.

    Parameters
    ----------
    r : array of shape (n_components, n_networks)
    """
    matched = np.full(len(r), -1)
    rows, columns = linear_sum_assignment(np.abs(r), maximize=True)
    matched[rows] = columns
    return Matches(np.abs(r).argmax(axis=1), matched)


def p_of_largest(
    components: Real,
    networks: Real,
    mask: npt.NDArray[np.bool_],
    affine: Array,
    *,
    n_surrogates: int,
    random_state: int,
    threads: int = 1,
) -> Array:
    """Test each |r| against the largest |r| of surrogates of the component with any network.

    Taking the largest corrects p for choosing the best of several networks.

    Parameters
    ----------
    components : array of shape (n_components, n_voxels)
    networks : array of shape (n_networks, n_voxels)
    mask : boolean array of shape (nx, ny, nz)
        True at the n_voxels voxels, in C order.
    affine : array of shape (4, 4)
    n_surrogates : int
    random_state : int
    threads : int
        Components are divided among threads. The number of threads does not change the result.

    Returns
    -------
    array of shape (n_components, n_networks)
    """
    lattice = lattice_of(mask, affine)
    x, y = components[:, lattice.points], networks[:, lattice.points]
    observed = np.abs(standardize(x) @ standardize(y).T)

    def p_of(number: int) -> Array:
        rng = np.random.default_rng([random_state, number])
        null = np.abs(null_correlations(x[number], y, lattice, n_maps=n_surrogates, rng=rng)).max(axis=1)
        exceeding = (null[:, None] >= observed[number]).sum(axis=0)
        return (1 + exceeding) / (1 + n_surrogates)

    return np.stack(list(progress(in_order(p_of, range(len(x)), threads), total=len(x), unit="component")))


def find_one_signed(networks: Real) -> npt.NDArray[np.bool_]:
    """Return for each network whether all its values that are not 0 have the same sign.

    Parameters
    ----------
    networks : array of shape (n_networks, n_voxels)
    """
    return np.asarray((networks >= 0).all(axis=1) | (networks <= 0).all(axis=1))


def tabulate(
    r: Array,
    positive_r: Array,
    p: Array | None,
    matches: Matches,
    labels: Sequence[str],
    names: Sequence[str],
    one_signed: npt.NDArray[np.bool_],
) -> list[Row]:
    """Tabulate the matches for desc-ICA_networks.tsv. q is corrected over components (Benjamini and Hochberg 1995).

    Parameters
    ----------
    r : array of shape (n_components, n_networks)
    positive_r : array of shape (n_components, n_networks)
        r of the components' positive values; negative values are set to 0.
    p : array of shape (n_components, n_networks) or None
        None if not tested.
    matches : Matches
    labels, names : sequence of str
        Components and networks.
    one_signed : boolean array of shape (n_networks,)
        From `find_one_signed`.
    """
    rows: list[Row] = [{"component": label} for label in labels]
    for kind, chosen in (("best", matches.best), ("matched", matches.matched)):
        components = np.flatnonzero(chosen >= 0)
        pairs = components, chosen[components]
        evidence: Sequence[tuple[Any, Any]] = [(None, None)] * len(components)
        if p is not None:
            evidence = list(zip(p[pairs], false_discovery_rate(p[pairs]), strict=True))
        for row in rows:
            row |= dict.fromkeys(f"{kind}_{column}" for column in MATCH_COLUMNS)
        for component, network, (p_value, q_value) in zip(*pairs, evidence, strict=True):
            rows[component] |= {
                f"{kind}_network": names[network],
                f"{kind}_r": r[component, network],
                f"{kind}_positive_r": positive_r[component, network],
                f"{kind}_one_signed": bool(one_signed[network]),
                f"{kind}_p": p_value,
                f"{kind}_q": q_value,
            }
    return rows
