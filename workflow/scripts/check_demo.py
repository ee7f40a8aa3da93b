"""Score a run on the demo archive: planted networks recovered and named, and faulty images rejected."""

import logging

import nibabel
from neurovault_ica.demo.score import (
    fates,
    in_common_mask,
    labels_of,
    match_planted,
    score_generic_terms,
    score_images,
    score_names,
    score_networks,
    score_term_maps,
    significant_terms,
    strongest_terms,
    summarise,
)
from neurovault_ica.runtime.log import log_to
from neurovault_ica.runtime.tables import read_table, write_table


def main(
    networks_img: str,
    networks: str,
    truth_images: str,
    components: str,
    terms: str,
    names: str,
    map_terms: str,
    images: str,
    rejected: str,
    recovery: str,
) -> None:
    """Compare the results with the truth, and write one row for each check."""
    planted, maps = in_common_mask(nibabel.load(networks_img), nibabel.load(components))
    partner, abs_r = match_planted(planted, maps)
    ranked = read_table(terms)
    significant = significant_terms(ranked)
    found = labels_of(partner, len(maps))
    truth_networks = read_table(networks)
    scores = score_networks(truth_networks, found, abs_r, strongest_terms(ranked), significant)
    scores += score_names(truth_networks, found, read_table(names))
    scores += score_term_maps(truth_networks, found, read_table(map_terms))
    scores += score_generic_terms(significant)
    truth = read_table(truth_images)
    scores += score_images(truth, fates(truth, read_table(images), read_table(rejected)))
    write_table(recovery, scores)
    log = logging.info if all(row["passed"] for row in scores) else logging.warning
    log("%s", summarise(scores))


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    main(**snakemake.input, **snakemake.output, **snakemake.params)
