"""Select the images of a run: read the metadata, apply the criteria, limit each collection, draw at random."""

from neurovault_ica.archive.selected_tables import write_selection as main
from neurovault_ica.runtime.log import log_to

if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    main(**snakemake.input, **snakemake.output, **snakemake.params, network=snakemake.config["download_images"])
