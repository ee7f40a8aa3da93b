"""Put figures and tables into one self-contained page.

Names, descriptions and addresses come from the archive: the template escapes all of them, links only to http(s)
addresses, and the page forbids itself scripts and anything that is not inside it.
"""

import base64
import importlib.metadata
import io
import json
import logging
import platform
import re
import urllib.parse
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml
from outputs import read_table, replacing
from PIL import Image
from significance import MIN_COLLECTIONS, SIGNIFICANT_Q
from stage_log import log_to

Row = dict[str, Any]

TEMPLATE_FILE = Path(__file__).parent.parent / "report" / "report.html.jinja"
PACKAGES = ("snakemake", "nilearn", "scikit-learn", "nibabel", "numpy", "scipy", "matplotlib")

LONGEST_TEXT = 240
TERMS_SHOWN = 10
IMAGES_SHOWN = 8
LABELS_SHOWN = 6
PEAKS_SHOWN = 6
LONGEST_TABLE = 2000
JPEG = {"format": "JPEG", "quality": 84, "subsampling": 0, "optimize": True}

# Below this mean Iq, and above this share of restarts that do not converge, tedana warns too.
LOW_STABILITY = 0.6
# Restarts run on a tenth of the voxels, which alone costs a few hundredths.
LOW_RESTART_CORRELATION = 0.8
MANY_UNCONVERGED = 0.1
# In simulation, planted networks have 0.8 to 0.95 and components of noise 0.2 (docs/methods.md).
LOW_CORRELATION = 0.5
ONE_COLLECTION = 0.5
FEW_IMAGES_PER_COMPONENT = 3

REASONS = {
    "missing_file": "The archive has no file for this image.",
    "damaged_file": "The file is not a complete gzipped NIfTI: cut short, of another size than the archive states, or"
    " a web page saved under its name.",
    "not_found": "The server does not have the file that its record names.",
    "refused": "The server does not give the file away.",
    "server_error": "The server answered with an error each time it was asked.",
    "timeout": "The server was silent for too long, or sent too slowly, each time it was asked.",
    "no_connection": "The connection broke each time the file was asked for.",
    "bad_address": "What the record names as the file is no address, or leads nowhere.",
    "bad_answer": "What the server sent was not what it should be, each time it was asked.",
    "changed": "The file is not the one that the lock of the earlier run names.",
    "unreadable": "The file is not a NIfTI image that can be read to its end.",
    "not_3d": "The file holds several volumes; which of them is the statistic map is not known.",
    "not_numeric": "The voxels are not real numbers.",
    "bad_affine": "The header does not say where in the brain the voxels are.",
    "too_large": "The header claims more voxels than a statistic map has.",
    "empty": "No voxel holds a finite value other than zero.",
    "outside_template": "The image lies outside the brain template altogether.",
    "coverage": "The data cover too little of the brain.",
    "background": "The background is a constant that is not zero and reaches into the brain mask.",
    "few_values": "There are only a few different values: a mask or a parcellation, not a statistic map.",
    "thresholded": "Too much of the brain is zero: the map was thresholded before it was uploaded.",
    "outside_brain": "Too much of the signal lies outside the brain.",
    "misplaced": "The data do not lie where the brain is: the map is in another space.",
    "one_signed": "The map has practically one sign only: one side of a contrast, a mask, or not a difference at all.",
    "magnitude": "The largest value is too small or too large for a Z or T map: the map type is probably wrong.",
    "duplicate": "The map is practically the same as an earlier one.",
    "inverted_contrast": "The map is practically an earlier one with the sign reversed.",
    "constant": "All voxels of the brain have the same value.",
}
NO_TERMS = {
    "missing_file": "no answer in the archive",
    "malformed": "unreadable answer",
    "no_values": "empty answer",
    "image_too_large": "image too large for Neurosynth",
    "refused": "refused by Neurosynth",
    "not_found": "not known to Neurosynth",
    "server_error": "error of the server",
    "timeout": "server silent",
    "no_connection": "connection broken",
    "bad_address": "no such address",
    "bad_answer": "unreadable answer",
    "server_down": "server down",
    "changed": "not as in the lock",
}
DIRECTION_MARKS = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)])
STAGES = {"download_images": "download", "mask_images": "reading and masking", "stack_images": "quality control"}


def safe_address(address: Any) -> str | None:
    """Return an address that may become a link: http or https, with a host, without a login; otherwise None."""
    if not isinstance(address, str):
        return None
    try:
        parts = urllib.parse.urlsplit(address.strip())
    except ValueError:
        return None
    is_plain = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
    return parts.geturl() if is_plain else None


def doi_address(doi: Any) -> str | None:
    """Turn a DOI, however it is written, into the address of its resolver; None if it is none."""
    found = re.search(r"10\.\d{4,9}/\S+", str(doi or ""))
    return f"https://doi.org/{urllib.parse.quote(found.group(), safe='/:;()._-')}" if found else None


def shorten(text: Any, longest: int = LONGEST_TEXT) -> str:
    """Cut long text, which the table beside the page has in full, and drop what turns the direction of writing."""
    text = "" if text is None else str(text).translate(DIRECTION_MARKS)
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def format_number(value: Any, digits: int = 2) -> str:
    """Write a number with a true minus sign, or a dash where it is missing."""
    return "\u2013" if value is None else f"{value:,.{digits}f}".replace("-", "\u2212")


def format_q(q: float | None) -> str:
    """Write a false discovery rate to three digits, or a dash where nothing was tested."""
    if q is None:
        return "\u2013"
    return "< 0.001" if q < 0.001 else f"{q:.3f}"


def is_significant(q: float | None) -> bool:
    """Tell whether a term or label was tested and goes with its component beyond chance."""
    return q is not None and q < SIGNIFICANT_Q


def count_significant(rows: Sequence[Row]) -> int | None:
    """Count the significant rows; None where nothing was tested."""
    tested = [row["q"] for row in rows if row["q"] is not None]
    return sum(is_significant(q) for q in tested) if tested else None


def percent(value: float | None) -> str:
    """Write a share as a percentage."""
    return "\u2013" if value is None else f"{100 * value:.1f} %"


def data_uri(figure: str | Path) -> str:
    """Turn a figure into a JPEG inside a data address; a third of the size of the PNG, text still sharp."""
    packed = io.BytesIO()
    with Image.open(figure) as image:
        image.convert("RGB").save(packed, **JPEG)  # type: ignore[arg-type]
    return "data:image/jpeg;base64," + base64.b64encode(packed.getvalue()).decode("ascii")


def group_by_component(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Sort rows into lists by their component, in the order in which they come."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["component"], []).append(row)
    return groups


def top_images(label: str, mixing: Sequence[Row], images: Mapping[int, Row]) -> list[Row]:
    """List the images with the largest absolute loadings, strongest first."""
    ordered = sorted(mixing, key=lambda row: (-abs(row[label]), row["image_id"]))
    return [images[row["image_id"]] | {"loading": row[label]} for row in ordered[:IMAGES_SHOWN]]


def main_collection(label: str, mixing: Sequence[Row], images: Mapping[int, Row]) -> tuple[int, float]:
    """Find the collection that carries most of a component, and its share of the squared loadings."""
    weights: Counter[int] = Counter()
    for row in mixing:
        weights[images[row["image_id"]]["collection_id"]] += row[label] ** 2
    collection_id, weight = max(weights.items(), key=lambda item: (item[1], -item[0]))
    total = sum(weights.values())
    return collection_id, weight / total if total else 0.0


def describe_components(
    *,
    stability: Sequence[Row],
    mixing: Sequence[Row],
    images: Mapping[int, Row],
    terms: Mapping[str, list[Row]],
    enrichment: Mapping[str, list[Row]],
    peaks: Mapping[str, list[Row]],
    figures: Sequence[str],
) -> list[Row]:
    """Gather what the page shows of each component."""
    described = []
    for row, figure in zip(stability, figures, strict=True):
        label = row["component"]
        named = sorted(terms.get(label, []), key=lambda term: term["rank"])[:TERMS_SHOWN]
        strongest = max((term["weight"] for term in named), default=0)
        collection_id, share = main_collection(label, mixing, images)
        described.append(
            row
            | {
                "names": [term["term"] for term in named[:3]],
                "n_significant_terms": count_significant(terms.get(label, [])),
                "n_significant_labels": count_significant(enrichment.get(label, [])),
                "terms": [
                    term | {"length": max(0.0, 100 * term["weight"] / strongest) if strongest > 0 else 0.0}
                    for term in named
                ],
                "collection_id": collection_id,
                "collection_share": share,
                "collections": len({images[row["image_id"]]["collection_id"] for row in mixing}),
                "images": top_images(label, mixing, images),
                "labels": [entry for entry in enrichment.get(label, []) if entry["difference"] > 0][:LABELS_SHOWN],
                "peaks": peaks.get(label, [])[:PEAKS_SHOWN],
                "n_peaks": len(peaks.get(label, [])),
                "figure": data_uri(figure),
            }
        )
    return described


def funnel(selection: Sequence[Row], rejected: Sequence[Row]) -> list[Row]:
    """Continue the selection's steps with what later stages refused, down to the images of the matrix."""
    steps = list(selection)
    remaining = steps[-1]["kept"] if steps else len(rejected)
    refused = Counter(row["stage"] for row in rejected)
    for stage in [*STAGES, *sorted(set(refused) - set(STAGES))]:
        dropped = refused[stage]
        steps.append(
            {
                "level": "image",
                "criterion": STAGES.get(stage, stage),
                "tested": remaining,
                "dropped": dropped,
                "kept": remaining - dropped,
            }
        )
        remaining -= dropped
    return steps


def count_missing_terms(status: Iterable[Row], used: Iterable[int]) -> tuple[int, list[tuple[str, int]]]:
    """Count the images of the matrix that have terms, and why others have none."""
    by_image = {row["image_id"]: row for row in status}
    found = [by_image.get(image_id, {"terms": 0, "reason": "missing_file"}) for image_id in used]
    reasons = Counter(str(row["reason"]) for row in found if not row["terms"])
    return sum(bool(row["terms"]) for row in found), sorted(
        (NO_TERMS.get(reason, reason), count) for reason, count in reasons.items()
    )


def find_warnings(
    *,
    components: Sequence[Row],
    decomposition: Mapping[str, Any],
    n_images: int,
    n_rejected: int,
    n_with_terms: int,
    recovery: Sequence[Row],
) -> list[str]:
    """Say in plain words what a reader should know before believing the page."""
    found = []
    n_components = len(components)
    if not decomposition["converged"]:
        found.append(
            f"FastICA did not converge in {decomposition['max_iter']} iterations: the components may be different with"
            " another seed. Probably there are more components than the images have structure for; ask for fewer"
            " (run_ica.n_components) or allow more iterations (run_ica.max_iter)."
        )
    n_restarts, n_converged = decomposition["n_restarts"], decomposition["n_restarts_converged"]
    if n_restarts > 1 and n_restarts - n_converged > MANY_UNCONVERGED * n_restarts:
        found.append(f"{n_restarts - n_converged} of {n_restarts} restarts of FastICA did not converge.")
    unstable = [
        row["component"]
        for row in components
        if row["iq_restarts"] is not None
        and (row["iq_restarts"] < LOW_STABILITY or row["r_restarts"] < LOW_RESTART_CORRELATION)
    ]
    if unstable:
        found.append(
            f"{_listing(unstable)}: stability over restarts Iq below {LOW_STABILITY}, or mean |r| with the restarts"
            f" below {LOW_RESTART_CORRELATION}. Such a component depends on where the algorithm starts."
        )
    fleeting = [
        row["component"]
        for row in components
        if row["r_bootstraps"] is not None and row["r_bootstraps"] < LOW_CORRELATION
    ]
    if fleeting:
        found.append(
            f"{_listing(fleeting)}: mean |r| below {LOW_CORRELATION} when the collections are drawn anew. With other"
            " studies, such a component may not be there."
        )
    found += [
        f"{row['component']} is carried by one collection: number {row['collection_id']} holds"
        f" {percent(row['collection_share'])} of its squared loadings. It may be a feature of that study."
        for row in components
        if row["collections"] > 1 and row["collection_share"] > ONE_COLLECTION
    ]
    if n_images < FEW_IMAGES_PER_COMPONENT * n_components:
        found.append(f"Only {n_images} images for {n_components} components: expect components of single images.")
    if not n_with_terms:
        found.append("No image has term weights: the components have no names.")
    elif 2 * n_with_terms < n_images:
        found.append(f"Only {n_with_terms} of {n_images} images have term weights: the names rest on these alone.")
    nameless = [row["component"] for row in components if row["n_significant_terms"] == 0]
    if nameless:
        found.append(
            f"{_listing(nameless)}: no term has a q below {SIGNIFICANT_Q}."
            f" {'The name' if len(nameless) == 1 else 'Their names'} may be noise."
        )
    if n_rejected > n_images:
        found.append(f"More images were refused ({n_rejected}) than used ({n_images}); see the reasons below.")
    found += [f"{_listing(labels)} have the same first three terms." for labels in _same_names(components)]
    failed = [row for row in recovery if not row["passed"]]
    if failed:
        found.append(f"Demo check: {len(failed)} of {len(recovery)} checks failed; see the table below.")
    return found


def _same_names(components: Sequence[Row]) -> list[list[str]]:
    labels: dict[tuple[str, ...], list[str]] = {}
    for row in components:
        if row["names"]:
            labels.setdefault(tuple(sorted(str(name) for name in row["names"])), []).append(row["component"])
    return [group for group in labels.values() if len(group) > 1]


def _listing(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def explain_rejections(rejected: Iterable[Row]) -> list[Row]:
    """Count the reasons, most frequent first, each with an explanation."""
    counts = Counter((row["reason"], row["stage"]) for row in rejected)
    return [
        {"reason": reason, "stage": stage, "count": count, "explanation": REASONS.get(reason, "")}
        for (reason, stage), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def versions() -> list[tuple[str, str]]:
    """List Python and the packages that make the numbers and the figures."""
    return [("Python", platform.python_version()), *((name, importlib.metadata.version(name)) for name in PACKAGES)]


def make_template(template_file: Path = TEMPLATE_FILE) -> jinja2.Template:
    """Load the page's template: escaping always on, an undefined name is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template_file.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "shorten": shorten,
        "number": format_number,
        "percent": percent,
        "q": format_q,
        "address": safe_address,
        "doi_address": doi_address,
    }
    environment.tests["significant"] = is_significant
    return environment.get_template(template_file.name)


def main(
    *,
    selection: str,
    collections: str,
    term_status: list[str],
    images: str,
    rejected: str,
    variance: str,
    stability: str,
    decomposition: str,
    mixing: str,
    terms: str,
    vocabulary: str,
    enrichment: str,
    figures: list[str],
    overview: str,
    terms_figure: str,
    peaks: str,
    report: str,
    settings: Mapping[str, Any],
    recovery: str | list[str] | None = None,
) -> None:
    """Render the page. In a demo run `recovery` is the check against the planted truth, otherwise it is empty."""
    used = read_table(images)
    refused = read_table(rejected)
    studies = {row["collection_id"]: row for row in read_table(collections)}
    checks = read_table(recovery) if isinstance(recovery, str) and recovery else []
    with Path(decomposition).open(encoding="utf-8") as stream:
        decomposed = json.load(stream)
    components = describe_components(
        stability=read_table(stability),
        mixing=read_table(mixing),
        images={row["image_id"]: row for row in used},
        terms=group_by_component(read_table(terms)),
        enrichment=group_by_component(read_table(enrichment)),
        peaks=group_by_component(read_table(peaks)),
        figures=figures,
    )
    n_with_terms, without_terms = count_missing_terms(
        (row for table in term_status for row in read_table(table)), [row["image_id"] for row in used]
    )
    n_used = Counter(row["collection_id"] for row in used)
    words = read_table(vocabulary)
    page = make_template().render(
        is_demo=settings["archive"]["source"] == "demo",
        components=components,
        decomposition=decomposed,
        warnings=find_warnings(
            components=components,
            decomposition=decomposed,
            n_images=len(used),
            n_rejected=len(refused),
            n_with_terms=n_with_terms,
            recovery=checks,
        ),
        images=used[:LONGEST_TABLE],
        n_images=len(used),
        collections=[studies[number] | {"used": n_used[number]} for number in sorted(n_used)],
        studies=studies,
        rejected=refused[:LONGEST_TABLE],
        n_rejected=len(refused),
        reasons=explain_rejections(refused),
        reason_texts=REASONS,
        steps=funnel(read_table(selection), refused),
        n_with_terms=n_with_terms,
        without_terms=without_terms,
        significant_q=SIGNIFICANT_Q,
        min_collections=MIN_COLLECTIONS,
        n_permutations=settings["project_terms"]["n_permutations"],
        vocabulary=words[:TERMS_SHOWN],
        n_vocabulary=len(words),
        variance=read_table(variance),
        overview=data_uri(overview),
        terms_figure=data_uri(terms_figure),
        recovery=checks,
        threshold=settings["plot_components"]["threshold"],
        configuration=yaml.safe_dump(_plain(settings), sort_keys=False, allow_unicode=True),
        versions=versions(),
    )
    with replacing(report) as temporary:
        temporary.write_text(page, encoding="utf-8")
    logging.info("report of %d components, %.1f MB", len(components), len(page) / 1e6)


def _plain(value: Any) -> Any:
    """Turn Snakemake's own kinds of mapping and list into plain ones, which YAML can write."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value


if __name__ == "__main__":
    log_to(snakemake.log[0])
    main(**snakemake.input, **snakemake.output, **snakemake.params)
