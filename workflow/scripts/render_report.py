"""Put figures, tables and maps into one self-contained page.

Names, descriptions and addresses come from the archive: the template escapes all of them, links only to http(s)
addresses, and the page forbids itself all scripts but its own two and anything that is not inside it.
"""

import base64
import functools
import hashlib
import io
import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt
import yaml
from drawing import NEGATIVE, POSITIVE, read_template
from filters import as_configured
from maps import read_maps
from outputs import WORKFLOW_DIR, read_table, replacing
from page_charts import stability_chart
from page_tables import (
    REASONS,
    TERMS_SHOWN,
    count_missing_terms,
    describe_components,
    describe_images,
    explain_rejections,
    funnel,
    group_by_component,
)
from page_text import (
    doi_address,
    format_number,
    format_q,
    percent,
    read_markdown,
    safe_address,
    shorten,
)
from page_warnings import find_warnings, flags_of
from PIL import Image
from significance import MIN_COLLECTIONS, SIGNIFICANT_Q, is_significant
from stage_log import log_to
from viewer import pack_viewer

Row = dict[str, Any]

REPORT_DIR = WORKFLOW_DIR / "report"
DEFAULTS_FILE = WORKFLOW_DIR.parent / "config.yaml"
SCRIPTS = ("viewer.js", "report.js")
LONGEST_TABLE = 2000
# Glass brains show what is at least this share of an image's brightest.
GLASS_THRESHOLD = 0.3
GLASS_LEVELS = 16
GLASS_GREY = (0.5, 0.53, 0.57, 0.27)


def data_uri(image: Image.Image, kind: str, **options: Any) -> str:
    """Turn a picture into a data address."""
    packed = io.BytesIO()
    image.save(packed, kind, **options)
    return f"data:image/{kind.lower()};base64," + base64.b64encode(packed.getvalue()).decode("ascii")


def read_figure(figure: str) -> str:
    """Read a figure; as WebP a fifth of the size of the PNG and half of that of a JPEG, its text still sharp."""
    with Image.open(figure) as image:
        return data_uri(image.convert("RGB"), "WEBP", quality=90, method=4)


def read_thumbnail(file: str) -> Row:
    """Read a thumbnail, transparent around the brain, and its size in pixels."""
    with Image.open(file) as image:
        return {"picture": data_uri(image.convert("RGBA"), "WEBP", quality=80, method=2), "size": image.size}


def draw_glass(codes: npt.NDArray[np.int8], outline: npt.NDArray[np.bool_]) -> str:
    """Colour a glass brain of plot_images on a grey outline, transparent around it."""
    size = np.abs(codes.astype(np.int16))
    levels = np.arange(GLASS_LEVELS)
    steps = np.minimum(size * GLASS_LEVELS // 128, GLASS_LEVELS - 1)
    chosen = np.where(size >= GLASS_THRESHOLD * 127, 2 + steps + GLASS_LEVELS * (codes < 0), outline)
    colours = [POSITIVE(levels / GLASS_LEVELS), NEGATIVE(levels / GLASS_LEVELS)]
    palette = np.vstack([[(1, 1, 1, 0), GLASS_GREY], *colours])
    image = Image.fromarray(chosen.astype(np.uint8), "P")
    image.putpalette(np.round(255 * palette).astype(np.uint8).tobytes(), "RGBA")
    return data_uri(image, "PNG", optimize=True)


def read_glass(file: str) -> dict[int, str]:
    """Read the glass brains of images by their ids."""
    with np.load(file) as glass:
        outline = glass["outline"]
        return {
            int(number): draw_glass(codes, outline)
            for number, codes in zip(glass["image_ids"], glass["pictures"], strict=True)
        }


def pack_components(components: Sequence[Row], maps_file: str, mask_file: str, template_file: str) -> dict[str, Any]:
    """Pack the components' maps for the viewer, each with where and how it is shown first."""
    packed = pack_viewer(read_maps(maps_file, mask_file), *read_template(template_file))
    for component, entry in zip(components, packed["maps"], strict=True):
        component["codes"] = entry.pop("codes")
        entry |= {key: component[key] for key in ("threshold", "negative_threshold", "brightest", "place")}
        entry["label"] = component["component"]
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


def list_settings(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[Row]:
    """List the configuration, each value with whether the workflow's own config.yaml has another one.

    Returns
    -------
    list of dict
        ``key`` as in ``run_ica.n_components``, ``value`` and ``default`` as YAML, ``differs``.
    """
    rows = []
    for section, values in settings.items():
        known = defaults.get(section, {})
        pairs = (
            [(f"{section}.{key}", value, known.get(key)) for key, value in values.items()]
            if isinstance(values, Mapping)
            else [(section, values, known)]
        )
        for key, *both in pairs:
            value, default = (as_configured(one) for one in both)
            rows.append({"key": key, "value": value, "default": default, "differs": value != default})
    return rows


@functools.cache
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
    top_images: str,
    top_collections: str,
    terms: str,
    vocabulary: str,
    enrichment: str,
    map_terms: str,
    maps: str,
    mask: str,
    template: str,
    figures: list[str],
    thumbnails: list[str],
    thresholds: str,
    mixture_figures: list[str],
    peaks: str,
    image_figures: list[str],
    glass: str,
    relation_figures: list[str],
    run: str,
    methods: str,
    references: str,
    report: str,
    settings: Mapping[str, Any],
    recovery: str | list[str],
    networks: str | list[str],
    network_figures: list[str],
) -> None:
    """Render the page. `recovery` is empty but in a demo run, `networks` where no reference is configured.

    `mixture_figures` is empty where the threshold is not by a mixture.
    """
    used, refused = read_table(images), read_table(rejected)
    studies = {row["collection_id"]: row for row in read_table(collections)}
    checks = read_table(recovery) if isinstance(recovery, str) else []
    decomposed = json.loads(Path(decomposition).read_text(encoding="utf-8"))
    components = describe_components(
        stability=read_table(stability),
        thresholds=group_by_component(read_table(thresholds)),
        mixing=read_table(mixing),
        collection_of={row["image_id"]: row["collection_id"] for row in used},
        images=group_by_component(read_table(top_images)),
        collections=group_by_component(read_table(top_collections)),
        terms=group_by_component(read_table(terms)),
        enrichment=group_by_component(read_table(enrichment)),
        map_terms=group_by_component(read_table(map_terms)),
        peaks=group_by_component(read_table(peaks)),
        networks=group_by_component(read_table(networks) if isinstance(networks, str) else []),
    )
    none = [""] * len(components)
    for component, figure, thumbnail, network, mixture in zip(
        components, figures, thumbnails, network_figures or none, mixture_figures or none, strict=True
    ):
        component |= {"figure": read_figure(figure), "thumbnail": read_thumbnail(thumbnail)}
        component |= {"network_figure": network and read_figure(network), "mixture": mixture and read_figure(mixture)}
        component["warnings"] = flags_of(component)
    n_with_terms, without_terms = count_missing_terms(
        (row for table in term_status for row in read_table(table)), [row["image_id"] for row in used]
    )
    n_used = Counter(row["collection_id"] for row in used)
    words = read_table(vocabulary)
    scripts = read_parts(SCRIPTS)
    page = make_template().render(
        is_demo=settings["archive"]["source"] == "demo",
        archive=settings["archive"],
        computed=datetime.fromtimestamp(Path(decomposition).stat().st_mtime, UTC),
        components=components,
        decomposition=decomposed,
        chart=stability_chart(components, settings["run_ica"]["flags"]["min_r_bootstraps"]),
        over_collections=[row["r_bootstraps"] for row in components if row["r_bootstraps"] is not None],
        warnings=find_warnings(
            components=components,
            decomposition=decomposed,
            n_images=len(used),
            n_rejected=len(refused),
            n_with_terms=n_with_terms,
            recovery=checks,
        ),
        images=describe_images(used[:LONGEST_TABLE], refused[:LONGEST_TABLE]),
        n_images=len(used),
        n_rejected=len(refused),
        collections=[studies[number] | {"used": n_used[number]} for number in sorted(n_used)],
        studies=studies,
        reasons=explain_rejections(refused),
        reason_texts=REASONS,
        steps=funnel(read_table(selection), refused),
        glass=read_glass(glass),
        image_figures=[read_figure(figure) for figure in image_figures],
        relation_figures=[read_figure(figure) for figure in relation_figures],
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
        flags=settings["run_ica"]["flags"],
        threshold=settings["plot_components"]["threshold"],
        settings=list_settings(settings, yaml.safe_load(DEFAULTS_FILE.read_text(encoding="utf-8"))),
        software=json.loads(Path(run).read_text(encoding="utf-8"))["software"],
        methods=read_markdown(Path(methods).read_text(encoding="utf-8")),
        references=Path(references).read_text(encoding="utf-8"),
    )
    with replacing(report) as temporary:
        temporary.write_text(page, encoding="utf-8")
    logging.info("report of %d components, %.1f MB", len(components), len(page) / 1e6)


if __name__ == "__main__":
    log_to(snakemake.log[0])
    main(**snakemake.input, **snakemake.output, **snakemake.params)
