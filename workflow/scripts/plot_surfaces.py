"""Draw the components on the cortical surface and in a glass brain; write their values on the surface."""

import logging
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from neurovault_ica.figures.brain_bar import ends_of, extent_of
from neurovault_ica.figures.component import read_thumbnail, save_thumbnail, title_of
from neurovault_ica.figures.slices import Scale
from neurovault_ica.figures.style import DPI
from neurovault_ica.figures.surface_sheets import (
    GLASS_MM,
    VIEW_MM,
    Pictures,
    draw_gallery,
    draw_surfaces,
    glass_thumbnail,
    pixels_of,
    shown_limits,
    surface_thumbnail,
)
from neurovault_ica.figures.surfaces import VIEWS, Canvas, GlassBrain, OnCortex, draw_canvas, show_on_cortex
from neurovault_ica.images.cortex import Cortex, load_cortex, places_of, share_in_mask
from neurovault_ica.images.maps import Maps, read_maps
from neurovault_ica.images.surface_files import write_mesh, write_surface_maps
from neurovault_ica.naming.names import read_names
from neurovault_ica.runtime.files import remove_stale
from neurovault_ica.runtime.log import log_to
from neurovault_ica.runtime.processes import Task, run_tasks
from neurovault_ica.runtime.tables import read_table
from neurovault_ica.runtime.threads import one_blas_thread
from neurovault_ica.runtime.wording import counted
from neurovault_ica.types import Real


class Shared(NamedTuple):
    """Inputs shared by the figures of all components."""

    maps: Maps
    thresholded: Maps
    cortex: Cortex
    places: Real  # from places_of
    share: Real  # (n_vertices,), from share_in_mask
    canvases: list[Canvas]
    glass: GlassBrain
    min_cluster_mm3: float


class Paths(NamedTuple):
    """Where to write the pictures of one component."""

    figure: str
    surface: str
    glass: str


def plot_component(shared: Shared, number: int, scale: Scale, title: str, paths: Paths) -> tuple[OnCortex, str]:
    """Draw one component; return it on the cortex, and a note for the log."""
    volume, thresholded = shared.maps.volume(number), shared.thresholded.volume(number)
    found = show_on_cortex(volume.data, thresholded.data, scale, shared.share, shared.places)
    drawn = found.drawn(scale)
    views = [canvas.paint(drawn, scale) for canvas in shared.canvases]
    pictures = Pictures(views, shared.glass.draw(thresholded, scale))
    note = found.note(shared.cortex)
    ends = ends_of(thresholded.data, scale)
    facts = f"shown: {shown_limits(scale)}{extent_of(shared.min_cluster_mm3)}"
    draw_surfaces(pictures, scale, ends, title=title, facts=facts, note=note).save(paths.figure, title=title)
    save_thumbnail(paths.surface, surface_thumbnail(pictures.views))
    save_thumbnail(paths.glass, glass_thumbnail(pictures.glass))
    return found, note


def main(
    *,
    components: str,
    mask: str,
    thresholded: str,
    thresholds: str,
    names: str,
    figures: Sequence[str],
    surfaces: Sequence[str],
    glass: Sequence[str],
    gallery: str,
    pdfs: Sequence[str],
    left: str,
    right: str,
    mesh: str,
    min_cluster_mm3: float,
    threads: int,
) -> None:
    """Draw every component and the gallery, and write the values on both hemispheres.

    `figures`, `surfaces` and `glass` are the figure and the two small pictures of each component. `mesh` has the
    meshes to which the values belong.
    """
    for pattern in ("ICA_*.png", "ICA_*.pdf"):
        remove_stale(gallery, pattern, keep=[*figures, *surfaces, *glass, *pdfs])
    rows = read_table(thresholds)
    labels = [row["component"] for row in rows]
    names_of = read_names(names)
    titles = [title_of(label, names_of[label]) for label in labels]
    maps, cortex = read_maps(components, mask), load_cortex()
    places = places_of(maps.affine, cortex)
    share = share_in_mask(maps.inside, places, cortex)
    views: dict[str, Task] = {
        " ".join(view): partial(draw_canvas, cortex, share, *view, pixels_of(VIEW_MM)) for view in VIEWS
    }
    canvases = list(run_tasks(views, threads).values())
    glass_brain = GlassBrain(GLASS_MM, DPI)
    shared = Shared(maps, read_maps(thresholded, mask), cortex, places, share, canvases, glass_brain, min_cluster_mm3)
    tasks: dict[str, Task] = {}
    scales = [Scale(row["threshold"], row["negative_threshold"], row["brightest"]) for row in rows]
    for number, paths in enumerate(zip(figures, surfaces, glass, strict=True)):
        tasks[labels[number]] = partial(plot_component, shared, number, scales[number], titles[number], Paths(*paths))
    done: dict[str, tuple[OnCortex, str]] = run_tasks(tasks, threads)
    for label, (_, note) in done.items():
        if note:
            logging.info("%s: %s", label, note)
    found = [done[label][0] for label in labels]
    values = np.stack([one.values for one in found])
    for hemisphere, path in (("left", left), ("right", right)):
        write_surface_maps(path, values[:, cortex.part(hemisphere)], labels, hemisphere)
    write_mesh(mesh, cortex)
    pictures = [read_thumbnail(path) for path in surfaces]
    sheet = draw_gallery(pictures, titles, scales, [one.is_on_cortex for one in found], min_cluster_mm3)
    sheet.save(gallery, title="All components on the cortex")
    logging.info("drew %s on the cortical surface and in glass brains", counted(len(labels), "component"))


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    with one_blas_thread():
        main(**snakemake.input, **snakemake.output, **snakemake.params, threads=snakemake.threads)
