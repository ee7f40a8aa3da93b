"""Compare numbers of components and advise."""

import logging
from collections.abc import Sequence

import numpy as np

from neurovault_ica.decomposition.consensus import Settings, find_consensus, judge_by_restarts, many_unconverged
from neurovault_ica.decomposition.stability import Images, collect_measures, find_flags, judge_by_collections
from neurovault_ica.types import Real, Row

# An order is advised if it shows this share of the most components that any order shows.
NEARLY_ALL = 0.9


def choose_orders(orders: Sequence[int], n_axes: int) -> list[int]:
    """Sort the numbers of components to try; without those above the number of axes that reduce_images has kept.

    Raises
    ------
    ValueError
        If that leaves none.
    """
    chosen = sorted({order for order in orders if order <= n_axes})
    if not chosen:
        raise ValueError(
            f"scan_components.orders: {orders} are all above the {n_axes} axes of the images; try smaller ones"
        )
    if max(orders) > n_axes:
        logging.warning(
            "orders above %d are left out: so many axes of the images are kept, all independent ones up to 300, or ten"
            " for each of run_ica.n_components",
            n_axes,
        )
    return chosen


def scan_order(
    Z: Real,
    images: Images,
    *,
    n_restarts: int,
    n_bootstraps: int,
    n_splits: int,
    limits: Row,
    settings: Settings,
    threads: int,
) -> Row:
    """Decompose into as many components as `Z` has rows, as run_ica does, and say how stable they are.

    Parameters
    ----------
    Z : array of shape (n_components, n_voxels)
        White maps of the leading principal axes.
    images : Images
    n_restarts, n_bootstraps, n_splits : int
    limits : mapping
        Section ``run_ica.flags``.
    settings : Settings
    threads : int
    """
    n_components = len(Z)
    rotation, restarts = find_consensus(Z, n_restarts, settings, threads=threads)
    bootstraps, halves = judge_by_collections(
        images, rotation.R, n_bootstraps=n_bootstraps, n_splits=n_splits, settings=settings, threads=threads
    )
    measures = collect_measures(judge_by_restarts(rotation.R, restarts), bootstraps, halves)
    raised = find_flags(measures, np.zeros(n_components), limits)
    judged = bootstraps or halves
    return {
        "n_components": n_components,
        "converged": rotation.converged,
        "restarts_converged": sum(restart.converged for restart in restarts),
        **{name: None if values is None else values.mean() for name, values in measures.items()},
        "start_dependent": sum("start_dependent" in flags for flags in raised),
        "reproduced": sum("not_reproduced" not in flags for flags in raised) if judged else None,
    }


def advise(rows: Sequence[Row], n_above_chance: int, *, n_restarts: int) -> str:
    """Say in plain words which number of components to take, and why.

    Parameters
    ----------
    rows : sequence of mappings
        From `scan_order`, by order.
    n_above_chance : int
        From `count_above_chance`.
    n_restarts : int
    """
    orders = ", ".join(str(row["n_components"]) for row in rows)
    said = [_about_reproduction(rows, orders)]
    for row in rows:
        lost = []
        if many_unconverged(n_restarts, row["restarts_converged"]):
            lost.append(f"{n_restarts - row['restarts_converged']} of {n_restarts} restarts")
        if not row["converged"]:
            lost.append("the last run")
        if lost:
            said.append(
                f"With {row['n_components']}, {' and '.join(lost)} did not converge: a sign of more components than the"
                " images have structure for."
            )
            break
    said.append(
        f"Parallel analysis: {n_above_chance} principal components explain more than those of unrelated maps of the"
        " same smoothness. It takes images of one collection for independent, so some of these may be of one study."
    )
    return "\n".join(said)


def _about_reproduction(rows: Sequence[Row], orders: str) -> str:
    judged = [row for row in rows if row["reproduced"] is not None]
    if not judged:
        return (
            f"Orders tried: {orders}. Whether other studies would show the components is not known for any of them: too"
            " few collections or images, or run_ica.n_bootstraps and n_splits are 0."
        )
    most = max(row["reproduced"] for row in judged)
    if most == 0:
        return (
            f"Orders tried: {orders}. With none of them a component is found again in draws and halves of the"
            " collections: nothing here says that other studies would show any of them."
        )
    best = next(row for row in judged if row["reproduced"] >= NEARLY_ALL * most)
    components = "1 component is" if best["reproduced"] == 1 else f"{best['reproduced']} components are"
    found = (
        f"Advice: run_ica.n_components: {best['n_components']}. With it {components} found again"
        " in draws and halves of the collections (no flag not_reproduced)"
    )
    if best is judged[-1]:
        found += f", more than with fewer (tried: {orders}). No larger one could be judged: try larger ones."
    else:
        found += (
            f"; with more, {most} at most (tried: {orders}). More components may split networks finer: rely on those"
            " without flags then."
        )
    # So small a difference is no evidence.
    fewer = next(row for row in judged if row["reproduced"] >= best["reproduced"] - 1)
    if fewer is not best and fewer["reproduced"]:
        found += (
            f" With {fewer['n_components']} it is {fewer['reproduced']}, one fewer: other studies may turn that round."
        )
    return found
