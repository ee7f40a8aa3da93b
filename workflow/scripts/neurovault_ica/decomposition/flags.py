"""Collect the quality measures of components, and flag components beyond a limit."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from neurovault_ica.decomposition.loadings import Shares, effective_number
from neurovault_ica.decomposition.stability import Stability
from neurovault_ica.images.tissues import TissueShares
from neurovault_ica.types import Real

FLAGS = ("start_dependent", "not_reproduced", "one_collection", "not_grey_matter")


def collect_measures(
    restarts: tuple[Real, Real] | None, bootstraps: Stability | None, halves: Stability | None
) -> dict[str, Real | None]:
    """Return the stability measures by column name, each an array (n_components,) or None if not measured.

    Parameters
    ----------
    restarts : tuple of two arrays, or None
        From `consensus.judge_by_restarts`.
    bootstraps, halves : Stability or None
        From `stability.judge_by_collections`.
    """
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
    measures: Mapping[str, Real | None],
    largest_share: Real,
    limits: Mapping[str, float | None],
    tissues: TissueShares | None = None,
) -> list[list[str]]:
    """List the flags of each component.

    Parameters
    ----------
    measures : mapping
        From `collect_measures`. A measure that is None raises no flag.
    largest_share : array of shape (n_components,)
        Largest share of a single collection in the squared loadings.
    limits : mapping
        Section ``run_ica.flags``, with limits of tissue shares adapted to the mask. None switches a criterion off.
    tissues : TissueShares, optional
        Shares of each component map in the tissues. Without them, ``not_grey_matter`` is not raised.

    Returns
    -------
    list of list of str
        ``start_dependent``: the restarts disagree. ``not_reproduced``: correlations with the components of
        resampled collections are below the limit or below chance. ``one_collection``: the share of one collection is
        too large. ``not_grey_matter``: too little of the squared map is in grey matter, or too much is outside grey and
        white matter or at the rim of the brain.
    """

    def below(name: str) -> npt.NDArray[np.bool_]:
        values, limit, chance = measures[name], limits[f"min_{name}"], measures.get(f"chance_{name}")
        if values is None or limit is None:
            return np.zeros(len(largest_share), dtype=bool)
        return values < (limit if chance is None else np.maximum(limit, chance))

    def above(values: Real, name: str) -> npt.NDArray[np.bool_]:
        limit = limits[f"max_{name}"]
        return values > (np.inf if limit is None else limit)

    not_grey = np.zeros(len(largest_share), dtype=bool)
    if tissues is not None:
        not_grey = tissues.grey_matter < (limits["min_grey_matter_share"] or 0)
        not_grey |= above(tissues.outside_tissue, "outside_tissue_share") | above(tissues.rim, "rim_share")
    raised = (
        below("iq_restarts") | below("r_restarts"),
        below("r_bootstraps") | below("r_split_half"),
        above(largest_share, "collection_share"),
        not_grey,
    )
    return [[flag for flag, bad in zip(FLAGS, raised, strict=True) if bad[k]] for k in range(len(largest_share))]


def stability_rows(
    labels: Sequence[str],
    explained: Real,
    measures: Mapping[str, Real | None],
    shares: Shares,
    tissues: TissueShares,
    raised: Sequence[Sequence[str]],
) -> Iterator[dict[str, Any]]:
    """Yield the rows of desc-ICA_stability.tsv.

    Parameters
    ----------
    labels : sequence of str
        Labels of the components.
    explained : array of shape (n_components,)
        Share of the variance that each component explains.
    measures : mapping
        From `collect_measures`.
    shares : Shares
        Share of each collection in the squared loadings.
    tissues : TissueShares
        Shares of each component map in the tissues.
    raised : sequence of sequence of str
        From `find_flags`.
    """
    n_effective, largest = effective_number(shares.share), shares.share.argmax(axis=0)
    for number, label in enumerate(labels):
        yield (
            {"component": label, "variance_explained": explained[number]}
            | {name: None if values is None else values[number] for name, values in measures.items()}
            | {
                "effective_collections": n_effective[number],
                "largest_collection_id": shares.collections[largest[number]],
                "largest_collection_share": shares.share[largest[number], number],
                **{f"{name}_share": values[number] for name, values in tissues._asdict().items()},
                "flags": ",".join(raised[number]),
            }
        )
