"""Draw the components for paper and report; write their thresholded maps and peaks."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl

# Imported here once, not in each process when it writes its first PDF.
import matplotlib.backends.backend_pdf
import numpy as np
import numpy.typing as npt
from component_figure import draw_component, draw_overview, draw_thumbnail, read_thumbnail, save_thumbnail
from drawing import Box, Limits, Scale, read_template, save_figure, scale_of
from maps import Maps, Volume, read_maps, write_maps
from mixture import Mixture, activation_thresholds, fit_mixture
from mixture_figures import draw_mixture, mixture_row
from outputs import read_table, remove_stale, write_table
from peaks import find_peaks
from regions import Regions, read_regions, region_at
from smoothness import count_resels
from stage_log import log_to
from terms_figure import Term, draw_terms, title_of, top_terms
from threadpoolctl import threadpool_limits
from workers import Task, run_tasks

Array = npt.NDArray[np.floating[Any]]


def limits_of(values: Array, threshold: Mapping[str, float], fit: Mixture | None) -> Limits:
    """Turn the configured threshold into values.

    Parameters
    ----------
    values : array of shape (n_voxels,)
        One component over the mask.
    threshold : mapping
        ``{"percentile": 90}`` of the absolute values, as nilearn's example; ``{"z": 3}``, in standard deviations: the
        maps have unit variance; or ``{"mixture": 0.5}``, the probability of activation by `fit`.
    fit : Mixture or None
        Only for the last.
    """
    if fit is not None:
        lowest, highest = float(values.min()), float(values.max())
        return Limits(*activation_thresholds(fit, threshold["mixture"], lowest=lowest, highest=highest))
    if "percentile" in threshold:
        limit = float(np.percentile(np.abs(values), threshold["percentile"]))
        return Limits(limit, limit)
    return Limits(float(threshold["z"]), float(threshold["z"]))


def facts_of(stability: Mapping[str, Any], limits: Limits, threshold: Mapping[str, float]) -> str:
    """Say in a line what a reader of the figure must know."""
    facts = [f"{100 * stability['variance_explained']:.1f} % of variance"]
    if stability["iq_restarts"] is not None:
        facts.append(f"over restarts Iq {stability['iq_restarts']:.2f}")
    if stability["r_bootstraps"] is not None:
        facts.append(f"over collections |r| {stability['r_bootstraps']:.2f}")
    facts.append(f"shown: {shown_values(limits, threshold)}")
    return "   ·   ".join(facts)


def shown_values(limits: Limits, threshold: Mapping[str, float]) -> str:
    """Say which values are shown: ``|value| ≥ 1.54 SD (90th percentile)``."""
    if "mixture" not in threshold:
        how = f"{threshold['percentile']:g}th percentile" if "percentile" in threshold else "fixed"
        return f"|value| ≥ {limits.positive:.2f} SD ({how})"
    parts = [f"≥ {limits.positive:.2f}"] if np.isfinite(limits.positive) else []
    parts += [f"≤ \u2212{limits.negative:.2f}"] if np.isfinite(limits.negative) else []
    if not parts:
        return "nothing, as noise explains all values"
    return f"{' or '.join(parts)} SD (P(active) > {threshold['mixture']:g})"


class Study(NamedTuple):
    """What the figures of all components rest on."""

    maps: Maps
    brain: Volume
    box: Box
    threshold: Mapping[str, float]
    regions: Regions | None


class Paths(NamedTuple):
    """Where one component's figures go; `mixture` only with a threshold by a mixture."""

    figure: str
    thumbnail: str
    mixture: str | None


class Drawn(NamedTuple):
    """What is known of a component once it is drawn."""

    scale: Scale
    peaks: list[dict[str, Any]]
    mixture: dict[str, Any] | None


def plot_component(study: Study, number: int, stability: Mapping[str, Any], title: str, paths: Paths) -> Drawn:
    """Draw one component, and find its peaks.

    Parameters
    ----------
    study : Study
    number : int
        Which of the maps.
    stability : mapping
        Its row of desc-ICA_stability.tsv.
    title : str
    paths : Paths
    """
    label, values, volume = stability["component"], study.maps.values[number], study.maps.volume(number)
    fit = fit_mixture(values, count_resels(values, study.maps.inside)) if paths.mixture else None
    if fit and not fit.converged:
        logging.warning("%s: the fit of its mixture has not converged; see its figure", label)
    limits = limits_of(values, study.threshold, fit)
    scale = scale_of(values, limits)
    facts = facts_of(stability, limits, study.threshold)
    draw_component(volume, study.brain, study.box, scale, title=title, facts=facts).save(paths.figure, title=title)
    save_thumbnail(paths.thumbnail, draw_thumbnail(volume, study.brain, study.box, scale))
    if fit and paths.mixture:
        drawn = draw_mixture(fit, limits, values, f"{label}: {shown_values(limits, study.threshold)}")
        save_figure(drawn, paths.mixture, title=f"Mixture of {label}")
    peaks = [
        {"component": label, **row, "region": region_at(study.regions, (row["x"], row["y"], row["z"]))}
        for row in find_peaks(volume, scale.threshold, scale.negative_threshold)
    ]
    return Drawn(scale, peaks, {"component": label, **mixture_row(fit, limits, values)} if fit else None)


def plot_terms(labels: Sequence[str], terms: Mapping[str, Sequence[Term]], path: str) -> None:
    """Draw the terms of all components."""
    draw_terms(labels, terms).save(path, title="Terms of all components")


def thresholded_volumes(maps: Maps, scales: Sequence[Scale]) -> Iterator[Volume]:
    """Give the maps with everything below their thresholds set to 0."""
    for number, scale in enumerate(scales):
        volume = maps.volume(number)
        volume.data[(volume.data < scale.threshold) & (volume.data > -scale.negative_threshold)] = 0
        yield volume


def remove_older(figures: Sequence[str], thumbnails: Sequence[str], overview: str) -> None:
    """Remove what an earlier run with more components, or another kind of threshold, has left beside `overview`."""
    remove_stale(overview, "ICA_*.png", keep=[*figures, *thumbnails])
    remove_stale(overview, "ICA_*.pdf", keep=[Path(figure).with_suffix(".pdf") for figure in figures])
    remove_stale(overview, "desc-ICA_mixture.*")


def main(
    *,
    components: str,
    mask: str,
    template: str,
    stability: str,
    terms: str,
    figures: list[str],
    thumbnails: list[str],
    overview: str,
    terms_figure: str,
    thresholded: str,
    thresholds: str,
    peaks: str,
    mixture: str | Sequence[str],
    mixture_figures: Sequence[str],
    threshold: Mapping[str, float],
    atlas: str | None,
    atlas_names: str | None,
    threads: int,
) -> None:
    """Draw every component, the overview and the terms; write thresholded maps, thresholds and peaks.

    `mixture` is empty, and there are no `mixture_figures`, where the threshold is not by a mixture.
    """
    remove_older([*figures, *mixture_figures], thumbnails, overview)
    remove_stale(thresholded, "space-*_thresholded.nii.gz")
    maps, stabilities = read_maps(components, mask), read_table(stability)
    if not len(maps.values) == len(figures) == len(stabilities):
        raise ValueError(
            f"{len(maps.values)} component maps, {len(stabilities)} rows in {stability}, {len(figures)} figures asked"
            " for; delete results/run_ica and run again"
        )
    mpl.rcdefaults()
    study = Study(maps, *read_template(template), threshold, read_regions(atlas, atlas_names) if atlas else None)
    labels = [row["component"] for row in stabilities]
    terms_of = top_terms(read_table(terms))
    titles = [title_of(label, terms_of.get(label, [])) for label in labels]
    paths = list(map(Paths, figures, thumbnails, mixture_figures or cycle([None])))
    # The figure of the terms takes longest, so it comes first.
    tasks: dict[str, Task] = {terms_figure: partial(plot_terms, labels, terms_of, terms_figure)}
    for number, label in enumerate(labels):
        tasks[label] = partial(plot_component, study, number, stabilities[number], titles[number], paths[number])
    done = run_tasks(tasks, threads)
    drawn: list[Drawn] = [done[label] for label in labels]

    scales = [one.scale for one in drawn]
    found = [row for one in drawn for row in one.peaks]
    write_table(peaks, found)
    rows = zip(labels, scales, strict=True)
    write_table(thresholds, [{"component": label, **scale._asdict()} for label, scale in rows])
    if isinstance(mixture, str):
        write_table(mixture, [one.mixture for one in drawn if one.mixture])
    draw_overview([read_thumbnail(path) for path in thumbnails], titles).save(overview, title="All components")
    write_maps(thresholded, maps.header, thresholded_volumes(maps, scales))
    logging.info("%d components drawn, %d peaks", len(labels), len(found))


if __name__ == "__main__":
    log_to(snakemake.log[0])
    # Small products: threads would only wait for each other, and the last bit must not depend on their number.
    with threadpool_limits(1):
        main(**snakemake.input, **snakemake.output, **snakemake.params, threads=snakemake.threads)
