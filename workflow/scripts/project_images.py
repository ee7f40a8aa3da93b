"""Project the user's own maps on the components of the run, of a package, or of a file, and test their loadings."""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from neurovault_ica.archive.own_maps import read_own_maps
from neurovault_ica.figures.profile import draw_heat_map, plot_profile
from neurovault_ica.figures.sheet import save_figure
from neurovault_ica.figures.shown import Display
from neurovault_ica.figures.slices import read_template
from neurovault_ica.images.criteria import Limits
from neurovault_ica.images.matrix import open_matrix
from neurovault_ica.images.targets import target_of
from neurovault_ica.naming.component_files import Components, read_components, read_run_components
from neurovault_ica.naming.own_images import Judged, judge_images, split_signs, treatment_of
from neurovault_ica.naming.projection import N_SURROGATES, Projector, project_all, project_run
from neurovault_ica.naming.projection_tables import (
    columns_of,
    comparable,
    explain_nothing_left,
    group_by_map,
    loading_rows,
    map_rows,
    rejected_rows,
    similar_rows,
)
from neurovault_ica.report.projection import render_projection
from neurovault_ica.runtime.files import replacing
from neurovault_ica.runtime.log import log_to, progress
from neurovault_ica.runtime.processes import run_tasks
from neurovault_ica.runtime.tables import read_table, write_table
from neurovault_ica.runtime.threads import one_blas_thread
from neurovault_ica.runtime.wording import counted
from neurovault_ica.statistics.lattice import lattice_of
from neurovault_ica.types import Array, Row


def main(
    *,
    components: str | Sequence[str],
    names: str | Sequence[str],
    images: str | Sequence[str],
    matrix: str | Sequence[str],
    mask: str,
    brain: str,
    template: str,
    loadings: str,
    maps: str,
    rejected: str,
    similar: str,
    heat_map: str,
    figures: str,
    page: str,
    source: str | None,
    own_maps: str,
    settings: Mapping[str, Any],
    limits: Limits,
    display: Mapping[str, Any],
    random_state: int,
    threads: int,
) -> None:
    """Project the maps, and write tables, figures and page. If `source` is set, the inputs from the run are empty."""
    # Snakemake does not know the PDF of the figure, so remove that of earlier maps in case this job fails.
    Path(heat_map).with_suffix(".pdf").unlink(missing_ok=True)
    own = read_own_maps(own_maps)
    of_run_files = str(components), mask, str(names), str(images)
    basis = read_components(source, mask) if source else read_run_components(*of_run_files)
    target = target_of(nib.Nifti1Image(basis.maps.inside.astype(np.uint8), basis.maps.affine))
    treatment = treatment_of(settings if basis.treatment is None else basis.treatment)
    points = lattice_of(basis.maps.inside, basis.maps.affine).points
    reading = progress(own, total=len(own), unit="map")
    judged = list(judge_images(reading, target, brain, treatment, limits, points))
    kept = split_signs(judged, treatment, points)
    refused = rejected_rows(judged, own_maps)
    if not kept:
        raise RuntimeError(explain_nothing_left(refused, own_maps))

    X = np.stack([cast(Any, one.values) for one in kept])
    projector, titles = Projector(basis.maps.values, basis.labels), [one.title for one in kept]
    found = project_all(X, titles, basis.maps, projector, basis.labels, random_state=random_state, threads=threads)
    of_run, r_of_run = basis.loadings, None
    if not source:
        of_run, r_of_run = project_run(open_matrix(str(matrix), read_table(str(images))), projector, X)
    rows = loading_rows(kept, found, basis, of_run)
    most_similar = similar_rows(kept, r_of_run, basis.images)
    of_map = map_rows(kept, found, X, most_similar, own_maps)
    tables = {loadings: rows, rejected: [*refused, *basis.left_out], similar: most_similar, maps: of_map}
    for path, table in tables.items():
        write_table(path, table, columns_of(path, is_split=treatment.signs == "split"))

    by_map = group_by_map(rows)
    files = {title: str(Path(figures).parent / row["figure"]) for title, row in zip(by_map, of_map, strict=True)}
    draw_profiles(files, kept, by_map, of_map, basis, of_run, Display(**display), template, threads)
    q = np.array([row["q"] for row in rows]).reshape(len(kept), -1)
    heat = draw_heat_map(np.array([one.loadings for one in found]), q, list(by_map), basis.titles)
    save_figure(heat, heat_map, title="Loadings of maps")
    text = render_projection(
        loadings=by_map,
        maps=[row | {"title": title} for row, title in zip(of_map, by_map, strict=True)],
        rejected=refused,
        left_out=basis.left_out,
        similar=group_by_map(most_similar),
        figures=files,
        heat_map=heat_map,
        source=source,
        maps_source=own_maps,
        components=basis.labels,
        n_maps=len({one.own.name for one in kept}),
        n_images=len({image["image_id"] for image in basis.images}),
        n_surrogates=N_SURROGATES,
        median_explained=float(np.median([one.explained for one in found])),
        is_scaled=treatment.scale == "unit_variance",
    )
    with replacing(page) as temporary:
        temporary.write_text(text, encoding="utf-8")
    n_maps, n_components = counted(len(own) - len(refused), "map"), counted(len(basis.labels), "component")
    logging.info("projected %s on %s; rejected %d", n_maps, n_components, len(refused))


def draw_profiles(
    files: Mapping[str, str],
    kept: Sequence[Judged],
    by_map: Mapping[str, Sequence[Row]],
    of_map: Sequence[Row],
    basis: Components,
    of_run: Array | None,
    display: Display,
    template: str,
    threads: int,
) -> None:
    """Draw the loadings of each map. `of_run` are those of the images of the run, if there is one."""
    drawn, tasks = read_template(template), {}
    for one, row in zip(kept, of_map, strict=True):
        facts = f"{100 * row['variance_explained']:.1f} % of its variance explained"
        beside = None if of_run is None else comparable(one.sign, of_run, basis.images)
        arguments = one.title, by_map[one.title], cast(Any, one.values), basis.maps, facts, display, drawn, beside
        tasks[one.title] = partial(plot_profile, files[one.title], *arguments)
    run_tasks(tasks, threads)


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    with one_blas_thread():
        main(**snakemake.input, **snakemake.output, **snakemake.params, threads=snakemake.threads)
