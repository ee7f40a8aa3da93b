"""Find settings that are valid on their own but not in combination, and files that do not exist.

Snakemake imports this module while it reads the Snakefile. So it may import only what Snakemake itself depends on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

from neurovault_ica.archive.archive import find_contradictions, open_archive
from neurovault_ica.archive.conditions import compile_term
from neurovault_ica.archive.database_files import explain_database
from neurovault_ica.configuration.named_files import (
    archive_files,
    atlas_files,
    filter_files,
    mask_file,
    reference_files,
    term_database,
)
from neurovault_ica.naming.name_files import is_image_file
from neurovault_ica.naming.nilearn_atlases import NILEARN_ATLASES, suggest_atlas
from neurovault_ica.naming.own_names import find_problems
from neurovault_ica.naming.region_atlases import AAL3
from neurovault_ica.naming.term_files import explain_term_maps
from neurovault_ica.runtime.files import starting_folder

# Values of keys that otherwise name a file, and how users spell them.
NOT_FILES = {
    "plot_components.atlas": f"; give a NIfTI file, {AAL3} or null",
    "mask_images.mask": "; give a NIfTI file, brain or gray_matter",
}
SPELLINGS = {
    "plot_components.atlas": {AAL3: AAL3},
    "mask_images.mask": {"brain": "brain", "gray_matter": "gray_matter", "grey_matter": "gray_matter"},
}


def find_mistakes(config: Mapping[str, Any]) -> Iterator[str]:
    """Describe the mistakes that the schema cannot find, in one line each."""
    yield from _wrong_terms(config)
    archive = config["archive"]
    yield from find_contradictions(archive)
    named = [(f"archive.{key}", file) for key, file in archive_files(config).items()]
    named += [("mask_images.mask", file) for file in mask_file(config)]
    named += [(f"fetch_metadata.{key}", file) for key, file in filter_files(config).items()]
    named += [("plot_components.atlas", file) for file in atlas_files(config)]
    named += [("match_networks.reference", file) for file in reference_files(config)]
    for key, file in named:
        if not Path(file).is_file():
            other = NOT_FILES.get(key, "")
            spelling = SPELLINGS.get(key, {}).get(file.lower().replace("-", "_"))
            if spelling:
                yield f"{key}: {json.dumps(file)} is written {spelling}"
                continue
            yield f"{key}: file not found: {file}{starting_folder(file)}{other}"
    if archive["lock"] is not None and Path(archive["lock"]).resolve().parent == Path("results/write_lock").resolve():
        yield (
            f"archive.lock: {archive['lock']} will be overwritten by this run; copy it to another folder and give the"
            " path of the copy"
        )
    yield from _too_few_images(config)
    quality = config["stack_images"]["quality"] or {}
    least, most = quality.get("min_peak"), quality.get("max_peak")
    if least is not None and most is not None and least > most:
        yield (
            f"stack_images.quality.min_peak: {least} is above max_peak, {most}, so all Z and T maps would be rejected;"
            " lower min_peak or raise max_peak"
        )
    yield from find_problems(config)
    yield from _impossible_reference(config)
    yield from _nameless_maps(config)
    database, vocabulary = term_database(config), config["build_term_maps"]["vocabulary"]
    if database and (problem := explain_database(database, vocabulary)):
        yield f"build_term_maps.database: {problem}"
    if config["fetch_terms"]["source"] == "database" and database is None:
        found = json.dumps(config["build_term_maps"]["database"])
        yield (
            f'fetch_terms.source: "database" needs term maps, but build_term_maps.database is {found}; expected:'
            " neurosynth or a folder there, or server or null here"
        )
    if config["download_images"]["resample"] and not open_archive(archive).may_write:
        yield (
            "download_images.resample: true is not possible offline or with a table, because resampled copies would be"
            " written to the folder of the images; expected: false"
        )


def _wrong_terms(config: Mapping[str, Any]) -> Iterator[str]:
    for name in ("collection_terms", "image_terms"):
        for key, term in config["fetch_metadata"][name].items():
            try:
                compile_term(f"fetch_metadata.{name}.{key}", term)
            except ValueError as error:
                yield str(error)


def _too_few_images(config: Mapping[str, Any]) -> Iterator[str]:
    """Find numbers of components above the number of images, as far as the configuration limits that number."""
    archive, section, orders = config["archive"], config["fetch_metadata"], config["scan_components"]["orders"]
    wanted = {"run_ica.n_components": config["run_ica"]["n_components"], "scan_components.orders": max(orders or [0])}
    limits: dict[str, int] = {}
    if archive["lock"] is not None:
        if not Path(archive["lock"]).is_file():
            return
        lines = Path(archive["lock"]).read_bytes().splitlines()
        limits[f"lines of archive.lock {archive['lock']}"] = max(sum(bool(line.strip()) for line in lines) - 1, 0)
    else:
        if section["max_images"] is not None:
            limits["fetch_metadata.max_images"] = section["max_images"]
        if section["image_ids"] is not None and section["collection_ids"] is None:
            limits["images in fetch_metadata.image_ids"] = len(set(section["image_ids"]))
    for (name, number), (key, order) in product(limits.items(), wanted.items()):
        if number < order:
            yield (
                f"{key}: {order} components need at least as many images, but there are only {number} ({name}); lower"
                f" {key.partition('.')[2]}"
            )


def _nameless_maps(config: Mapping[str, Any]) -> Iterator[str]:
    """Find term maps without names, and an atlas of regions without names or with two sets of names."""
    if (maps := config["project_terms"]["term_maps"]) and (problem := explain_term_maps(maps)):
        yield f"project_terms.term_maps: {problem}"
    section = config["plot_components"]
    if section["atlas"] == AAL3 and section["atlas_names"]:
        yield (
            f"plot_components.atlas_names: {json.dumps(section['atlas_names'])} is not valid with atlas {AAL3}, which"
            " has names of its own; expected: null"
        )
    if len(atlas_files(config)) == 1 and Path(section["atlas"]).is_file():
        yield (
            f"plot_components.atlas_names: null is not valid, because {section['atlas']} has no file"
            " of names with the same name (.tsv, .txt, .xml) in its folder; expected: the path of a file of names"
        )


def _impossible_reference(config: Mapping[str, Any]) -> Iterator[str]:
    """Find a reference that is neither a file nor a known atlas, or an atlas that cannot be fetched offline."""
    reference, archive = config["match_networks"]["reference"], config["archive"]
    if reference is None or is_image_file(reference):
        return
    problem = f"match_networks.reference: {json.dumps(reference)} "
    if reference not in NILEARN_ATLASES:
        yield (
            f"{problem}is neither a NIfTI file (.nii, .nii.gz) nor an atlas of networks that nilearn has or can fetch;"
            f" {suggest_atlas(reference)}known atlases: {', '.join(NILEARN_ATLASES)}"
        )
    elif NILEARN_ATLASES[reference].is_downloaded and open_archive(archive).forbids_network:
        yield (
            f"{problem}would be downloaded, but this run is offline; give the path of the atlas's NIfTI file (nilearn"
            " keeps it in ~/nilearn_data), or seitzman_2018, which comes with nilearn"
        )
