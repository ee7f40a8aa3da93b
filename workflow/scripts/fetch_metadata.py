"""Select the images of a run: read the metadata, apply the criteria, limit each collection, draw at random."""

import logging
from pathlib import Path

from neurovault_ica.archive.archive import open_archive
from neurovault_ica.archive.disk_space import check, is_same_disk
from neurovault_ica.archive.lock import locked_images
from neurovault_ica.archive.selected_tables import write_selection as main
from neurovault_ica.runtime.log import log_to
from neurovault_ica.runtime.tables import read_table

if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    main(**snakemake.input, **snakemake.output, **snakemake.params, network=snakemake.config["download_images"])
    images, results = read_table(snakemake.output.images), Path(snakemake.output.images).parents[1]
    archive = open_archive(snakemake.params.archive)
    to_download = archive.bytes_to_download(images, locked_images(snakemake.input.get("lock") or None))
    here = to_download if is_same_disk(archive.data_dir, results) else 0
    for line in check(snakemake.config, len(images), results, to_download=here):
        logging.info("%s", line)
