"""Sentences for the terminal: how old the archive is, which term maps are missing, and which results are left over.

Snakemake imports this module while it reads the Snakefile. So it may import only what Snakemake itself depends on.
"""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from neurovault_ica.archive.base import Archive
from neurovault_ica.archive.database_files import is_downloaded
from neurovault_ica.runtime.commands import Call
from neurovault_ica.runtime.recovery import times_of
from neurovault_ica.runtime.tables import read_table
from neurovault_ica.runtime.wording import listed

# Files that are written when the archive is read.
LAST_LOOK = ("results/fetch_metadata/selection.tsv", "results/look_again/looked.json")


def last_look(archive: Archive, call: Call) -> Iterator[str]:
    """Say when the archive was last read. Yield nothing if it has not been read, or if this run reads it."""
    times = [moment for moment in times_of(*LAST_LOOK).values() if moment]
    if times and "update" not in call.arguments:
        date = time.strftime("%Y-%m-%d %H:%M", time.localtime(max(times)))
        yield f"{archive.label} was last read on {date}. To look for new images: {call.for_target('update')}\n"


def missing_maps(config: Mapping[str, Any], database: str | None, call: Call) -> Iterator[str]:
    """Say at the end of a run why it computed no term maps, and where its names come from.

    Parameters
    ----------
    config : mapping
        The whole configuration.
    database : str or None
        The database of this run: None if ``build_term_maps.database`` is the demo's, but the images are not.
    call : Call
    """
    wanted = config["build_term_maps"]["database"]
    sources = [
        *(["your term maps"] if config["project_terms"]["term_maps"] else []),
        *(["term weights"] if config["fetch_terms"]["source"] == "server" else []),
        "metadata",
    ]
    names = f"Names come from {listed(sources)}."
    if wanted is not None and database is None:
        yield (
            "No term maps were computed: build_term_maps.database is demo, which is only for simulated images."
            f" {names} To name components by term maps, set it to neurosynth or to a folder.\n"
        )
    table = Path("results/fetch_database/files.tsv")
    if database is None or not is_downloaded(database) or not table.is_file():
        return
    reasons = sorted({row["reason"] for row in read_table(table) if row["status"] != "ok"})
    if reasons:
        yield (
            f"No term maps were computed: Neurosynth's database could not be fetched ({', '.join(reasons)}). {names} To"
            f" fetch it later: {call.for_target('update')}\n"
        )


def left_over(stages: Mapping[str, Any]) -> Iterator[str]:
    """Say which stages have results although they are switched off. `stages` has names, and whether they are on."""
    folders = [f"results/{name}" for name, is_on in stages.items() if not is_on and Path("results", name).is_dir()]
    if folders:
        yield (
            f"Left from an earlier configuration, and not used by this run: {listed(folders)}. To delete"
            f" {'it' if len(folders) == 1 else 'them'}: rm -r {' '.join(folders)}\n"
        )
