"""Collect the stability measures of components, and flag components that fail them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from neurovault_ica.decomposition.loadings import Shares, effective_number
from neurovault_ica.decomposition.stability import Stability
from neurovault_ica.types import Real

FLAGS = ("start_dependent", "not_reproduced", "one_collection")


def collect_measures(
    restarts: tuple[Real, Real] | None, bootstraps: Stability | None, halves: Stability | None
) -> dict[str, Real | None]:
    """Return the stability measures by column name, each an array (n_components,) or None if not measured."""
    return {
        "iq_restarts": restarts and restarts[0],
        "r_restarts": restarts and restarts[1],
        "iq_bootstraps": bootstraps and bootstraps.iq,
        "r_bootstraps": bootstraps and bootstraps.correlation,
        "chance_r_bootstraps": bootstraps and bootstraps.chance,
        "r_split_half": halves and halves.correlation,
        "chance_r_split_half": halves and halves.chance,
    }


def find_flags(
    measures: Mapping[str, Real | None], largest_share: Real, limits: Mapping[str, float | None]
) -> list[list[str]]:
    """List the flags of each component.

    Parameters
    ----------
    measures : mapping
        From `collect_measures`. A measure that is None raises no flag.
    largest_share : array of shape (n_components,)
        Largest share of a single collection in the squared loadings.
    limits : mapping
        Section ``run_ica.flags``. None switches a criterion off.

    Returns
    -------
    list of list of str
        ``start_dependent``: the restarts disagree. ``not_reproduced``: correlations with the components of
        resampled collections are low or not above chance. ``one_collection``: one collection has too large a share.
    """

    def below(name: str) -> npt.NDArray[np.bool_]:
        values, limit, chance = measures[name], limits[f"min_{name}"], measures.get(f"chance_{name}")
        if values is None or limit is None:
            return np.zeros(len(largest_share), dtype=bool)
        return values < (limit if chance is None else np.maximum(limit, chance))

    max_share = limits["max_collection_share"]
    raised = (
        below("iq_restarts") | below("r_restarts"),
        below("r_bootstraps") | below("r_split_half"),
        largest_share > (np.inf if max_share is None else max_share),
    )
    return [[flag for flag, bad in zip(FLAGS, raised, strict=True) if bad[k]] for k in range(len(largest_share))]


def stability_rows(
    labels: Sequence[str],
    explained: Real,
    measures: Mapping[str, Real | None],
    shares: Shares,
    raised: Sequence[Sequence[str]],
) -> Iterator[dict[str, Any]]:
    """Tabulate explained variance, stability, contributing collections and flags of each component."""
    n_effective, largest = effective_number(shares.share), shares.share.argmax(axis=0)
    for number, label in enumerate(labels):
        yield (
            {"component": label, "variance_explained": explained[number]}
            | {name: None if values is None else values[number] for name, values in measures.items()}
            | {
                "effective_collections": n_effective[number],
                "largest_collection_id": shares.collections[largest[number]],
                "largest_collection_share": shares.share[largest[number], number],
                "flags": ",".join(raised[number]),
            }
        )
