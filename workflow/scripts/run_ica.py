"""Find independent components from many random starts, fix their order and sign, and measure their stability.

Rows of ``S`` are component maps. Columns of ``A`` (mixing) are the loadings of the images on a component. Rows of ``W``
(unmixing) are the weights of the images in a component. ``X - mean = A @ S + residual`` and ``S = W @ (X - mean)``.
"""

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from neurovault_ica.decomposition.algorithms import Settings
from neurovault_ica.decomposition.axes import express_in_axes
from neurovault_ica.decomposition.components import decompose, share_explained
from neurovault_ica.decomposition.consensus import find_consensus, judge_by_restarts
from neurovault_ica.decomposition.flags import collect_measures, find_flags, stability_rows
from neurovault_ica.decomposition.loadings import (
    rank_collections,
    rank_images,
    rows_by_image,
    share_of_collections,
    share_of_images,
)
from neurovault_ica.decomposition.stability import judge_by_collections
from neurovault_ica.decomposition.summary import (
    count_flags,
    count_runs,
    describe_algorithm,
    describe_data,
    describe_result,
    explain_problems,
)
from neurovault_ica.images.maps import place_maps, write_maps
from neurovault_ica.images.matrix import open_matrix
from neurovault_ica.images.signs import is_split, rows_of
from neurovault_ica.images.tissues import judge_tissues
from neurovault_ica.runtime.commands import command_for
from neurovault_ica.runtime.files import remove_stale, write_json
from neurovault_ica.runtime.log import log_to
from neurovault_ica.runtime.tables import component_labels, read_table, write_table
from neurovault_ica.runtime.threads import one_blas_thread
from neurovault_ica.types import Real


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
    algorithm: str,
    random_state: int,
    n_restarts: int,
    n_bootstraps: int,
    n_splits: int,
    flags: Mapping[str, float | None],
    max_iter: int,
    tol: float,
    threads: int,
) -> None:
    """Decompose the whitened data, and write maps, loadings and stability of the components."""
    Z, reduced, used = np.load(whitened), dict(np.load(reduction)), read_table(images)
    rows = rows_of(used)
    members, labels = [row["collection_id"] for row in rows], component_labels(len(Z))
    settings = Settings(algorithm, random_state, max_iter, tol)
    bootstraps = halves = None
    consensus = find_consensus(Z, n_restarts, settings, threads=threads)
    found = decompose(Z, consensus.solution.R, reduced, is_orthogonal=settings.is_orthogonal)
    restarts = judge_by_restarts(found.R, consensus.restarts)
    if n_bootstraps or n_splits:
        X = open_matrix(matrix, used)
        axes = express_in_axes(X, reduced, members, random_state=random_state, threads=threads)
        bootstraps, halves = judge_by_collections(
            axes, found.R, n_bootstraps=n_bootstraps, n_splits=n_splits, settings=settings, threads=threads
        )

    # Packing the maps uses one core, and takes about as long as everything below.
    packing = ThreadPoolExecutor(1).submit(save_maps, components, found.S, mask)
    in_tissues, of_mask, limits = judge_tissues(found.S, mask, flags)
    keys = ["image_id", "sign"] if is_split(used) else ["image_id"]
    for path, values in ((mixing, found.A), (unmixing, found.W.T)):
        write_table(path, rows_by_image(labels, values, rows, keys), [*keys, *labels])

    share = share_of_images(found.A, reduced["weights"])
    shares = share_of_collections(share, members)
    studies = {row["collection_id"]: row for row in read_table(collections)}
    write_table(top_images, rank_images(labels, found.A, share, rows))
    ranked = list(rank_collections(labels, found.A, shares, rows, studies))
    write_table(top_collections, ranked, ranked[0])

    measures = collect_measures(restarts, bootstraps, halves)
    # With a single collection, the flag one_collection says nothing, so do not raise it.
    largest_share = shares.share.max(axis=0) * (len(shares.collections) > 1)
    raised = find_flags(measures, largest_share, limits, in_tissues)
    explained = share_explained(found.A, reduced)
    write_table(stability, stability_rows(labels, explained, measures, shares, in_tissues, raised))

    summary = {
        **describe_data(used, members, reduced, shape=Z.shape),
        **describe_algorithm(settings),
        **count_runs(consensus, bootstraps, halves),
        "n_bootstraps": n_bootstraps,
        "n_splits": n_splits,
        "n_flagged": count_flags(raised),
        "flags": limits,
        "tissue_shares_of_mask": of_mask,
    }
    write_json(decomposition, summary)
    packing.result()
    logging.info("%s", describe_result(summary))
    scan = command_for("scan_components", results=Path(decomposition).parents[1])
    for warning in explain_problems(summary, scan=scan):
        logging.warning("%s", warning)


def save_maps(path: str, S: Real, mask: str) -> None:
    """Write the component maps."""
    # A run with another grid may have left maps, because the file name contains the grid.
    remove_stale(path, "space-*_components.nii.gz")
    maps = place_maps(S.astype(np.float32, copy=False), mask)
    write_maps(path, maps.header, map(maps.volume, range(len(S))))


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    with one_blas_thread():
        main(**snakemake.input, **snakemake.output, **snakemake.params, threads=snakemake.threads)
