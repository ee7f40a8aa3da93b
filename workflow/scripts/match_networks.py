"""Find the components in reference networks: which goes with which, and is that more than chance."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import matplotlib as mpl
import nibabel as nib
import numpy as np
import numpy.typing as npt
from neurovault_ica.figures.networks import draw_correlations, draw_match, evidence_of
from neurovault_ica.figures.sheet import with_minus
from neurovault_ica.figures.slices import read_template
from neurovault_ica.images.maps import read_maps
from neurovault_ica.images.peaks import peak_of
from neurovault_ica.images.resampling import target_of
from neurovault_ica.naming.networks import MIN_COMMON, correlate, match, p_of_largest, read_reference, tabulate
from neurovault_ica.runtime.files import remove_stale, sha256_of
from neurovault_ica.runtime.log import log_to
from neurovault_ica.runtime.tables import component_labels, write_table
from neurovault_ica.statistics.p_values import SIGNIFICANT_Q, is_significant
from neurovault_ica.types import Array, Row
from nibabel.spatialimages import SpatialImage
from threadpoolctl import threadpool_limits


def main(
    *,
    components: str,
    mask: str,
    template: str,
    figures: list[str],
    matrix: str,
    networks: str,
    correlations: str,
    reference: str,
    n_surrogates: int,
    data_dir: str,
    random_state: int,
    threads: int,
) -> None:
    """Match, test, tabulate and draw."""
    remove_stale(matrix, "ICA_*.png", keep=figures)
    remove_stale(matrix, "ICA_*.pdf", keep=[Path(figure).with_suffix(".pdf") for figure in figures])
    maps = read_maps(components, mask)
    labels = component_labels(len(maps.values))
    found = read_reference(reference, target_of(cast(SpatialImage, nib.load(mask))), data_dir=data_dir)
    has_data: npt.NDArray[np.bool_] = np.any(found.maps, axis=0)
    if has_data.mean() < MIN_COMMON:
        raise ValueError(
            f"match_networks.reference {reference}: its networks share only {has_data.mean():.1%} of the mask with the"
            f" components, at least {MIN_COMMON:.0%} are asked for; take another reference, or another mask_images.mask"
        )
    common = maps.inside.copy()
    common[maps.inside] = has_data
    x, y = maps.values[:, has_data], found.maps[:, has_data]
    p = None
    r = correlate(x, y)
    if n_surrogates:
        options = {"n_surrogates": n_surrogates, "random_state": random_state, "threads": threads}
        p = p_of_largest(x, y, common, maps.affine, **options)
    matches = match(r)
    rows = tabulate(r, p, matches, labels, found.names)
    write_table(networks, rows)
    write_table(
        correlations,
        (
            {"component": label, "network": name, "r": r[k, m], "p": None if p is None else p[k, m]}
            for k, label in enumerate(labels)
            for m, name in enumerate(found.names)
        ),
    )
    mpl.rcdefaults()
    draw_correlations(r, rows, matches, found.names).save(matrix, title="Components and reference networks")
    brain, box = read_template(template)
    reference_maps = maps._replace(values=found.maps)
    for number, (row, figure) in enumerate(zip(rows, figures, strict=True)):
        volumes = [maps.volume(number)]
        headings = [
            (row["component"], f"peak at {', '.join(with_minus(f'{mm:.0f}') for mm in peak_of(volumes[0]))} mm")
        ]
        best, matched = int(matches.best[number]), int(matches.matched[number])
        shown = [("best and matched one to one" if best == matched else "best", "best", best)]
        if matched not in (-1, best):
            shown.append(("matched one to one", "matched", matched))
        for meaning, kind, network in shown:
            volumes.append(reference_maps.volume(network))
            headings.append((found.names[network], f"{meaning}:   {evidence_of(row, kind)}"))
        sheet = draw_match(volumes, headings, maps.inside, brain, box)
        sheet.save(figure, title=f"{row['component']} and its networks")
    _log_summary(reference, r, rows, has_data)


def _log_summary(reference: str, r: Array, rows: Sequence[Row], has_data: npt.NDArray[np.bool_]) -> None:
    sha256 = f", SHA-256 {sha256_of(reference)}" if Path(reference).is_file() else ""
    logging.info(
        "%s%s: %d networks, %.0f %% of the mask in common", reference, sha256, r.shape[1], 100 * has_data.mean()
    )
    size = np.abs(r)
    tested = [row["best_q"] for row in rows if row["best_q"] is not None]
    logging.info(
        "mean of the components' best |r| %.2f, of the networks' %.2f; %s",
        size.max(axis=1).mean(),
        size.max(axis=0).mean(),
        f"{sum(is_significant(q) for q in tested)} components with a q below {SIGNIFICANT_Q}"
        if tested
        else "not tested",
    )


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    # The number of BLAS threads must not change the last bit.
    with threadpool_limits(1):
        main(**snakemake.input, **snakemake.output, **snakemake.params, threads=snakemake.threads)
