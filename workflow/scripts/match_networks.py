"""Find the components in reference networks: which goes with which, and is that more than chance."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import matplotlib as mpl
import nibabel as nib
import numpy as np
import numpy.typing as npt
from drawing import FAINT, INK, Box, Limits, Sheet, draw_panel, read_template, scale_of, shown_text, with_minus
from maps import Volume, read_maps
from matplotlib.patches import Rectangle
from nibabel.spatialimages import SpatialImage
from outputs import component_labels, remove_stale, sha256_of, write_table
from parallel import in_order
from peaks import peak_of
from references import read_reference
from resampling import target_of
from scipy.optimize import linear_sum_assignment
from significance import SIGNIFICANT_Q, false_discovery_rate, is_significant
from spatial_null import lattice_of, null_correlations, standardize
from stage_log import log_to, progress
from threadpoolctl import threadpool_limits

Array = npt.NDArray[np.float64]
Real = npt.NDArray[np.floating[Any]]
Row = dict[str, Any]

# With less of the mask, what is compared is not the component.
MIN_COMMON = 0.05
# Maps are shown from this percentile of their absolute values, as components are in nilearn's example.
SHOWN_PERCENTILE = 90
# The matrix shows all networks up to so many, and of more those that are a match.
MOST_NETWORKS_SHOWN = 30
MATRIX_COLOURS = mpl.colormaps["Blues"]
LONGEST_TITLE, LONGEST_NAME = 40, 30


class Matches(NamedTuple):
    """Which network goes with each component; arrays of shape (n_components,)."""

    best: npt.NDArray[np.intp]  # the network with the largest |r|
    matched: npt.NDArray[np.intp]  # one to one, with the largest sum of |r|; -1: no network was left


def correlate(components: Real, networks: Real) -> Array:
    """Return Pearson's r of components and networks, given over voxels; one network at a time in double precision."""
    x = standardize(components.astype(np.float64))
    return np.stack([x @ standardize(network.astype(np.float64)) for network in networks], axis=1)


def match(r: Array) -> Matches:
    """Match components with networks.

    Parameters
    ----------
    r : array of shape (n_components, n_networks)
    """
    matched = np.full(len(r), -1)
    rows, columns = linear_sum_assignment(np.abs(r), maximize=True)
    matched[rows] = columns
    return Matches(np.abs(r).argmax(axis=1), matched)


def p_of_largest(
    components: Real,
    networks: Real,
    mask: npt.NDArray[np.bool_],
    affine: Array,
    *,
    n_surrogates: int,
    random_state: int,
    threads: int = 1,
) -> Array:
    """Compare each |r| with the largest that surrogates of the component have with any network.

    So p is corrected for the number of networks, of which the best was chosen.

    Parameters
    ----------
    components : array of shape (n_components, n_voxels)
    networks : array of shape (n_networks, n_voxels)
    mask : boolean array of 3 dimensions
        With n_voxels voxels.
    affine : array of shape (4, 4)
    n_surrogates : int
    random_state : int
    threads : int
        They share the components; what comes out does not depend on their number.

    Returns
    -------
    array of shape (n_components, n_networks)
    """
    lattice = lattice_of(mask, affine)
    x, y = components[:, lattice.points], networks[:, lattice.points]
    observed = np.abs(standardize(x) @ standardize(y).T)

    def p_of(number: int) -> Array:
        rng = np.random.default_rng([random_state, number])
        null = np.abs(null_correlations(x[number], y, lattice, n_maps=n_surrogates, rng=rng)).max(axis=1)
        exceeding = (null[:, None] >= observed[number]).sum(axis=0)
        return (1 + exceeding) / (1 + n_surrogates)

    return np.stack(list(progress(in_order(p_of, range(len(x)), threads), total=len(x), unit="component")))


def tabulate(r: Array, p: Array | None, matches: Matches, labels: Sequence[str], names: Sequence[str]) -> list[Row]:
    """Make the rows of the table of matches; q over the components is that of Benjamini and Hochberg 1995."""
    rows: list[Row] = [{"component": label} for label in labels]
    for kind, chosen in (("best", matches.best), ("matched", matches.matched)):
        components = np.flatnonzero(chosen >= 0)
        pairs = components, chosen[components]
        evidence: Sequence[tuple[Any, Any]] = [(None, None)] * len(components)
        if p is not None:
            evidence = list(zip(p[pairs], false_discovery_rate(p[pairs]), strict=True))
        for row in rows:
            row |= dict.fromkeys(f"{kind}_{column}" for column in ("network", "r", "p", "q"))
        for component, network, (p_value, q_value) in zip(*pairs, evidence, strict=True):
            rows[component] |= {
                f"{kind}_network": names[network],
                f"{kind}_r": r[component, network],
                f"{kind}_p": p_value,
                f"{kind}_q": q_value,
            }
    return rows


def evidence_of(row: Row, kind: str) -> str:
    """Say how well a component and its best or matched network go together: ``r = 0.62   p = 0.001   q = 0.004``."""
    facts = [f"r = {with_minus(format(row[f'{kind}_r'], '.2f'))}"]
    if row[f"{kind}_p"] is None:
        return f"{facts[0]}   not tested"
    facts += [f"{letter} = {row[f'{kind}_{letter}']:.2g}" for letter in "pq"]
    return "   ".join(facts)


def draw_match(
    volumes: Sequence[Volume],
    headings: Sequence[tuple[str, str]],
    inside: npt.NDArray[np.bool_],
    template: Volume,
    box: Box,
) -> Sheet:
    """Draw maps side by side, all cut through the peak of the first.

    Parameters
    ----------
    volumes : sequence of Volume
        The component, its best network, and its matched network if that is another one.
    headings : sequence of (str, str)
        What each is, and how it goes with the component.
    inside : boolean array of 3 dimensions
        The mask.
    """
    gap, caption = 8, 62
    widths = [box.shape(axis)[0] for axis in range(3)]
    group, tallest = sum(widths) + 6 * gap, box.shape(2)[1]
    sheet = Sheet(len(volumes) * group, tallest + caption + gap, inches=4.4 * len(volumes))
    peak = peak_of(volumes[0])
    for number, (volume, (title, facts)) in enumerate(zip(volumes, headings, strict=True)):
        values = volume.data[inside]
        limit = float(np.percentile(np.abs(values), SHOWN_PERCENTILE))
        scale = scale_of(values, Limits(limit, limit))
        left = float(gap + number * group)
        sheet.text(left, tallest + 46, shown_text(title, LONGEST_TITLE), fontsize=11, fontweight="bold", va="center")
        sheet.text(left, tallest + 22, facts, fontsize=9, color=FAINT, va="center")
        for axis in range(3):
            width, height = box.shape(axis)
            corner = (left, gap + (tallest - height) / 2)
            draw_panel(sheet, volume, template, box, scale, axis=axis, at_mm=peak[axis], corner=corner)
            left += width + gap
    return sheet


def networks_shown(matches: Matches, n_networks: int) -> list[int]:
    """Order networks for the matrix: matched ones in the order of their components, then the others.

    Of many networks, only those that are a match of some component are shown.
    """
    first = [int(network) for network in matches.matched if network >= 0]
    others = range(n_networks) if n_networks <= MOST_NETWORKS_SHOWN else sorted(set(matches.best.tolist()))
    return first + [network for network in others if network not in first]


def draw_correlations(r: Array, rows: Sequence[Row], matches: Matches, names: Sequence[str]) -> Sheet:
    """Draw |r| of components and networks as a matrix; matched pairs framed, significant best ones in bold."""
    shown = networks_shown(matches, r.shape[1])
    cell, left, bottom = 24, 70, 44
    top = 12 + 5.6 * min(LONGEST_NAME, max(len(names[network]) for network in shown))
    width, height = max(len(shown), 16) * cell, len(rows) * cell
    sheet = Sheet(left + width + 30, bottom + height + top, inches=(left + width + 30) / 75)
    sheet.text(left, 24, "|r| over the common mask.   Frame: matched one to one.", fontsize=9, color=FAINT, va="center")
    sheet.text(
        left, 8, f"Bold: best network of the component, q < {SIGNIFICANT_Q}.", fontsize=9, color=FAINT, va="center"
    )
    for column, network in enumerate(shown):
        x = left + (column + 0.5) * cell
        name = shown_text(names[network], LONGEST_NAME)
        sheet.text(x, bottom + height + 5, name, fontsize=8.5, rotation=90, ha="center", va="bottom")
    for number, row in enumerate(rows):
        y = bottom + height - (number + 1) * cell
        sheet.text(left - 5, y + cell / 2, row["component"], fontsize=8.5, ha="right", va="center")
        for column, network in enumerate(shown):
            size = float(abs(r[number, network]))
            x = left + column * cell
            sheet.axes.add_patch(Rectangle((x, y), cell, cell, facecolor=MATRIX_COLOURS(size), edgecolor="white"))
            if matches.matched[number] == network:
                frame = Rectangle((x + 1, y + 1), cell - 2, cell - 2, fill=False, edgecolor=INK, linewidth=1.4)
                sheet.axes.add_patch(frame)
            bold = "bold" if is_significant(row["best_q"]) and matches.best[number] == network else "normal"
            ink = "white" if size > 0.55 else INK
            style = {"fontsize": 7, "ha": "center", "va": "center", "color": ink, "fontweight": bold}
            sheet.text(x + cell / 2, y + cell / 2, f"{size:.2f}", **style)
    return sheet


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
    log_to(snakemake.log[0])
    # The number of BLAS threads must not change the last bit.
    with threadpool_limits(1):
        main(**snakemake.input, **snakemake.output, **snakemake.params, threads=snakemake.threads)
