"""Put figures, tables and maps into one self-contained page.

Names, descriptions and addresses come from the archive: the template escapes all of them, links only to http(s)
addresses, and the page forbids itself all scripts but its own two and anything that is not inside it.
"""

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from neurovault_ica.archive.archive import open_archive
from neurovault_ica.figures.slices import read_template
from neurovault_ica.images.maps import read_maps
from neurovault_ica.naming.names import read_names
from neurovault_ica.report.charts import stability_chart
from neurovault_ica.report.page import content_policy, list_settings, make_template, read_scripts, read_style
from neurovault_ica.report.pictures import read_figure, read_glass, read_thumbnail
from neurovault_ica.report.tables import (
    REASONS,
    TERMS_SHOWN,
    count_missing_terms,
    describe_components,
    describe_images,
    explain_rejections,
    funnel,
    group_by_component,
)
from neurovault_ica.report.text import read_markdown
from neurovault_ica.report.viewer import pack_viewer
from neurovault_ica.report.warnings import find_warnings, flags_of
from neurovault_ica.runtime.files import replacing
from neurovault_ica.runtime.ids import natural_key
from neurovault_ica.runtime.log import log_to
from neurovault_ica.runtime.tables import read_table
from neurovault_ica.statistics.exchanged_collections import MIN_COLLECTIONS
from neurovault_ica.statistics.p_values import SIGNIFICANT_Q
from neurovault_ica.types import Row

LONGEST_TABLE = 2000


def pack_components(components: Sequence[Row], maps_file: str, mask_file: str, template_file: str) -> dict[str, Any]:
    """Pack the components' maps for the viewer, each with where and how it is shown first."""
    packed = pack_viewer(read_maps(maps_file, mask_file), *read_template(template_file))
    for component, entry in zip(components, packed["maps"], strict=True):
        component["codes"] = entry.pop("codes")
        entry |= {key: component[key] for key in ("threshold", "negative_threshold", "brightest", "place")}
        entry["label"] = component["component"]
    return packed


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
    names: str,
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
        names=read_names(names),
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
    scripts = read_scripts()
    page = make_template().render(
        archive=open_archive(settings["archive"]),
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
        collections=[studies[number] | {"used": n_used[number]} for number in sorted(n_used, key=natural_key)],
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
        style=read_style(),
        recovery=checks,
        flags=settings["run_ica"]["flags"],
        threshold=settings["plot_components"]["threshold"],
        settings=list_settings(settings),
        software=json.loads(Path(run).read_text(encoding="utf-8"))["software"],
        methods=read_markdown(Path(methods).read_text(encoding="utf-8")),
        references=Path(references).read_text(encoding="utf-8"),
    )
    with replacing(report) as temporary:
        temporary.write_text(page, encoding="utf-8")
    logging.info("report of %d components, %.1f MB", len(components), len(page) / 1e6)


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    main(**snakemake.input, **snakemake.output, **snakemake.params)
