"""Write the files for a rerun and a paper: lock of the images, record of the run, methods text and references.

The files contain no dates and no user names, so the same run gives the same files.
"""

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neurovault_ica.archive.archive import open_archive
from neurovault_ica.archive.lock import lock_rows
from neurovault_ica.record.bibliography import collection_entries, references_text
from neurovault_ica.record.environment import environment
from neurovault_ica.record.facts import run_facts
from neurovault_ica.record.methods_text import methods_text
from neurovault_ica.runtime.files import remove_stale, replacing, sha256_of, write_json
from neurovault_ica.runtime.log import log_to
from neurovault_ica.runtime.tables import read_optional, read_table, write_table
from neurovault_ica.runtime.wording import counted


def main(
    *,
    selection: str,
    collections: str,
    downloads: list[str],
    term_status: list[str],
    images: str,
    rejected: str,
    decomposition: str,
    stability: str,
    terms: str,
    enrichment: str,
    map_terms: str,
    names: str,
    mixture: str | list[str],
    networks: str | list[str],
    built_terms: str | Sequence[str] = (),
    results: list[str],
    lock: str,
    run: str,
    methods: str,
    references: str,
    settings: Mapping[str, Any],
    data_dir: str,
) -> None:
    """Write the lock, the record of the run, the methods text and the references.

    `mixture` is empty if no mixture was fitted, and `networks` if no reference is configured. run.json records the
    checksums of `results`.
    """
    # A run with more batches has left tables of the others.
    for tables in (downloads, term_status):
        remove_stale(tables[0], "status-*.tsv", keep=tables)
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
        terms=read_table(terms),
        labels=read_table(enrichment),
        map_terms=read_table(map_terms),
        names=read_table(names),
        stability=read_table(stability),
        networks=read_optional(networks),
        mixtures=read_optional(mixture),
    )
    facts["built_term_maps"] = len(read_optional(built_terms))
    resampled = settings["download_images"]["resample"]
    files = [row for table in downloads for row in read_table(table)]
    named = [row for table in term_status for row in read_table(table)]
    write_table(lock, lock_rows(chosen, studies, files, named, {row["image_id"] for row in used}, resampled=resampled))
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
    entries, without = collection_entries(
        studies,
        Counter(row["collection_id"] for row in used),
        archive=open_archive(settings["archive"]).public_name,
    )
    paragraphs = methods_text(facts, decomposed, settings)
    for path, text in ((methods, paragraphs), (references, references_text(entries, without, paragraphs))):
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    logging.info(
        "%s in the lock; %s of collections to cite; %s without a DOI",
        counted(len(chosen), "image"), counted(len(entries), "paper"), counted(len(without), "collection"),
    )  # fmt: skip


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    main(**snakemake.input, **snakemake.output, **snakemake.params)
