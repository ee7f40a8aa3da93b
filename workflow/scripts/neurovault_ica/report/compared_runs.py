"""Compare two finished runs: their components, images, settings and software."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage

from neurovault_ica.archive.lock import read_lock
from neurovault_ica.images.maps import Maps, read_maps
from neurovault_ica.images.resampling import plan_resampling, resample
from neurovault_ica.images.targets import target_of
from neurovault_ica.naming.networks import correlate_maps, match_components
from neurovault_ica.runtime.files import sha256_of
from neurovault_ica.runtime.tables import read_table
from neurovault_ica.runtime.yaml_text import as_configured
from neurovault_ica.types import Array, Row

# If a component splits into two, it resembles both. So other components with at least this |r| are listed beside the
# match, at most this many.
MIN_SIMILAR_R, MOST_SIMILAR = 0.25, 3
USED, NOT_SELECTED = "used", "not selected"
# Parts of run.json that a comparison needs.
FACTS = ("configuration", "software", "counts", "decomposition", "results_sha256")
# Columns of a table of loadings that identify the row.
KEYS = ("image_id", "sign")


class Run(NamedTuple):
    """What a comparison needs from a finished run."""

    folder: Path  # contains results/
    facts: dict[str, Any]  # run.json
    maps: Maps
    labels: list[str]  # of the components
    names: dict[str, Row]  # the rows of desc-ICA_names.tsv by component
    stability: list[Row]
    mixing: list[Row]
    images: dict[str, Row]  # the rows of the lock by image id
    rejected: dict[str, str]  # reasons by image id
    mask: str


class Comparison(NamedTuple):
    """The differences of two runs, as rows of tables."""

    components: list[Row]
    images: list[Row]
    settings: list[Row]
    software: list[Row]
    r: Array  # (n_components of the first run, n_components of the second), over the common mask
    common: float  # share of the first run's mask that is in both masks


def read_run(folder: str | Path) -> Run:
    """Read a finished run.

    Parameters
    ----------
    folder : path
        The folder in which snakemake ran, the folder results in it, or a folder made by ``make paper``.

    Raises
    ------
    ValueError
        If the folder does not contain a finished run, or its files are damaged or of different runs.
    """
    folder = Path(folder)
    if folder.name == "results" and not (folder / "results").exists():
        folder = folder.absolute().parent
    results = folder / "results"
    record = folder if (folder / "run.json").is_file() else results / "write_lock"
    components = sorted(results.glob("run_ica/*_desc-ICA_components.nii.gz"))
    needed = {
        "run.json": record / "run.json",
        "images.lock.tsv": record / "images.lock.tsv",
        "the mask": results / "stack_images/mask.nii.gz",
        "the names": results / "project_terms/desc-ICA_names.tsv",
        "the rejected images": results / "stack_images/rejected.tsv",
        "the loadings": results / "run_ica/desc-ICA_mixing.tsv",
        "the stability": results / "run_ica/desc-ICA_stability.tsv",
    }
    missing = [what for what, file in needed.items() if not file.is_file()]
    if len(components) != 1:
        missing.append("the map of the components" if not components else "a single map of the components")
    if missing:
        raise ValueError(
            f"{folder} does not contain a finished run (missing: {', '.join(missing)}). Give the folder in which"
            " snakemake ran, or a folder made by make paper"
        )
    facts = _read_facts(needed["run.json"])
    _require_same_run(folder, [components[0], *needed.values()], facts["results_sha256"])
    stability = read_table(needed["the stability"])
    return Run(
        folder,
        facts,
        read_maps(str(components[0]), str(needed["the mask"])),
        [row["component"] for row in stability],
        {row["component"]: row for row in read_table(needed["the names"])},
        stability,
        read_table(needed["the loadings"]),
        {row["image_id"]: row for row in read_lock(str(needed["images.lock.tsv"]))},
        {row["image_id"]: row["reason"] for row in read_table(needed["the rejected images"])},
        str(needed["the mask"]),
    )


def _read_facts(file: Path) -> dict[str, Any]:
    """Read run.json."""
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
        missing = [key for key in FACTS if not isinstance(facts[key], dict)]
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{file} is damaged: {error}; run snakemake again") from error
    if missing:
        raise ValueError(f"{file} is damaged: {', '.join(missing)}; run snakemake again")
    return facts


def _require_same_run(folder: Path, files: Sequence[Path], sums: Mapping[str, str]) -> None:
    """Stop if results differ from the checksums in run.json, because then names, maps and images do not fit."""
    # The paths in run.json may begin with the prefix of a workflow that imports this one.
    sum_of = {path[path.rfind("results/") :]: checksum for path, checksum in sums.items()}
    inside = {file: file.relative_to(folder).as_posix() for file in files}
    changed = [path for file, path in inside.items() if path in sum_of and sha256_of(file) != sum_of[path]]
    if changed:
        raise ValueError(
            f"these results in {folder} were changed after run.json was written: {', '.join(changed)}. A later run was"
            " stopped before its end, or the files were edited or damaged. Run snakemake again in that folder"
        )


def compare_runs(first: Run, second: Run) -> Comparison:
    """Compare two runs. The maps of the second run are resampled to the grid of the first."""
    values, inside = _on_grid_of(first, second)
    r = np.clip(correlate_maps(first.maps.values[:, inside], values[:, inside]), -1, 1)
    return Comparison(
        _compare_components(first, second, r),
        list(_compare_images(first, second)),
        _differences(first.facts["configuration"], second.facts["configuration"]),
        _differences(first.facts["software"], second.facts["software"]),
        r,
        float(inside.mean()),
    )


def _on_grid_of(first: Run, second: Run) -> tuple[Any, Any]:
    """Return the second run's maps in the voxels of the first run's mask, and which of these are in both masks."""
    target = target_of(cast(SpatialImage, nib.load(first.mask)))
    shape, affine = second.maps.inside.shape, second.maps.affine
    plan = plan_resampling(shape, affine, target, "linear")
    nearest = plan_resampling(shape, affine, target, "nearest")
    inside = resample(np.asfortranarray(second.maps.inside, dtype=np.float32), nearest, target) > 0
    if not inside.any():
        raise ValueError(
            f"the masks of {first.folder} and {second.folder} have no voxel in common; compare runs of the same brain"
        )
    values = [
        resample(np.asfortranarray(second.maps.volume(number).data), plan, target)
        for number in range(len(second.maps.values))
    ]
    return np.stack(values), inside


def _compare_components(first: Run, second: Run, r: Array) -> list[Row]:
    """Match the components one to one (Hungarian method, largest sum of |r|). Unmatched ones get their own rows."""
    matched = match_components(r).matched
    loadings = _correlate_loadings(first, second)
    rows = []
    for k, label in enumerate(first.labels):
        m = int(matched[k])
        rows.append(
            {
                "first": label,
                "first_name": first.names[label]["name"],
                "second": second.labels[m] if m >= 0 else None,
                "second_name": second.names[second.labels[m]]["name"] if m >= 0 else None,
                "r": r[k, m] if m >= 0 else None,
                "r_loadings": loadings.get((label, second.labels[m])) if m >= 0 else None,
                "also": _list_others(r[k], second.labels, without=m),
            }
        )
    for m in sorted(set(range(len(second.labels))) - set(matched.tolist())):
        rows.append(
            {
                "first": None,
                "first_name": None,
                "second": second.labels[m],
                "second_name": second.names[second.labels[m]]["name"],
                "r": None,
                "r_loadings": None,
                "also": _list_others(r[:, m], first.labels, without=-1),
            }
        )
    return rows


def _list_others(r: Array, labels: Sequence[str], *, without: int) -> str | None:
    """List other components that resemble this one: ``ICA_03 (r 0.41), ICA_07 (r -0.30)``."""
    order = [int(m) for m in np.argsort(-np.abs(r)) if m != without and abs(r[m]) >= MIN_SIMILAR_R]
    return ", ".join(f"{labels[m]} (r {r[m]:.2f})" for m in order[:MOST_SIMILAR]) or None


def _correlate_loadings(first: Run, second: Run) -> dict[tuple[str, str], float]:
    """Correlate the loadings of all pairs of components over the images that both runs used."""
    rows = {tuple(row.get(key) for key in KEYS): row for row in second.mixing}
    pairs = [(row, rows[key]) for row in first.mixing if (key := tuple(row.get(key) for key in KEYS)) in rows]
    if len(pairs) < 3:
        return {}
    one = np.array([[row[label] for row, _ in pairs] for label in first.labels])
    other = np.array([[row[label] for _, row in pairs] for label in second.labels])
    r = np.clip(correlate_maps(one, other), -1, 1)
    return {(x, y): float(r[k, m]) for k, x in enumerate(first.labels) for m, y in enumerate(second.labels)}


def _compare_images(first: Run, second: Run) -> Iterator[Row]:
    """Yield each image that a run selected: what each run did with it, and whether its file and terms are the same."""
    # A run that requested no terms, or computed them, has no checksums. Then its settings differ, not the terms.
    have_terms = all(any(row["terms_sha256"] for row in run.images.values()) for run in (first, second))
    for image in dict.fromkeys([*first.images, *second.images]):
        rows = [run.images[image] for run in (first, second) if image in run.images]
        sums = {row["sha256"] for row in rows}
        terms = {row["terms_sha256"] for row in rows}
        yield {
            "image_id": image,
            "name": rows[0]["name"],
            "collection_id": rows[0]["collection_id"],
            "collection_name": rows[0]["collection_name"],
            "first": _use_of(image, first),
            "second": _use_of(image, second),
            "file": None if len(rows) < 2 or None in sums else "same" if len(sums) == 1 else "changed",
            "terms": None if len(rows) < 2 or not have_terms else "same" if len(terms) == 1 else "changed",
        }


def _use_of(image: str, run: Run) -> str:
    """Return whether a run used, rejected or did not select an image; for a rejected one, also the reason."""
    if image not in run.images:
        return NOT_SELECTED
    return USED if run.images[image]["used"] else f"rejected ({run.rejected.get(image, 'no reason known')})"


def differs(image: Row) -> bool:
    """Tell whether two runs treated an image differently, or used different files or term weights of it."""
    return image["first"] != image["second"] or "changed" in (image["file"], image["terms"])


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Row]:
    """List the keys whose values differ. The value of a missing key is None."""
    one, other = dict(_flatten(first)), dict(_flatten(second))
    return [
        {"key": key, "first": one.get(key), "second": other.get(key)}
        for key in dict.fromkeys([*one, *other])
        if one.get(key) != other.get(key)
    ]


def _flatten(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Yield each value as YAML, with its key as in ``stack_images.quality.min_peak``."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", as_configured(value)
