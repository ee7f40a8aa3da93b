"""Put figures, tables and maps into one self-contained page.

Names, descriptions and URLs come from the archive, so the template escapes them all and links only to http(s) URLs. A
security policy allows the page to run its own scripts only, and to load nothing from other servers.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from neurovault_ica.archive.archive import open_archive
from neurovault_ica.figures.slices import read_template
from neurovault_ica.images.maps import read_maps
from neurovault_ica.images.surface_files import read_mesh
from neurovault_ica.naming.names import read_names
from neurovault_ica.report.charts import trust_chart
from neurovault_ica.report.page import render_page
from neurovault_ica.report.pictures import add_pictures, add_surface_pictures, read_chart, read_glass, read_scan
from neurovault_ica.report.surface_viewer import pack_surface
from neurovault_ica.report.tables import (
    TERMS_SHOWN,
    count_missing_terms,
    describe_components,
    describe_selection,
    read_by_component,
)
from neurovault_ica.report.take import add_files, describe_files, link_to
from neurovault_ica.report.text import read_markdown
from neurovault_ica.report.trust import add_verdicts
from neurovault_ica.report.viewer import pack_components
from neurovault_ica.report.warnings import find_warnings
from neurovault_ica.runtime.files import replacing
from neurovault_ica.runtime.log import log_to
from neurovault_ica.runtime.tables import read_optional, read_table


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
    thresholded: str,
    peaks: str,
    glass: str,
    run: str,
    methods: str,
    references: str,
    report: str,
    settings: Mapping[str, Any],
    recovery: str | list[str],
    database: str | Sequence[str] = (),
    networks: str | list[str],
    network_figures: list[str],
    surface_figures: Sequence[str] = (),
    surface_views: Sequence[str] = (),
    glass_brains: Sequence[str] = (),
    hemispheres: Sequence[str] = (),
    mesh: str | Sequence[str] = (),
    scan: Sequence[str] = (),
    **page_figures: str | Sequence[str],
) -> None:
    """Render the page. Inputs from rules that did not run are empty. `page_figures`: a file, or one per component."""
    used, refused, checks = read_table(images), read_table(rejected), read_optional(recovery)
    studies = {row["collection_id"]: row for row in read_table(collections)}
    decomposed = json.loads(Path(decomposition).read_text(encoding="utf-8"))

    components = describe_components(
        stability=read_table(stability), mixing=read_table(mixing), names=read_names(names),
        collection_of={row["image_id"]: row["collection_id"] for row in used},
        **read_by_component(
            thresholds=thresholds, images=top_images, collections=top_collections, terms=terms, enrichment=enrichment,
            map_terms=map_terms, peaks=peaks, networks=networks,
        ),
    )  # fmt: skip
    charts = {name: paths for name, paths in page_figures.items() if not isinstance(paths, str)}
    add_pictures(components, figures=figures, thumbnails=thumbnails, networks=network_figures, charts=charts)
    add_surface_pictures(components, surface_figures, surface_views, glass_brains)
    extent = settings["plot_components"]["min_cluster_mm3"]
    add_files(
        components, figures=figures, networks=network_figures, charts=charts, surfaces=surface_figures,
        hemispheres=hemispheres, report=report, maps=maps, mask=mask, template=template, thresholded=thresholded,
        min_cluster_mm3=extent,
    )  # fmt: skip
    add_verdicts(components, settings["run_ica"]["flags"], decomposed)

    found = read_maps(maps, mask)
    n_with_terms, without_terms = count_missing_terms(
        (row for table in term_status for row in read_table(table)), [row["image_id"] for row in used]
    )
    warnings = find_warnings(
        components=components, decomposition=decomposed, n_images=len(used), n_rejected=len(refused),
        n_with_terms=n_with_terms, recovery=checks, database=read_optional(database),
    )  # fmt: skip
    words = read_table(vocabulary)
    page = render_page(
        settings,
        archive=open_archive(settings["archive"]),
        computed=datetime.fromtimestamp(Path(decomposition).stat().st_mtime, UTC),
        components=components,
        decomposition=decomposed,
        chart=trust_chart(components, settings["run_ica"]["flags"]),
        **describe_files(components, found, probe=link_to(thumbnails[0], report)),
        over_collections=[row["r_bootstraps"] for row in components if row["r_bootstraps"] is not None],
        over_halves=[row["r_split_half"] for row in components if row["r_split_half"] is not None],
        warnings=warnings,
        **describe_selection(read_table(selection), used, refused, studies),
        glass=read_glass(glass),
        scan=read_scan(scan, images),
        figures={name: read_chart(file) for name, file in page_figures.items() if isinstance(file, str)},
        n_with_terms=n_with_terms,
        without_terms=without_terms,
        vocabulary=words[:TERMS_SHOWN],
        n_vocabulary=len(words),
        variance=read_table(variance),
        surface=pack_surface(read_mesh(mesh)) if isinstance(mesh, str) else None,
        packed=pack_components(components, found, *read_template(template), extent),
        recovery=checks,
        software=json.loads(Path(run).read_text(encoding="utf-8"))["software"],
        methods=read_markdown(Path(methods).read_text(encoding="utf-8")),
        references=Path(references).read_text(encoding="utf-8"),
    )
    with replacing(report) as temporary:
        temporary.write_text(page, encoding="utf-8")
    logging.info("wrote the page, %.1f MB", len(page) / 1e6)


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    main(**snakemake.input, **snakemake.output, **snakemake.params)
