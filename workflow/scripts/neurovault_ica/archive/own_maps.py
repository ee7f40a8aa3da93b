"""List the user's own maps that project_images projects on components: a folder, a table, or a single file.

Snakemake imports this module while it reads the Snakefile. So it may import only what Snakemake itself depends on.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from neurovault_ica.archive.own_table import read_content

NIFTI = (".nii.gz", ".nii")
# Images in other formats. They are listed to be rejected with advice on how to convert them. A pair of .hdr and .img is
# one map, listed by its .img file.
VOXELS, HEADERS = (".img", ".img.gz"), (".hdr", ".hdr.gz")
OTHER_IMAGES = (*VOXELS, *HEADERS, ".mgh", ".mgz", ".mnc", ".mnc.gz", ".brik", ".brik.gz", ".gii", ".nii.bz2",
                ".nii.zip", ".nii.xz", ".nii.zst")  # fmt: skip


# Snakemake takes these parts of a path for wildcards and for names of folders.
SPECIAL = re.compile(r"[{}]|<[a-z][a-z0-9_]*>")


class OwnMap(NamedTuple):
    """A map of the user.

    Attributes
    ----------
    name : str
        The image_id of a table, or the name of the file without extension.
    file : str
        Its path.
    map_type : str or None
        As the table says; None in a folder.
    """

    name: str
    file: str
    map_type: str | None


def list_maps(source: str) -> tuple[list[OwnMap], list[str]]:
    """List the maps of a folder and its subfolders, of a table, or of a single image file.

    Hidden files and folders are left out.

    Returns
    -------
    maps : list of OwnMap
        Their names are unique.
    warnings : list of str
        What looks wrong in the table.

    Raises
    ------
    ValueError
        If there is no such folder or file, there are no maps in it, or Snakemake cannot handle its path.
    """
    refuse_unusable_path(source, "project_images.maps")
    return _list_maps(source)


def refuse_unusable_path(path: str, key: str) -> None:
    """Raise a ValueError for a path that Snakemake cannot handle: with {braces} or <tags>, or not in UTF-8.

    Parameters
    ----------
    path : str
    key : str
        Key of the configuration that leads to this path.
    """
    if fault := find_unusable_part(path):
        raise ValueError(f"{key}: the path {printable(path)} {fault}")


def find_unusable_part(path: str) -> str | None:
    """Say why Snakemake cannot handle a path, and what to do; None if it can."""
    if found := SPECIAL.search(path):
        return f"has {found[0]}, which Snakemake would replace; rename it"
    if printable(path) != path:
        return "is not UTF-8, which Snakemake needs; rename it, such as with convmv"
    return None


def printable(path: str) -> str:
    """Return a path with replacement characters for bytes that are not UTF-8. They cannot be stored in a table."""
    return os.fsencode(path).decode("utf-8", "replace")


def _list_maps(source: str) -> tuple[list[OwnMap], list[str]]:
    if Path(source).is_dir():
        files, warnings = _files_below(source)
        if not files:
            raise ValueError(
                f"project_images.maps: the folder {source} and its subfolders have no map; give a folder of NIfTI files"
                " (.nii, .nii.gz)"
            )
        names = _names_of(files, source)
        return [OwnMap(name, file, None) for name, file in zip(names, files, strict=True)], warnings
    if not Path(source).is_file():
        raise ValueError(
            f"project_images.maps: there is no file or folder {source} (current folder: {Path.cwd()}); give a folder of"
            " NIfTI files, or a table as for archive.source: table"
        )
    if _extension(source):
        return [OwnMap(_stem(source), source, None)], []
    try:
        content = read_content(source)
    except ValueError as error:
        raise ValueError(f"project_images.maps: {error}") from error
    folder = Path(source).parent
    return [
        OwnMap(str(row["image_id"]), str(folder / row["file"]), row.get("map_type")) for row in content.rows
    ], content.warnings


def files_of_maps(source: str | None) -> list[str]:
    """List the existing files of the maps, and their table, so that changed maps are projected again.

    Files are left out if Snakemake cannot handle their paths. Such maps are rejected.

    Problems are not reported here. The job reports them in its log.
    """
    if source is None:
        return []
    try:
        files = [own.file for own in list_maps(source)[0]]
    except (ValueError, OSError):
        return []
    table = [] if Path(source).is_dir() or source in files else [source]
    # Path.is_file raises an error for files in a folder without permission.
    existing = [file for file in files if os.path.isfile(file) and not find_unusable_part(file)]  # noqa: PTH113
    return [*table, *dict.fromkeys(existing)]


def check_maps(section: Mapping[str, Any]) -> None:
    """Check that project_images has maps. Only the names of files are read.

    Raises
    ------
    ValueError
        If the section ``project_images`` names no maps, or the maps cannot be listed.
    """
    if section["maps"] is None:
        raise ValueError(
            "project_images.maps is null; give a folder of NIfTI files, or a table as for archive.source: table. For"
            " example: snakemake project_images --cores 2 --config project_images='{maps: FOLDER}'"
        )
    list_maps(section["maps"])


def read_own_maps(source: str) -> list[OwnMap]:
    """List the maps, and log what looks wrong in their table; see `list_maps`."""
    maps, warnings = list_maps(source)
    for warning in warnings:
        logging.warning("%s", warning)
    return maps


def _files_below(folder: str) -> tuple[list[str], list[str]]:
    """List the images in a folder and its subfolders, also behind links to folders, and warnings.

    Folders that are named like an image and hold nothing are listed, too.
    """
    found, seen = [], {os.path.realpath(folder)}
    failed: list[OSError] = []
    for parent, folders, files in os.walk(folder, followlinks=True, onerror=failed.append):
        shown = [Path(parent) / name for name in folders if not name.startswith(".")]
        folders.clear()
        # Visit each folder once, or a link to a parent folder would be followed forever. Links come after folders.
        for path in sorted(shown, key=lambda path: (path.is_symlink(), path.name)):
            place = os.path.realpath(path)
            if place not in seen:
                folders.append(path.name)
                seen.add(place)
        shown_files = [name for name in files if not name.startswith(".")]
        pairs = {_stem(name) for name in shown_files if name.lower().endswith(VOXELS)}
        found += [
            str(Path(parent) / name)
            for name in shown_files
            if _extension(name) and not (name.lower().endswith(HEADERS) and _stem(name) in pairs)
        ]
        if not files and not shown and parent != folder and _extension(parent):
            found.append(parent)
    return sorted(found), [f"the folder {error.filename} cannot be read: {error.strerror}" for error in failed]


def _names_of(files: list[str], folder: str) -> list[str]:
    """Name the maps after their files. If names are equal, the folders are added, and then the extensions."""
    relative = [Path(file).relative_to(folder) for file in files]
    stems = [printable(_stem(file)) for file in files]
    relative = [Path(printable(str(path))) for path in relative]
    longer = [str(path.with_name(stem)) for path, stem in zip(relative, stems, strict=True)]
    counts, counts_of_longer = Counter(stems), Counter(longer)
    return [
        stem if counts[stem] == 1 else long if counts_of_longer[long] == 1 else str(path)
        for stem, long, path in zip(stems, longer, relative, strict=True)
    ]


def _extension(file: str) -> str:
    """Return the extension of an image file; empty for other files."""
    lowered = file.lower()
    return next((extension for extension in (*NIFTI, *OTHER_IMAGES) if lowered.endswith(extension)), "")


def _stem(file: str) -> str:
    name = Path(file).name
    return name[: len(name) - len(_extension(name))]
