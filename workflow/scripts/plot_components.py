"""Draw the components; write their thresholded maps and peaks."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import cycle

from neurovault_ica.figures.component import (
    Drawn,
    Paths,
    SharedInputs,
    plot_component,
    read_thumbnail,
    title_of,
)
from neurovault_ica.figures.overview import draw_overview, meaning_of
from neurovault_ica.figures.shown import Display, threshold_volume
from neurovault_ica.figures.slices import Scale, read_template
from neurovault_ica.figures.terms import plot_terms, top_terms
from neurovault_ica.images.maps import Maps, Volume, read_maps, write_maps
from neurovault_ica.naming.names import read_names
from neurovault_ica.naming.regions import read_regions
from neurovault_ica.runtime.files import remove_stale
from neurovault_ica.runtime.log import log_to
from neurovault_ica.runtime.processes import Task, run_tasks
from neurovault_ica.runtime.tables import read_table, write_table
from neurovault_ica.runtime.threads import one_blas_thread
from neurovault_ica.runtime.wording import counted, listed


def thresholded_volumes(maps: Maps, scales: Sequence[Scale], min_cluster_mm3: float) -> Iterator[Volume]:
    """Set all values that figures do not show to 0, one map at a time."""
    for number, scale in enumerate(scales):
        yield threshold_volume(maps.volume(number), scale, min_cluster_mm3)


def save_overview(
    overview: str, thumbnails: Sequence[str], titles: Sequence[str], drawn: Sequence[Drawn], study: SharedInputs
) -> None:
    """Draw the thumbnails of all components on one sheet."""
    pictures = [read_thumbnail(path) for path in thumbnails]
    scales, peaks = [one.scale for one in drawn], [one.peak for one in drawn]
    sheet = draw_overview(pictures, titles, scales, peaks, study.box, meaning_of(study.display))
    sheet.save(overview, title="All components")


def remove_older(overview: str, *, keep: Sequence[str]) -> None:
    """Remove figures that an earlier run with more components or another kind of threshold left."""
    for pattern in ("ICA_*.png", "ICA_*.pdf", "desc-ICA_mixture.*"):
        remove_stale(overview, pattern, keep=keep)


def main(
    *,
    components: str,
    mask: str,
    template: str,
    stability: str,
    terms: str,
    names: str,
    figures: list[str],
    thumbnails: list[str],
    overview: str,
    terms_figure: str,
    pdfs: list[str],
    thresholded: str,
    thresholds: str,
    peaks: str,
    mixture: str | Sequence[str],
    mixture_figures: Sequence[str],
    threshold: Mapping[str, float],
    min_cluster_mm3: float,
    atlas: str | None,
    atlas_names: str | None,
    threads: int,
) -> None:
    """Draw every component, the overview and the terms; write thresholded maps, thresholds and peaks.

    `mixture` and `mixture_figures` are empty unless the threshold comes from a mixture model. Each figure is also
    written as one of the `pdfs`.
    """
    remove_older(overview, keep=[*figures, *thumbnails, *mixture_figures, *pdfs])
    remove_stale(thresholded, "space-*_thresholded.nii.gz")
    maps, stabilities = read_maps(components, mask), read_table(stability)
    if not len(maps.values) == len(figures) == len(stabilities):
        raise ValueError(
            f"{components} has {counted(len(maps.values), 'map')} and {stability} has"
            f" {counted(len(stabilities), 'row')}, but run_ica.n_components is {len(figures)}; delete results/run_ica"
            " and run again"
        )
    display = Display(threshold, min_cluster_mm3)
    study = SharedInputs(maps, *read_template(template), display, read_regions(atlas, atlas_names) if atlas else None)
    labels = [row["component"] for row in stabilities]
    names_of = read_names(names)
    titles = [title_of(label, names_of[label]) for label in labels]
    paths = list(map(Paths, figures, thumbnails, mixture_figures or cycle([None])))
    tasks: dict[str, Task] = {}
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
    # The overview needs the thumbnails of all components. It takes as long as the other two, which share a process.
    last: dict[str, Task] = {
        terms_figure: partial(
            plot_terms, dict(zip(labels, titles, strict=True)), top_terms(read_table(terms)), terms_figure
        ),
        overview: partial(save_overview, overview, thumbnails, titles, drawn, study),
        thresholded: partial(write_maps, thresholded, maps.header, thresholded_volumes(maps, scales, min_cluster_mm3)),
    }
    run_tasks(last, threads)
    empty = [label for label, one in zip(labels, drawn, strict=True) if one.is_empty]
    if empty:
        logging.warning(
            "no voxel of %s reaches plot_components.threshold, so figures show nothing of %s; lower the threshold",
            listed(empty),
            "it" if len(empty) == 1 else "them",
        )
    logging.info("drew %s and found %s", counted(len(labels), "component"), counted(len(found), "peak"))


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    with one_blas_thread():
        main(**snakemake.input, **snakemake.output, **snakemake.params, threads=snakemake.threads)
