"""Find independent components: FastICA from many starts, one consensus, settled in order and sign, and judged.

Rows of ``S`` are component maps, columns of ``A`` (mixing) the images' loadings, rows of ``W`` (unmixing) the weights
that make a map from the images: ``X - mean = A @ S + residual`` and ``S = W @ (X - mean)``.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from consensus import Consensus, Settings, find_consensus, judge_by_restarts, many_unconverged
from loadings import (
    Shares,
    effective_number,
    rank_collections,
    rank_images,
    share_of_collections,
    share_of_images,
)  # fmt: skip
from maps import place_maps, write_maps
from outputs import component_labels, read_table, remove_stale, write_json, write_table
from parallel import in_order
from stability import FLAGS, Stability, collect_measures, find_flags, judge_by_collections, read_images
from stage_log import log_to
from threadpoolctl import threadpool_limits

Array = npt.NDArray[np.floating[Any]]


class Decomposition(NamedTuple):
    """Components, settled in order and sign."""

    S: Array  # (n_components, n_voxels), maps of variance 1
    A: Array  # (n_images, n_components), loadings
    W: Array  # (n_components, n_images), weights
    R: Array  # (n_components, n_components), the maps as coordinates in the white axes


def settle(S: Array, A: Array) -> tuple[npt.NDArray[np.intp], Array]:
    """Decide order and sign, here and nowhere else.

    Parameters
    ----------
    S : array of shape (n_components, n_voxels)
    A : array of shape (n_images, n_components)
        Loadings, times the square roots of the images' weights.

    Returns
    -------
    order : array of shape (n_components,)
        By explained variance, largest first. The maps have unit variance, so that is the squared norm of the loadings.
    signs : array of shape (n_components,)
        In the old order: -1 where the largest absolute value of the map is negative.
    """
    order = np.argsort(-np.square(A).sum(axis=0), kind="stable")
    signs = np.where(-S.min(axis=1) > S.max(axis=1), -1.0, 1.0)
    return order, signs


def decompose(Z: Array, R: Array, reduced: Mapping[str, Array]) -> Decomposition:
    """Turn a rotation of the white data into maps, loadings and weights.

    Parameters
    ----------
    Z : array of shape (n_components, n_voxels)
        White rows.
    R : array of shape (n_components, n_components)
        Orthogonal.
    reduced : mapping
        What reduce_images has written.
    """
    k = len(Z)
    S: Array = R.astype(Z.dtype) @ Z
    scale = S.std(axis=1, keepdims=True, dtype=np.float64)
    S /= scale
    roots = np.sqrt(reduced["weights"])[:, None]
    # The rotation is orthogonal, so its transpose inverts it.
    weighted_A = (reduced["U"][:, :k] * np.sqrt(reduced["eigenvalues"][:k])) @ R.T * scale.T
    order, signs = settle(S, weighted_A)
    S, R, W = ((signs[:, None].astype(rows.dtype) * rows)[order] for rows in (S, R, R @ reduced["K"] / scale))
    return Decomposition(S, (weighted_A * signs)[:, order] / roots, W, R)


def main(
    *,
    matrix: str,
    whitened: str,
    reduction: str,
    images: str,
    collections: str,
    mask: str,
    components: str,
    mixing: str,
    unmixing: str,
    stability: str,
    top_images: str,
    top_collections: str,
    decomposition: str,
    random_state: int,
    n_restarts: int,
    n_bootstraps: int,
    n_splits: int,
    flags: Mapping[str, float | None],
    max_iter: int,
    tol: float,
    threads: int,
) -> None:
    """Decompose the whitened data and write maps, loadings and what is known of their stability."""
    Z = np.load(whitened)
    reduced = dict(np.load(reduction))
    used = read_table(images)
    members = [image["collection_id"] for image in used]
    settings = Settings(random_state, max_iter, tol)
    # One BLAS thread: the order of summation, and so the last digit, must not depend on the number of cores.
    with threadpool_limits(1):
        consensus = find_consensus(Z, n_restarts, settings, threads=threads)
        found = decompose(Z, consensus.rotation.R, reduced)
        restarts = judge_by_restarts(found.R, consensus.restarts)
        bootstraps = halves = None
        if n_bootstraps or n_splits:
            axes = read_images(matrix, reduced, members, random_state=random_state, threads=threads)
            bootstraps, halves = judge_by_collections(
                axes, found.R, n_bootstraps=n_bootstraps, n_splits=n_splits, settings=settings, threads=threads
            )

    labels = component_labels(len(Z))
    # Maps of another grid, left by an earlier configuration, would stand beside the new ones.
    remove_stale(components, "space-*_components.nii.gz")
    maps = place_maps(found.S.astype(np.float32, copy=False), mask)
    write_maps(components, maps.header, in_order(maps.volume, range(len(Z)), threads))
    for path, rows in ((mixing, found.A), (unmixing, found.W.T)):
        write_table(path, rows_by_image(labels, rows, used), ["image_id", *labels])

    share = share_of_images(found.A, reduced["weights"])
    shares = share_of_collections(share, members)
    studies = {row["collection_id"]: row for row in read_table(collections)}
    write_table(top_images, rank_images(labels, found.A, share, used))
    write_table(top_collections, rank_collections(labels, found.A, shares, used, studies))

    image_variance = reduced["weights"] * reduced["image_variance"]
    balance = share_of_collections(image_variance[:, None] / image_variance.sum(), members)
    explained = (reduced["weights"][:, None] * np.square(found.A)).sum(axis=0) / image_variance.sum()
    measures = collect_measures(restarts, bootstraps, halves)
    # Where there is only one collection, that it carries everything is no news.
    largest_share = shares.share.max(axis=0) * (len(shares.collections) > 1)
    raised = find_flags(measures, largest_share, flags)
    write_table(stability, stability_rows(labels, explained, measures, shares, raised))

    summary = {
        "n_components": len(Z),
        "n_images": len(used),
        "n_collections": len(balance.collections),
        "n_effective_collections": float(effective_number(balance.share)[0]),
        "n_voxels": Z.shape[1],
        "whitening": str(reduced["method"]),
        "algorithm": "FastICA, parallel, logcosh",
        **settings._asdict(),
        "max_sample_iter": settings.max_sample_iter,
        **count_runs(consensus, bootstraps, halves),
        "n_axes_of_draws": reduced["U"].shape[1],
        "n_bootstraps": n_bootstraps,
        "n_splits": n_splits,
        "n_flagged": {flag: sum(flag in names for names in raised) for flag in FLAGS},
        "flags": dict(flags),
        "variance_explained": float(explained.sum()),
    }
    write_json(decomposition, summary)
    for warning in find_warnings(summary):
        logging.warning("%s", warning)
    logging.info(
        "%d components, %.1f %% of the variance, of %d collections that count as much as %.1f of equal share;"
        " %d of %d restarts converged; last run %d iterations",
        len(Z), 100 * explained.sum(), summary["n_collections"], summary["n_effective_collections"],
        summary["n_restarts_converged"], n_restarts, summary["n_iter"],
    )  # fmt: skip


def rows_by_image(
    labels: Sequence[str], values: Array, images: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Name the rows and columns of `values` (n_images, n_components)."""
    for image, row in zip(images, values, strict=True):
        yield {"image_id": image["image_id"]} | dict(zip(labels, row, strict=True))


def count_runs(consensus: Consensus, bootstraps: Stability | None, halves: Stability | None) -> dict[str, Any]:
    """Count the runs of FastICA, and those that converged."""
    return {
        "n_iter": consensus.rotation.n_iter,
        "converged": consensus.rotation.converged,
        "n_restarts": len(consensus.restarts),
        "n_restarts_converged": sum(restart.converged for restart in consensus.restarts),
        "n_bootstraps_used": bootstraps.n_used if bootstraps else 0,
        "n_bootstraps_converged": bootstraps.n_converged if bootstraps else 0,
        "n_splits_used": halves.n_used if halves else 0,
        "n_halves_converged": halves.n_converged if halves else 0,
    }


def stability_rows(
    labels: Sequence[str],
    explained: Array,
    measures: Mapping[str, Array | None],
    shares: Shares,
    raised: Sequence[Sequence[str]],
) -> Iterator[dict[str, Any]]:
    """Say of each component how much it explains, how stable it is, and how many collections carry it."""
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


def find_warnings(summary: Mapping[str, Any]) -> list[str]:
    """Say in plain words what is wrong with a decomposition, from its summary, and what may help."""
    n_components, n_restarts = summary["n_components"], summary["n_restarts"]
    n_unconverged, n_lost = n_restarts - summary["n_restarts_converged"], summary["n_flagged"]["not_reproduced"]
    found = []
    if not summary["converged"]:
        found.append(f"FastICA has not converged in {summary['max_iter']} iterations")
    if many_unconverged(n_restarts, summary["n_restarts_converged"]):
        found.append(f"{n_unconverged} of {n_restarts} restarts have not converged")
    if n_lost:
        found.append(
            f"{n_lost} of {n_components} components correlate with those of draws or halves of the collections by less"
            " than run_ica.flags asks for, or no more than by chance (not_reproduced in desc-ICA_stability.tsv)"
        )
    if found:
        found.append(
            "there may be more components than the images have structure for: lower run_ica.n_components;"
            " snakemake --cores 2 scan_components compares numbers and advises"
        )
    return found


if __name__ == "__main__":
    log_to(snakemake.log[0])
    main(**snakemake.input, **snakemake.output, **snakemake.params, threads=snakemake.threads)
