"""Prepare what a reader takes from the page: files of each component, lines for FSLeyes and nilearn, and notes."""

import hashlib
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neurovault_ica.images.maps import Maps, peaks_mm
from neurovault_ica.types import Row

FSLEYES = (
    "fsleyes {template} --name MNI152 {maps} --name {label} --volume {volume} --cmap red-yellow --useNegativeCmap"
    " --negativeCmap blue-lightblue --displayRange {low:.2f} {high:.2f}"
)
# These lines run in the folder that contains results/. A test runs them.
NILEARN = """\
from nilearn.image import index_img
from nilearn.maskers import NiftiMapsMasker
from nilearn.plotting import plot_stat_map

component = index_img("{shown}", {volume})  # {label}
plot_stat_map(component, threshold={low:.2f}, vmax={high:.2f}, cut_coords={place})
loadings = NiftiMapsMasker("{maps}", mask_img="{mask}").fit_transform("my_map.nii.gz")
"""
# FSLeyes and nilearn use one threshold for both signs. Two thresholds count as equal if they differ by less than this.
SAME_THRESHOLD = 0.005


def link_to(file: str, report: str) -> str:
    """Return the path of a file relative to the folder of the page, for a link."""
    return Path(os.path.relpath(file, Path(report).parent)).as_posix()


def add_files(
    components: Sequence[Row],
    *,
    report: str,
    maps: str,
    mask: str,
    template: str,
    thresholded: str,
    figures: Sequence[str],
    networks: Sequence[str],
    charts: Mapping[str, Sequence[str]],
    min_cluster_mm3: float,
    surfaces: Sequence[str] = (),
    hemispheres: Sequence[str] = (),
) -> None:
    """Add to each component the links to its files (``files``) and its lines (``fsleyes`` and ``nilearn``).

    Parameters
    ----------
    components : sequence of dict
        With ``threshold``, ``negative_threshold``, ``brightest`` and ``place`` (mm), in the order of the maps.
    report, maps, mask, template, thresholded : str
        Paths of the page, the 4-D maps, the mask, the template and the 4-D thresholded maps.
    figures, networks : sequence of str
        PNG files of each component; the PDFs have the same names. `networks` may be empty.
    charts : mapping
        By name, such as ``mixture_figures``: the PNG files of each component. They may be empty.
    surfaces, hemispheres : sequence of str
        PNG files of each component, and the GIFTI files of the left and right hemisphere; empty without surfaces.
    min_cluster_mm3 : float
        Smallest cluster that figures show.
    """
    none: list[str] = [""] * len(components)
    others = {name.removesuffix("_figures").replace("_", " ").capitalize(): files for name, files in charts.items()}
    titles = ("Figure", "Surfaces and glass brain", "With its reference network", *others)
    of_titles = (figures, surfaces, networks, *others.values())
    rows = zip(components, *(files or none for files in of_titles), strict=True)
    for volume, (component, *pictures) in enumerate(rows):
        files = [
            {"title": title, "links": [(kind, link_to(_other_kind(file, kind), report)) for kind in ("PNG", "PDF")]}
            for title, file in zip(titles, pictures, strict=True)
            if file
        ]
        for title, file in (("Map", maps), ("Thresholded map", thresholded)):
            files.append({"title": title, "links": [(f"volume {volume} of {Path(file).name}", link_to(file, report))]})
        if hemispheres:
            links = [(f"data array {volume} of {Path(file).name}", link_to(file, report)) for file in hemispheres]
            files.append({"title": "Values on fsaverage5", "links": links})
        component["files"] = files
        low, high = sorted((component["threshold"], component["negative_threshold"]))
        is_same = high - low < SAME_THRESHOLD
        values = {
            "label": component["component"],
            "volume": volume,
            "low": low,
            "high": component["brightest"],
            "mask": mask,
            "place": tuple(round(mm) for mm in component["place"]),
        }
        # A single range cannot show two thresholds or leave out small clusters. The thresholded maps do both.
        component["opens_thresholded"] = not is_same or min_cluster_mm3 > 0
        shown = thresholded if component["opens_thresholded"] else maps
        paths = {"maps": shlex.quote(shown), "template": shlex.quote(template)}
        component["fsleyes"] = FSLEYES.format(**values | paths)
        component["nilearn"] = NILEARN.format(**values, maps=maps, shown=shown)


def describe_files(components: Sequence[Row], maps: Maps, *, probe: str) -> dict[str, Any]:
    """Return the data for the scripts of the page.

    Returns
    -------
    dict
        ``run_id``, a checksum of the maps, under which the browser keeps a reader's notes; ``notes_of_run``, the notes
        from ``plot_components.labels``, with the peak of each map in mm; ``findings``, for the search; and ``probe``,
        the link to a small picture of the run, by which the page tests whether its links work.
    """
    notes = {
        component["component"]: {
            "name": component["name"] if component["evidence_name"] else "",
            "verdict": component["verdict"],
            "remark": component["remark"],
            "peak": " ".join(f"{mm:g}" for mm in peak),
        }
        for component, peak in zip(components, peaks_mm(maps), strict=True)
    }
    return {
        "run_id": hashlib.sha256(maps.values.tobytes()).hexdigest()[:16],
        "notes_of_run": notes,
        "findings": {row["component"]: row["findings"] for row in components},
        "probe": probe,
    }


def _other_kind(figure: str, kind: str) -> str:
    return str(Path(figure).with_suffix(f".{kind.lower()}"))
