"""Compare several numbers of components by stability and explained variance, and recommend one."""

import logging
from collections.abc import Mapping

import numpy as np
from neurovault_ica.decomposition.algorithms import Settings
from neurovault_ica.decomposition.axes import express_in_axes, white_axes
from neurovault_ica.decomposition.orders import advise, choose_orders, derive_orders, scan_order
from neurovault_ica.figures.orders import draw_orders
from neurovault_ica.images.matrix import open_matrix
from neurovault_ica.images.signs import is_split, rows_of
from neurovault_ica.runtime.files import replacing
from neurovault_ica.runtime.log import log_to
from neurovault_ica.runtime.tables import read_table, write_table
from neurovault_ica.runtime.threads import one_blas_thread
from neurovault_ica.runtime.wording import counted
from neurovault_ica.statistics.parallel_analysis import count_above_chance, sample_images


def main(
    *,
    matrix: str,
    reduction: str,
    images: str,
    mask: str,
    table: str,
    figure: str,
    advice: str,
    archive: str,
    orders: list[int] | None,
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
    """Decompose with each number of components, and write table, figure and advice."""
    reduced = dict(np.load(reduction))
    settings = Settings(algorithm, random_state, max_iter, tol)
    used = read_table(images)
    # run_ica needs at least one image per component, even if each image has two rows.
    wanted = choose_orders(orders or derive_orders(len(used)), min(reduced["U"].shape[1], len(used)))
    X, members = open_matrix(matrix, used), [row["collection_id"] for row in rows_of(used)]
    basis = f"{counted(len(used), 'image')} of {counted(len(set(members)), 'collection')} from {archive}"
    logging.info("comparing numbers of components (%s) on %s", ", ".join(map(str, wanted)), basis)
    total = (reduced["weights"] * reduced["image_variance"]).sum()
    rows = []
    Z = white_axes(X, reduced | {"U": reduced["U"][:, : wanted[-1]]}, slice(None), threads=threads)
    axes = express_in_axes(X, reduced, members, random_state=random_state, threads=threads)
    for order in wanted:
        found = scan_order(
            Z[:order], axes, n_restarts=n_restarts, n_bootstraps=n_bootstraps, n_splits=n_splits,
            limits=dict(flags), settings=settings, threads=threads,
        )  # fmt: skip
        rows.append(found | {"variance_explained": reduced["eigenvalues"][:order].sum() / total})
        known = "reproducibility unknown" if found["reproduced"] is None else f"{found['reproduced']} reproduced"
        logging.info("%s: %s", counted(order, "component"), known)
    n_above_chance = count_above_chance(
        *sample_images(matrix, mask, random_state), np.random.default_rng(random_state), split=is_split(used)
    )
    write_table(table, rows)
    draw_orders(rows, n_above_chance, n_restarts=n_restarts, path=figure)
    text = advise(rows, n_above_chance, n_restarts=n_restarts)
    with replacing(advice) as temporary:
        temporary.write_text(f"Based on {basis}.\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    with one_blas_thread():
        main(**snakemake.input, **snakemake.output, **snakemake.params, threads=snakemake.threads)
