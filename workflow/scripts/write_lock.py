"""Write what a rerun and a paper need: images with hashes, versions, a methods paragraph, references.

Nothing here depends on when or by whom the workflow is run: the same results give the same files.
"""

import importlib.metadata
import json
import logging
import platform
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np  # loads the BLAS library, too, whose version is written
from bibliography import clean_doi, collection_entries, references_text
from lock import lock_rows
from methods_text import methods_text
from outputs import read_table, replacing, sha256_of, write_json, write_table
from significance import is_significant
from stage_log import log_to
from threadpoolctl import threadpool_info

Row = dict[str, Any]

PACKAGES = (
    "snakemake", "nilearn", "scikit-learn", "nibabel", "numpy", "scipy", "pandas", "matplotlib", "pillow", "jinja2",
    "threadpoolctl",
)  # fmt: skip


def environment() -> dict[str, Any]:
    """Tell what the numbers were computed with."""
    return {
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "libraries": sorted(
            f"{library['internal_api']} {library['version']} ({library.get('architecture', 'any')})"
            for library in threadpool_info()
        ),
        "threads": {library["internal_api"]: library["num_threads"] for library in threadpool_info()},
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": {"model": processor_model(), "features": processor_features()},
    }


def processor_model() -> str:
    """Name the processor of this machine, by which another one is known for other last digits."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        text = ""
    found = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return found[1] if found else platform.processor() or "unknown"


def processor_features() -> list[str]:
    """List the instructions of this machine by which numpy chooses how to compute, such as AVX2."""
    extensions = np.show_config(mode="dicts")["SIMD Extensions"]
    return [*extensions.get("baseline", []), *extensions.get("found", [])]


def run_facts(
    *,
    selection: list[Row],
    images: list[Row],
    rejected: list[Row],
    collections: list[Row],
    decomposition: Mapping[str, Any],
    terms: list[Row],
    labels: list[Row],
    map_terms: list[Row],
    stability: list[Row],
    networks: list[Row],
    mixtures: list[Row],
) -> dict[str, Any]:
    """Count what the methods text and run.json state."""
    n_used = Counter(row["collection_id"] for row in images)
    with_doi = {row["collection_id"] for row in collections if clean_doi(row["DOI"]) or clean_doi(row["preprint_DOI"])}
    without_doi = [row for row in selection if row["collection_id"] not in with_doi]
    tested = [row for row in terms if row["q"] is not None]
    significant = [row for row in tested if is_significant(row["q"])]
    return {
        "images_selected": len(selection),
        "collections_selected": len({row["collection_id"] for row in selection}),
        "images_used": len(images),
        "collections_used": len(n_used),
        "images_rejected": dict(sorted(Counter(row["reason"] for row in rejected).items())),
        "images_with_terms": max((row["images"] for row in terms), default=0),
        "terms": len({row["term"] for row in terms}),
        "terms_tested": len(tested),
        "terms_significant": len(significant),
        "components_with_significant_terms": len({row["component"] for row in significant}),
        "term_maps": len({row["term"] for row in map_terms}),
        "term_map_pairs_tested": sum(row["q"] is not None for row in map_terms),
        "term_map_pairs_significant": sum(is_significant(row["q"]) for row in map_terms),
        "labels_tested": sum(row["q"] is not None for row in labels),
        "labels_significant": sum(is_significant(row["q"]) for row in labels),
        "map_types": dict(sorted(Counter(_plain_word(row["map_type"]) for row in images).items())),
        "largest_collection_images": max(n_used.values(), default=0),
        "locked_images_without_doi": len(without_doi),
        "locked_collections_without_doi": len({row["collection_id"] for row in without_doi}),
        "components": decomposition["n_components"],
        "voxels": decomposition["n_voxels"],
        "variance_explained": decomposition["variance_explained"],
        "components_without_activation": sum(row["positive_share"] + row["negative_share"] == 0 for row in mixtures),
        "networks_tested": sum(row["best_q"] is not None for row in networks),
        "components_with_significant_network": sum(is_significant(row["best_q"]) for row in networks),
        "mean_best_network_r": sum(abs(row["best_r"]) for row in networks) / len(networks) if networks else None,
    } | _means_and_minima(stability)


def _means_and_minima(stability: list[Row]) -> dict[str, float | None]:
    facts: dict[str, float | None] = {}
    for name in ("iq_restarts", "r_bootstraps", "chance_r_bootstraps", "r_split_half", "chance_r_split_half"):
        values = [row[name] for row in stability if row[name] is not None]
        facts[f"mean_{name}"] = sum(values) / len(values) if values else None
        facts[f"min_{name}"] = min(values, default=None)
    return facts


def _plain_word(text: str | None) -> str:
    """Keep what is a word in Markdown too; map types come from the archive."""
    return re.sub(r"[^\w ()-]+", " ", text or "unknown", flags=re.ASCII).strip()[:40] or "unknown"


def _table_named(results: Iterable[str], name: str) -> list[Row]:
    return next((read_table(path) for path in results if Path(path).name == name), [])


def main(
    *,
    selection: str,
    collections: str,
    downloads: list[str],
    term_status: list[str],
    images: str,
    rejected: str,
    decomposition: str,
    results: list[str],
    lock: str,
    run: str,
    methods: str,
    references: str,
    settings: Mapping[str, Any],
    data_dir: str,
) -> None:
    """Write the lock, the record of the run, the methods paragraph and the references."""
    chosen, used = read_table(selection), read_table(images)
    studies = read_table(collections)
    with Path(decomposition).open(encoding="utf-8") as stream:
        decomposed = json.load(stream)
    facts = run_facts(
        selection=chosen,
        images=used,
        rejected=read_table(rejected),
        collections=studies,
        decomposition=decomposed,
        terms=_table_named(results, "desc-ICA_terms.tsv"),
        labels=_table_named(results, "desc-ICA_enrichment.tsv"),
        map_terms=_table_named(results, "desc-ICA_termmaps.tsv"),
        stability=_table_named(results, "desc-ICA_stability.tsv"),
        networks=_table_named(results, "desc-ICA_networks.tsv"),
        mixtures=_table_named(results, "desc-ICA_mixture.tsv"),
    )
    files = [row for table in downloads for row in read_table(table)]
    named = [row for table in term_status for row in read_table(table)]
    write_table(lock, lock_rows(chosen, studies, files, named, {row["image_id"] for row in used}))
    write_json(
        run,
        {
            "configuration": settings,
            "data_dir": data_dir,
            "seeds": {
                section: values["random_state"]
                for section, values in settings.items()
                if isinstance(values, Mapping) and "random_state" in values
            },
            "software": environment(),
            "counts": facts,
            "decomposition": decomposed,
            "results_sha256": {path: sha256_of(path) for path in sorted(results)},
        },
        sort_keys=False,
    )
    entries, without = collection_entries(studies, Counter(row["collection_id"] for row in used))
    paragraphs = methods_text(facts, decomposed, settings)
    for path, text in ((methods, paragraphs), (references, references_text(entries, without, paragraphs))):
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    logging.info(
        "%d images locked; %d papers of collections to cite, %d collections without a DOI",
        len(chosen), len(entries), len(without),
    )  # fmt: skip


if __name__ == "__main__":
    log_to(snakemake.log[0])
    main(**snakemake.input, **snakemake.output, **snakemake.params)
