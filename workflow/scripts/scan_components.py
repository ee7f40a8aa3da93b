"""Compare numbers of components: how stable they are, what they explain, and which number to take."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from consensus import Settings, find_consensus, judge_by_restarts, many_unconverged
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matrix import read_rows
from outputs import read_table, replacing, write_table
from spatial_null import Lattice, Surrogates, lattice_of, standardize
from stability import Images, collect_measures, find_flags, judge_by_collections, read_images, white_axes
from stage_log import log_to, progress
from threadpoolctl import threadpool_limits

Array = npt.NDArray[np.floating[Any]]
Row = dict[str, Any]

# An order is advised if it shows this share of the most components that any order shows.
NEARLY_ALL = 0.9
# Parallel analysis: surrogates of all images are drawn so often, and of so many images at most.
N_DRAWS = 20
MAX_IMAGES = 500
PERCENTILE = 95


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
    Z: Array,
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


def count_above_chance(X: Array, lattice: Lattice, rng: np.random.Generator) -> int:
    """Count the principal components that explain more than those of unrelated maps of the same smoothness.

    Parallel analysis (Horn 1965, doi:10.1007/BF02289447) with the 95th percentile (Buja and Eyuboglu 1992,
    doi:10.1207/s15327906mbr2704_2); instead of independent values, each image is replaced by a surrogate with its
    autocorrelation and its values.

    Parameters
    ----------
    X : array of shape (n_images, n_points)
        The images at the points of the lattice.
    lattice : Lattice
    rng : numpy.random.Generator

    Returns
    -------
    int
        Number of leading eigenvalues that are all above the percentile of the surrogates' of the same rank.
    """
    sources = [Surrogates(image, lattice, rng) for image in progress(X, total=len(X), unit="image")]
    null = []
    for _ in range(N_DRAWS // 2):
        pairs = np.stack([source.draw_pair() for source in sources], axis=1)
        null += [np.linalg.eigvalsh(maps @ maps.T)[::-1] for maps in pairs.astype(np.float64)]
    maps = standardize(X.astype(np.float64))
    below = np.linalg.eigvalsh(maps @ maps.T)[::-1] <= np.percentile(null, PERCENTILE, axis=0)
    return int(below.argmax()) if below.any() else len(X)


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


def draw_orders(rows: Sequence[Row], n_above_chance: int, *, n_restarts: int, path: str) -> None:
    """Draw stability, number of reproduced components, and variance against the number of components."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    stability, number, variance = figure.subplots(1, 3)
    orders = [row["n_components"] for row in rows]

    def draw(axes: Any, column: str, label: str, **style: Any) -> None:
        values = [np.nan if row[column] is None else row[column] for row in rows]
        if not np.isnan(values).all():
            axes.plot(orders, values, label=label, **style)

    draw(stability, "iq_restarts", "restarts, Iq", color="C0", marker="o")
    draw(stability, "iq_bootstraps", "bootstraps, Iq", color="C1", marker="o")
    draw(stability, "r_bootstraps", "bootstraps, |r|", color="C2", marker="o")
    draw(stability, "chance_r_bootstraps", "by chance", color="C2", linestyle=":")
    draw(stability, "r_split_half", "halves, |r|", color="C3", marker="o")
    draw(stability, "chance_r_split_half", "by chance", color="C3", linestyle=":")
    stability.set(ylabel="mean over components", ylim=(0, 1.02))
    stability.legend(fontsize="x-small")
    number.plot(orders, orders, color="0.7", linestyle="--", label="all of them")
    draw(number, "reproduced", "found again in draws and halves", color="C3", marker="o")
    number.axvline(n_above_chance, color="0.4", linestyle=":", label="above chance (parallel analysis)")
    number.set(ylabel="components", ylim=(0, None))
    number.legend(fontsize="x-small")
    draw(variance, "variance_explained", "variance explained", color="C4", marker="o")
    share = [row["restarts_converged"] / n_restarts for row in rows]
    variance.plot(orders, share, color="C0", marker="s", label="restarts that converge")
    variance.set(ylabel="share", ylim=(0, 1.02))
    variance.legend(fontsize="x-small")
    for axes in (stability, number, variance):
        axes.set_xlabel("number of components")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    number.yaxis.set_major_locator(MaxNLocator(integer=True))
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150, metadata={"Software": None})


def main(
    *,
    matrix: str,
    reduction: str,
    images: str,
    mask: str,
    table: str,
    figure: str,
    advice: str,
    orders: list[int],
    random_state: int,
    n_restarts: int,
    n_bootstraps: int,
    n_splits: int,
    flags: Mapping[str, float | None],
    max_iter: int,
    tol: float,
    threads: int,
) -> None:
    """Decompose with each number of components and write table, figure and advice."""
    reduced = dict(np.load(reduction))
    wanted = choose_orders(orders, reduced["U"].shape[1])
    settings = Settings(random_state, max_iter, tol)
    members = [image["collection_id"] for image in read_table(images)]
    total = (reduced["weights"] * reduced["image_variance"]).sum()
    rows = []
    with threadpool_limits(1):
        Z = white_axes(matrix, reduced | {"U": reduced["U"][:, : wanted[-1]]}, slice(None), threads=threads)
        axes = read_images(matrix, reduced, members, random_state=random_state, threads=threads)
        for order in wanted:
            found = scan_order(
                Z[:order], axes, n_restarts=n_restarts, n_bootstraps=n_bootstraps, n_splits=n_splits,
                limits=dict(flags), settings=settings, threads=threads,
            )  # fmt: skip
            rows.append(found | {"variance_explained": reduced["eigenvalues"][:order].sum() / total})
            logging.info("%d components: %s found again", order, found["reproduced"])
        n_above_chance = count_above_chance(
            *sample_images(matrix, mask, random_state), np.random.default_rng(random_state)
        )
    write_table(table, rows)
    draw_orders(rows, n_above_chance, n_restarts=n_restarts, path=figure)
    text = advise(rows, n_above_chance, n_restarts=n_restarts)
    with replacing(advice) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    for line in text.splitlines():
        logging.info("%s", line)


def sample_images(matrix: str, mask: str, random_state: int) -> tuple[Array, Lattice]:
    """Read up to `MAX_IMAGES` images, drawn at random, at the points of a grid of about 6 mm."""
    mask_img = nib.load(mask)
    lattice = lattice_of(np.asarray(mask_img.dataobj) > 0, mask_img.affine)
    X = np.load(matrix, mmap_mode="r")
    size = min(len(X), MAX_IMAGES)
    if size < len(X):
        logging.warning("parallel analysis takes %d of the %d images, drawn at random", size, len(X))
    chosen = np.sort(np.random.default_rng(random_state).choice(len(X), size=size, replace=False))
    return np.stack([read_rows(X, slice(row, row + 1))[0, lattice.points] for row in chosen.tolist()]), lattice


if __name__ == "__main__":
    log_to(snakemake.log[0])
    main(**snakemake.input, **snakemake.output, **snakemake.params, threads=snakemake.threads)
