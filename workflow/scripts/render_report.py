"""Put figures, tables and maps into one self-contained page.

Names, descriptions and addresses come from the archive: the template escapes all of them, links only to http(s)
addresses, and the page forbids itself all scripts but its own two and anything that is not inside it.
"""

import base64
import hashlib
import importlib.metadata
import io
import json
import logging
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import nibabel as nib
import numpy as np
import yaml
from drawing import read_template
from outputs import read_table, replacing
from page_tables import (
    REASONS,
    TERMS_SHOWN,
    count_missing_terms,
    describe_components,
    explain_rejections,
    funnel,
    group_by_component,
)
from page_text import doi_address, format_number, format_q, is_significant, percent, safe_address, shorten
from page_warnings import find_warnings, flags_of
from peaks import Volume
from PIL import Image
from significance import MIN_COLLECTIONS, SIGNIFICANT_Q
from stage_log import log_to
from viewer import pack_viewer

Row = dict[str, Any]

REPORT_DIR = Path(__file__).parent.parent / "report"
SCRIPTS = ("viewer.js", "report.js")
PACKAGES = ("snakemake", "nilearn", "scikit-learn", "nibabel", "numpy", "scipy", "matplotlib")
LONGEST_TABLE = 2000


def data_uri(figure: str | Path, *, kind: str = "JPEG", **options: Any) -> str:
    """Turn a figure into a data address: a small JPEG, or a WEBP where it has to stay transparent."""
    packed = io.BytesIO()
    with Image.open(figure) as image:
        image.convert("RGB" if kind == "JPEG" else "RGBA").save(packed, kind, **options)
    return f"data:image/{kind.lower()};base64," + base64.b64encode(packed.getvalue()).decode("ascii")


def add_pictures(components: Sequence[Row], figures: Sequence[str], thumbnails: Sequence[str]) -> None:
    """Put figure and thumbnail into each component's row."""
    for component, figure, thumbnail in zip(components, figures, thumbnails, strict=True):
        # The text in the figures stays sharp; the thumbnails have none.
        component["figure"] = data_uri(figure, quality=84, subsampling=0, optimize=True)
        component["thumbnail"] = data_uri(thumbnail, kind="WEBP", quality=80, method=6)
        with Image.open(thumbnail) as image:
            component["thumbnail_size"] = image.size


def pack_components(components: Sequence[Row], maps_file: str, mask_file: str, template_file: str) -> dict[str, Any]:
    """Pack the components' maps for the viewer, each with where and how it is shown first."""
    maps_img, mask_img = nib.load(maps_file), nib.load(mask_file)
    maps = np.asarray(maps_img.dataobj, dtype=np.float32)
    mask = Volume(np.asarray(mask_img.dataobj, dtype=np.float32), mask_img.affine)
    volumes = [Volume(maps[..., number], maps_img.affine) for number in range(maps.shape[-1])]
    packed = pack_viewer(volumes, mask, *read_template(template_file))
    for component, entry in zip(components, packed["maps"], strict=True):
        component["codes"] = entry.pop("codes")
        entry |= {key: component[key] for key in ("threshold", "brightest", "place")} | {
            "label": component["component"]
        }
    return packed


def read_parts(names: Sequence[str]) -> list[str]:
    """Read the page's own scripts or style; they stand in it as they are."""
    return ["\n" + (REPORT_DIR / name).read_text(encoding="utf-8") for name in names]


def content_policy(scripts: Sequence[str]) -> str:
    """Allow the page its own scripts, named by their hashes, its style and pictures inside it; nothing else."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii") for script in scripts]
    allowed = " ".join(f"'sha256-{found}'" for found in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; img-src data:; style-src 'unsafe-inline'; base-uri 'none';"
        " form-action 'none'"
    )


def versions() -> list[tuple[str, str]]:
    """List Python and the packages that make the numbers and the figures."""
    return [("Python", platform.python_version()), *((name, importlib.metadata.version(name)) for name in PACKAGES)]


def make_template() -> jinja2.Template:
    """Load the page's template: escaping always on, an undefined name is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(REPORT_DIR),
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
    return environment.get_template("report.html.jinja")


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
    maps: str,
    mask: str,
    template: str,
    figures: list[str],
    thumbnails: list[str],
    thresholds: str,
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
        thresholds=group_by_component(read_table(thresholds)),
    )
    add_pictures(components, figures, thumbnails)
    n_with_terms, without_terms = count_missing_terms(
        (row for table in term_status for row in read_table(table)), [row["image_id"] for row in used]
    )
    n_used = Counter(row["collection_id"] for row in used)
    words = read_table(vocabulary)
    scripts = read_parts(SCRIPTS)
    for component in components:
        component["flags"] = flags_of(component)
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
        packed=pack_components(components, maps, mask, template),
        scripts=scripts,
        policy=content_policy(scripts),
        style=read_parts(["report.css"])[0],
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
