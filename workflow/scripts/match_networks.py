"""Match components with reference networks, and test whether they correlate more strongly than by chance."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
import numpy.typing as npt
from neurovault_ica.figures.networks import draw_match, draw_network_correlations, evidence_of
from neurovault_ica.figures.sheet import with_minus
from neurovault_ica.figures.shown import Display, show, show_beside
from neurovault_ica.figures.slices import read_template
from neurovault_ica.images.maps import Maps, read_maps
from neurovault_ica.images.peaks import peak_of
from neurovault_ica.images.targets import target_of
from neurovault_ica.naming.networks import (
    Matches,
    correlate_maps,
    find_one_signed,
    match_components,
    p_of_largest,
    tabulate,
)
from neurovault_ica.naming.references import Reference, read_reference
from neurovault_ica.runtime.files import remove_stale, sha256_of
from neurovault_ica.runtime.log import log_to
from neurovault_ica.runtime.processes import Task, run_tasks
from neurovault_ica.runtime.tables import component_labels, write_table
from neurovault_ica.runtime.threads import one_blas_thread
from neurovault_ica.runtime.wording import counted
from neurovault_ica.statistics.p_values import SIGNIFICANT_Q, is_significant
from neurovault_ica.types import Array, Row
from nibabel.spatialimages import SpatialImage

# Smallest share of the mask that the networks must cover. With less, r would describe only a small part of a component.
MIN_COMMON = 0.05


def main(
    *,
    components: str,
    mask: str,
    template: str,
    figures: list[str],
    matrix: str,
    pdfs: list[str],
    networks: str,
    correlations: str,
    reference: str,
    n_surrogates: int,
    display: Mapping[str, Any],
    data_dir: str,
    random_state: int,
    threads: int,
) -> None:
    """Match and test the components, and write tables and figures. Each figure is also written as one of `pdfs`."""
    for pattern in ("ICA_*.png", "ICA_*.pdf"):
        remove_stale(matrix, pattern, keep=[*figures, *pdfs])
    maps = read_maps(components, mask)
    labels = component_labels(len(maps.values))
    found = read_reference(reference, target_of(cast(SpatialImage, nib.load(mask))), data_dir=data_dir)
    has_data: npt.NDArray[np.bool_] = np.any(found.maps, axis=0)
    if has_data.mean() < MIN_COMMON:
        raise ValueError(
            f"match_networks.reference {reference}: its networks cover only {has_data.mean():.1%} of the mask, expected"
            f" at least {MIN_COMMON:.0%}; choose another reference, or another mask_images.mask"
        )
    common = maps.inside.copy()
    common[maps.inside] = has_data
    x, y = maps.values[:, has_data], found.maps[:, has_data]
    # Most references have no negative values, so a component's negative side can only lower r.
    r, positive_r, p = correlate_maps(x, y), correlate_maps(np.maximum(x, 0), y), None
    if n_surrogates:
        options = {"n_surrogates": n_surrogates, "random_state": random_state, "threads": threads}
        p = p_of_largest(x, y, common, maps.affine, **options)
    matches = match_components(r)
    rows = tabulate(r, positive_r, p, matches, labels, found.names, find_one_signed(found.maps))
    write_table(networks, rows)
    write_table(correlations, pair_rows(r, positive_r, p, labels, found.names))
    tasks = matches_to_draw(maps, found, matches, rows, Display(**display), template, figures)
    sheet = draw_network_correlations(r, rows, matches, found.names)
    tasks["correlations"] = partial(sheet.save, matrix, title="Components and reference networks")
    run_tasks(tasks, threads)
    log_summary(reference, r, rows, has_data)


def pair_rows(
    r: Array, positive_r: Array, p: Array | None, labels: Sequence[str], names: Sequence[str]
) -> Iterator[Row]:
    """Yield the rows of desc-ICA_correlations.tsv: each component with each network."""
    for k, label in enumerate(labels):
        for m, name in enumerate(names):
            evidence = {"r": r[k, m], "positive_r": positive_r[k, m], "p": None if p is None else p[k, m]}
            yield {"component": label, "network": name} | evidence


def matches_to_draw(
    maps: Maps,
    reference: Reference,
    matches: Matches,
    rows: Sequence[Row],
    display: Display,
    template: str,
    figures: Sequence[str],
) -> dict[str, Task]:
    """Return tasks that draw each component beside its best network and, if that differs, its matched network."""
    brain, box = read_template(template)
    networks = maps._replace(values=reference.maps)

    def draw(number: int) -> None:
        row, component = rows[number], show(maps, number, display)
        drawn = [component]
        peak = ", ".join(with_minus(f"{mm:.0f}") for mm in peak_of(component.volume))
        headings = [(row["component"], f"peak at {peak} mm")]
        best, matched = int(matches.best[number]), int(matches.matched[number])
        shown = [("best, one to one" if best == matched else "best", "best", best)]
        if matched not in (-1, best):
            shown.append(("one to one", "matched", matched))
        for meaning, kind, network in shown:
            drawn.append(show_beside(component, networks, network, display))
            headings.append((reference.names[network], f"{meaning}: {evidence_of(row, kind)}"))
        draw_match(drawn, headings, brain, box).save(figures[number], title=f"{row['component']} and its networks")

    return {row["component"]: partial(draw, number) for number, row in enumerate(rows)}


def log_summary(reference: str, r: Array, rows: Sequence[Row], has_data: npt.NDArray[np.bool_]) -> None:
    """Log the reference, how much of the mask it covers, and how well components and networks match."""
    sha256 = f" (SHA-256 {sha256_of(reference)})" if Path(reference).is_file() else ""
    networks, covered = counted(r.shape[1], "network"), 100 * has_data.mean()
    logging.info("%s%s: %s; the networks' data cover %.0f %% of the mask", reference, sha256, networks, covered)
    size = np.abs(r)
    tested = [row["best_q"] for row in rows if row["best_q"] is not None]
    n_significant = sum(map(is_significant, tested))
    significant = f"components with a significant network (q < {SIGNIFICANT_Q}): {n_significant} of {len(tested)}"
    logging.info(
        "mean |r| of each component with its best network: %.2f; of each network with its best component: %.2f; %s",
        size.max(axis=1).mean(),
        size.max(axis=0).mean(),
        significant if tested else "significance not tested",
    )


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    with one_blas_thread():
        main(**snakemake.input, **snakemake.output, **snakemake.params, threads=snakemake.threads)
