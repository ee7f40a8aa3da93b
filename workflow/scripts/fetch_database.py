"""Get the files of Neurosynth's database of coordinates. If there is no network, the run continues without it."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurovault_ica.archive.neurosynth_database import get_database
from neurovault_ica.runtime.commands import command_for
from neurovault_ica.runtime.log import log_to
from neurovault_ica.runtime.tables import write_table


def main(
    *, files: str, database: str, vocabulary: str, data_dir: str, offline: bool, network: Mapping[str, Any]
) -> None:
    """Write one row for each file of the database: where it is, its size and its checksum."""
    folder = Path(data_dir) / "neurosynth"
    rows = get_database(database, vocabulary, folder, network, offline=offline)
    write_table(files, rows)
    missing = [row for row in rows if row["status"] != "ok"]
    if missing:
        reasons = ", ".join(sorted({row["reason"] for row in missing}))
        logging.warning(
            "%d of %d files of Neurosynth's database could not be fetched (%s), so there are no term maps to name the"
            " components. To fetch them later: %s",
            len(missing),
            len(rows),
            reasons,
            command_for("update", results=Path(files).parents[1]),
        )
    else:
        logging.info("all %d files of Neurosynth's database are in %s", len(rows), folder)


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    main(**snakemake.output, **snakemake.params, network=snakemake.config["download_images"])
