"""Render the page that shows two runs side by side."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from neurovault_ica.report.compared_runs import MIN_SIMILAR_R, USED, Comparison, Run, differs
from neurovault_ica.report.page import load_template, read_style
from neurovault_ica.report.pictures import embed_thumbnail
from neurovault_ica.runtime.files import package_file
from neurovault_ica.types import Row

TEMPLATE_FILE = package_file("report/comparison.html.jinja")
# The page loads nothing, and it has no scripts.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
# Largest number of images on the page. The table has all.
IMAGES_SHOWN = 2000
# In the summary, a matched pair with at least this |r| counts as the same component.
ALIKE = 0.7


def render_comparison(first: Run, second: Run, comparison: Comparison) -> str:
    """Render the page of a comparison. `comparison` is the result of `compare_runs` for these two runs."""
    different = [image for image in comparison.images if differs(image)]
    r = np.abs(comparison.r)
    matched = np.array([abs(row["r"]) for row in comparison.components if row["r"] is not None])
    in_both = [row for row in comparison.images if row["first"] == row["second"] == USED]
    kinds = [
        ("used by both", in_both),
        ("used by both, but the file has changed", [row for row in in_both if row["file"] == "changed"]),
        ("used by both, but the term weights have changed", [row for row in in_both if row["terms"] == "changed"]),
        ("used by the first run only", [row for row in different if row["first"] == USED != row["second"]]),
        ("used by the second run only", [row for row in different if row["second"] == USED != row["first"]]),
        ("used by neither", [row for row in comparison.images if USED not in (row["first"], row["second"])]),
    ]
    return load_template(TEMPLATE_FILE.name).render(
        policy=POLICY,
        style=read_style(),
        runs=[describe_run("First run", first), describe_run("Second run", second)],
        components=comparison.components,
        thumbnails=[thumbnails_of(run) for run in (first, second)],
        flags=[{row["component"]: row["flags"] or "" for row in run.stability} for run in (first, second)],
        n_alike=int(np.sum(matched >= ALIKE)),
        n_pairs=len(matched),
        alike=ALIKE,
        min_similar_r=MIN_SIMILAR_R,
        mean_r=float(matched.mean()),
        largest_other=largest_other(r, comparison, first, second),
        common=comparison.common,
        kinds=[(kind, len(rows)) for kind, rows in kinds],
        images=different[:IMAGES_SHOWN],
        n_different=len(different),
        same_terms=any(row["terms"] == "same" for row in comparison.images),
        settings=comparison.settings,
        software=comparison.software,
    )


def largest_other(r: Any, comparison: Comparison, first: Run, second: Run) -> float | None:
    """Return the largest |r| of two components that are not matched with each other; None if all are."""
    others = r.copy()
    for row in comparison.components:
        if row["r"] is not None:
            others[first.labels.index(row["first"]), second.labels.index(row["second"])] = -1
    largest = float(others.max())
    return None if largest < 0 else largest


def thumbnails_of(run: Run) -> Mapping[str, Row]:
    """Read the thumbnail of each component. A run without figures has none."""
    files = {label: run.folder / f"results/plot_components/{label}_thumbnail.png" for label in run.labels}
    return {label: embed_thumbnail(str(file)) for label, file in files.items() if file.is_file()}


def describe_run(title: str, run: Run) -> Row:
    """Describe a run for the head of the page."""
    counts, decomposition = run.facts["counts"], run.facts["decomposition"]
    over_collections, over_halves = (
        [row[key] for row in run.stability if row[key] is not None] for key in ("r_bootstraps", "r_split_half")
    )
    return {
        "title": title,
        "folder": str(run.folder),
        "images": counts["images_used"],
        "selected": counts["images_selected"],
        "collections": counts["collections_used"],
        "components": counts["components"],
        "algorithm": decomposition["algorithm_label"],
        "converged": decomposition["converged"],
        "variance_explained": decomposition["variance_explained"],
        "stability": float(np.mean(over_collections)) if over_collections else None,
        "split_half": float(np.mean(over_halves)) if over_halves else None,
        "n_flagged": sum(bool(row["flags"]) for row in run.stability),
        "n_named": sum(bool(row["source"]) and not row.get("mark") for row in run.names.values()),
    }
