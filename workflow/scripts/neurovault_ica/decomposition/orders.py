"""Compare several numbers of components (orders), and recommend one."""

import logging
from collections.abc import Iterator, Sequence

import numpy as np

from neurovault_ica.decomposition.algorithms import Settings
from neurovault_ica.decomposition.axes import ImagesInAxes
from neurovault_ica.decomposition.consensus import find_consensus, judge_by_restarts, many_unconverged
from neurovault_ica.decomposition.flags import collect_measures, find_flags
from neurovault_ica.decomposition.gram import AXES_PER_COMPONENT, MIN_AXES
from neurovault_ica.decomposition.stability import judge_by_collections
from neurovault_ica.decomposition.summary import MIN_IMAGES_PER_COMPONENT, RULE
from neurovault_ica.runtime.wording import counted
from neurovault_ica.types import Real, Row

# Recommend the smallest order whose number of reproduced components is at least this share of the largest such number.
NEARLY_ALL = 0.9
# Orders to try if the configuration names none. Those above a third of the number of images are left out.
USUAL_ORDERS = (4, 8, 12, 16, 20, 30, 40, 50, 70, 100)


def derive_orders(n_images: int) -> list[int]:
    """Return the usual orders that leave at least three images for each component; if there are none, 2."""
    return [order for order in USUAL_ORDERS if order * MIN_IMAGES_PER_COMPONENT <= n_images] or [2]


def choose_orders(orders: Sequence[int], n_axes: int) -> list[int]:
    """Sort the orders to try, and drop those above the number of axes that reduce_images kept.

    Raises
    ------
    ValueError
        If no order is left.
    """
    chosen = sorted({order for order in orders if order <= n_axes})
    if not chosen:
        raise ValueError(
            f"scan_components.orders: {orders}: all exceed {n_axes}, the number of principal axes that reduce_images"
            " kept; set smaller numbers, or null"
        )
    if max(orders) > n_axes:
        logging.warning(
            "numbers of components above %d were left out, because reduce_images kept only %d principal axes; it keeps"
            " at most %d, or %d times run_ica.n_components if that is more",
            n_axes,
            n_axes,
            MIN_AXES,
            AXES_PER_COMPONENT,
        )
    return chosen


def scan_order(
    Z: Real,
    images: ImagesInAxes,
    *,
    n_restarts: int,
    n_bootstraps: int,
    n_splits: int,
    limits: Row,
    settings: Settings,
    threads: int,
) -> Row:
    """Decompose `Z` into as many components as it has rows, as run_ica does, and measure their stability.

    Parameters
    ----------
    Z : array of shape (n_components, n_voxels)
        White maps of the leading principal axes of the images.
    images : ImagesInAxes
    n_restarts, n_bootstraps, n_splits : int
    limits : mapping
        Section ``run_ica.flags``.
    settings : Settings
    threads : int

    Returns
    -------
    Row
        A row of orders.tsv, without the explained variance.
    """
    n_components = len(Z)
    solution, restarts = find_consensus(Z, n_restarts, settings, threads=threads)
    bootstraps, halves = judge_by_collections(
        images, solution.R, n_bootstraps=n_bootstraps, n_splits=n_splits, settings=settings, threads=threads
    )
    measures = collect_measures(judge_by_restarts(solution.R, restarts), bootstraps, halves)
    raised = find_flags(measures, np.zeros(n_components), limits)
    # A criterion that is switched off or was not measured flags nothing. So count only if there are criteria, and all
    # of them were measured.
    criteria = (("min_r_bootstraps", n_bootstraps, bootstraps), ("min_r_split_half", n_splits, halves))
    results = [result for key, number, result in criteria if number and limits[key] is not None]
    measured = bool(results) and all(result is not None for result in results)
    return {
        "n_components": n_components,
        "converged": solution.converged,
        "restarts_converged": sum(restart.converged for restart in restarts),
        **{name: None if values is None else values.mean() for name, values in measures.items()},
        "start_dependent": sum("start_dependent" in flags for flags in raised),
        "reproduced": sum("not_reproduced" not in flags for flags in raised) if measured else None,
    }


def advise(rows: Sequence[Row], n_above_chance: int, *, n_restarts: int) -> str:
    """Recommend a number of components, and give the reasons.

    Parameters
    ----------
    rows : sequence of mappings
        From `scan_order`, in ascending order.
    n_above_chance : int
        From `parallel_analysis.count_above_chance`.
    n_restarts : int
    """
    return "\n".join(
        [
            _about_reproduction(rows),
            *_about_convergence(rows, n_restarts),
            f"Parallel analysis: {counted(n_above_chance, 'principal component has', 'principal components have')} more"
            " variance than expected from unrelated maps of the same smoothness. The advice does not use this number,"
            " because some of these components may come from a single study.",
        ]
    )


def _about_reproduction(rows: Sequence[Row]) -> str:
    tried = f"Numbers of components tried: {', '.join(str(row['n_components']) for row in rows)}."
    judged = [row for row in rows if row["reproduced"] is not None]
    if not judged:
        return (
            f"{tried} No recommendation: stability across studies could not be judged. There are too few collections"
            " or images, run_ica.n_bootstraps and run_ica.n_splits are 0, or their limits in run_ica.flags are null."
        )
    most = max(row["reproduced"] for row in judged)
    if most == 0:
        return (
            f"{tried} No recommendation: none of these numbers gave a component that was reproduced across studies."
            " Other studies would probably give other components."
        )
    best = next(row for row in judged if row["reproduced"] >= NEARLY_ALL * most)
    order, reproduced = best["n_components"], best["reproduced"]
    sentences = [
        f"Advice: set run_ica.n_components to {order}. The rule: {RULE}.",
        f"With {counted(order, 'component')}, {_are_reproduced(reproduced)} across studies (not flagged as"
        " not_reproduced).",
    ]
    if best is rows[-1]:
        sentences.append("No larger number was tried: try larger ones.")
    elif best is judged[-1]:
        sentences.append("Larger numbers could not be judged: bootstrap samples or split halves had too few images.")
    else:
        sentences.append(f"With more components, at most {_are_reproduced(most)}.")
        sentences.append(
            "More components may divide networks more finely; if you choose more, rely on those without flags."
        )
    # A difference of one reproduced component is no evidence for the larger number.
    fewer = next(row for row in judged if row["reproduced"] >= reproduced - 1)
    if fewer is not best and fewer["reproduced"]:
        sentences.append(
            f"With {counted(fewer['n_components'], 'component')}, {_are_reproduced(fewer['reproduced'])}; this"
            " difference may not hold in other samples of studies."
        )
    return " ".join([*sentences, tried])


def _are_reproduced(number: int) -> str:
    return counted(number, "is reproduced", "are reproduced")


def _about_convergence(rows: Sequence[Row], n_restarts: int) -> Iterator[str]:
    """Name the smallest order with runs that did not converge, if there is one."""
    for row in rows:
        failed = []
        if many_unconverged(n_restarts, row["restarts_converged"]):
            failed.append(f"{n_restarts - row['restarts_converged']} of {n_restarts} restarts")
        if not row["converged"]:
            failed.append("the final run")
        if failed:
            yield (
                f"With {counted(row['n_components'], 'component')}, {' and '.join(failed)} did not converge. If you"
                " want this number, set run_ica.algorithm: picard, which converges more often."
            )
            return
