"""List the user's files that the configuration names, as inputs of rules.

Snakemake imports this module while it reads the Snakefile. So it may import only what Snakemake itself depends on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neurovault_ica.archive.archive import open_archive
from neurovault_ica.archive.database_files import DEMO, files_of_database
from neurovault_ica.naming.name_files import is_image_file, names_beside
from neurovault_ica.naming.region_atlases import AAL3
from neurovault_ica.naming.term_files import files_of_term_maps


def mask_file(config: Mapping[str, Any]) -> list[str]:
    """List the file of the mask; empty for nilearn's masks."""
    mask = config["mask_images"]["mask"]
    return [] if mask in ("brain", "gray_matter") else [mask]


def reference_files(config: Mapping[str, Any]) -> list[str]:
    """List the file of reference networks and the file of their names; empty for an atlas of nilearn."""
    reference = config["match_networks"]["reference"]
    if reference is None or not is_image_file(reference):
        return []
    names = names_beside(reference)
    return [reference, names] if names else [reference]


def atlas_files(config: Mapping[str, Any]) -> list[str]:
    """List the file of the atlas of regions and the file of their names; empty for an atlas of a package."""
    section = config["plot_components"]
    if section["atlas"] in (None, AAL3):
        return []
    names = section["atlas_names"] or names_beside(section["atlas"])
    return [section["atlas"], names] if names else [section["atlas"]]


def term_map_files(config: Mapping[str, Any]) -> list[str]:
    """List the files of the term maps."""
    path = config["project_terms"]["term_maps"]
    return files_of_term_maps(path) if path is not None else []


def term_database(config: Mapping[str, Any]) -> str | None:
    """Return the database of coordinates, or None. The simulated database is used only with the demo's images."""
    database = config["build_term_maps"]["database"]
    return None if database == DEMO and not open_archive(config["archive"]).is_demo else database


def database_files(config: Mapping[str, Any]) -> list[str]:
    """List the user's own files of the database of coordinates."""
    return files_of_database(term_database(config), config["build_term_maps"]["vocabulary"])


def filter_files(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the Python files with the user's filters, by their key in the section ``fetch_metadata``."""
    given = {key: config["fetch_metadata"][key] for key in ("collection_filter", "image_filter")}
    return {key: reference.rpartition(":")[0] for key, reference in given.items() if reference is not None}


def user_files(config: Mapping[str, Any]) -> list[str]:
    """List all files of the user that the configuration names, except the images. A rerun elsewhere needs them."""
    return [
        *archive_files(config).values(),
        *filter_files(config).values(),
        *mask_file(config),
        *reference_files(config),
        *database_files(config),
        *term_map_files(config),
        *atlas_files(config),
        *filter(None, [config["plot_components"]["labels"]]),
    ]


def archive_files(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the lock and the user's files that the archive reads, by their key in the section ``archive``."""
    lock = config["archive"]["lock"]
    return open_archive(config["archive"]).files | ({"lock": lock} if lock else {})
