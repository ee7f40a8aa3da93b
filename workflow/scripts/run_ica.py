"""Find independent components: FastICA from many starts, one consensus, settled in order and sign, and judged.

Rows of ``S`` are component maps, columns of ``A`` (mixing) the images' loadings, rows of ``W`` (unmixing) the weights
that make a map from the images: ``X - mean = A @ S + residual`` and ``S = W @ (X - mean)``.
"""

import logging
from collections.abc import Mapping

import numpy as np
from neurovault_ica.decomposition.components import count_runs, decompose, find_warnings, stability_rows
from neurovault_ica.decomposition.consensus import Settings, find_consensus, judge_by_restarts
from neurovault_ica.decomposition.loadings import (
    effective_number,
    rank_collections,
    rank_images,
    rows_by_image,
    share_of_collections,
    share_of_images,
)
from neurovault_ica.decomposition.stability import (
    FLAGS,
    collect_measures,
    find_flags,
    judge_by_collections,
    read_images,
)
from neurovault_ica.images.maps import place_maps, write_maps
from neurovault_ica.runtime.files import remove_stale, write_json
from neurovault_ica.runtime.log import log_to
from neurovault_ica.runtime.tables import component_labels, read_table, write_table
from neurovault_ica.runtime.threads import in_order
from threadpoolctl import threadpool_limits


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


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    main(**snakemake.input, **snakemake.output, **snakemake.params, threads=snakemake.threads)
