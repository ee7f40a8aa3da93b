"""Read and write the NeuroVault cache, in the layout of ``nilearn.datasets.fetch_neurovault``.

``<data_dir>/neurovault/collection_<id>/`` holds ``collection_metadata.json``, ``image_<id>_metadata.json``,
``image_<id>.nii.gz`` and ``neurosynth_words_for_image_<id>.json``. The metadata of an image are written after its file,
so a file with metadata is complete.

Two more folders hold files that nilearn does not read. ``neurovault/listings/collection_<id>.json`` has all records of
a collection as the server listed them. ``neurovault/records/image_<id>.json`` has the record of a selected image.

All paths are made from the numeric ids. Paths and names inside a record are never used as paths.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurovault_ica.runtime.files import replacing
from neurovault_ica.runtime.tables import to_text

if TYPE_CHECKING:
    from neurovault_ica.types import Record

# nilearn's suffix of resampled copies. It identifies copies only in a cache, because own maps can have any name.
COPY_END = "_resampled.nii.gz"
# Strings that mean "no value".
NULL = re.compile(r"(n/?a|none( / other)?|null)?", re.IGNORECASE)
DESCRIPTION = """\
Statistic maps of human brains and their metadata from NeuroVault ({url}),
with term weights from Neurosynth where available.

collection_<id>/collection_metadata.json             a collection: one study, its paper, its design
collection_<id>/image_<id>_metadata.json             an image's metadata, as NeuroVault sent them
collection_<id>/image_<id>.nii.gz                    the image, unchanged
collection_<id>/image_<id>_resampled.nii.gz          a copy with voxels of 3 mm, if configured
collection_<id>/neurosynth_words_for_image_<id>.json correlations with Neurosynth's term maps
listings/, records/                                  NeuroVault's answers, stored to avoid repeated requests

nilearn reads this folder: fetch_neurovault(mode="offline", data_dir=<the folder that contains neurovault/>).
NeuroVault publishes under CC0. Cite Gorgolewski et al. 2015, doi:10.3389/fninf.2015.00008, and the papers of the
collections that were used; for the terms Yarkoni et al. 2011, doi:10.1038/nmeth.1635.
"""


def to_number(record_id: int | str) -> int:
    """Convert a NeuroVault id to a number. Paths and addresses are made only from such numbers.

    Raises
    ------
    ValueError
        If the id is not a whole number of up to 19 digits.
    """
    if not re.fullmatch(r"[0-9]{1,19}", str(record_id)):
        raise ValueError(f"{str(record_id)[:100]!r} is not a NeuroVault id; use a whole number")
    return int(record_id)


def image_file(collection_id: int | str, image_id: int | str) -> str:
    """Return the path of an image's compressed file, relative to the data directory."""
    return f"neurovault/collection_{to_number(collection_id)}/image_{to_number(image_id)}.nii.gz"


def image_files(collection_id: int | str, image_id: int | str) -> tuple[str, str]:
    """Return the paths of an image's compressed and uncompressed file, relative to the data directory."""
    packed = image_file(collection_id, image_id)
    return packed, packed.removesuffix(".gz")


def find_image(data_dir: str | Path, collection_id: int | str, image_id: int | str) -> str:
    """Return the path of an image in a cache, relative to `data_dir`.

    If there is an uncompressed file, it is the original, and the compressed file is our copy of it.
    """
    packed, unpacked = image_files(collection_id, image_id)
    return unpacked if (Path(data_dir) / unpacked).is_file() else packed


def copy_of(file: str) -> str:
    """Return the path of a cached image's 3 mm copy, named as nilearn does."""
    return f"{file.removesuffix('.gz').removesuffix('.nii')}{COPY_END}"


def original_of(file: str) -> str:
    """Return the path of the original if `file` is a 3 mm copy in the cache, otherwise `file` itself."""
    return f"{file.removesuffix(COPY_END)}.nii.gz" if file.endswith(COPY_END) else file


def terms_file(collection_id: int | str, image_id: int | str) -> str:
    """Return the path of Neurosynth's answer for an image, relative to the data directory."""
    return f"neurovault/collection_{to_number(collection_id)}/neurosynth_words_for_image_{to_number(image_id)}.json"


def read_collections(data_dir: str | Path) -> tuple[list[Record], list[str]]:
    """Read the metadata of all collections in a cache.

    Returns
    -------
    collections : list of dict
        Sorted by id.
    damaged : list of str
        The metadata files that are missing or not a JSON object, with the reason.

    Raises
    ------
    RuntimeError
        If there is no cache at `data_dir`, or it is empty.
    """
    root = Path(data_dir) / "neurovault"
    folders = sorted(root.glob("collection_*")) if root.is_dir() else []
    records, damaged = _read_records((folder / "collection_metadata.json", folder.name) for folder in folders)
    if not records:
        found = f"{len(folders)} collection folders without metadata" if folders else "no collection_<id> folder"
        raise RuntimeError(
            f"no NeuroVault cache in {data_dir}: {found if root.is_dir() else 'it has no folder neurovault/'}; set"
            " archive.data_dir to the folder that contains neurovault/, as for nilearn's fetch_neurovault"
        )
    return records, damaged


def read_images(data_dir: str | Path, collection_id: int | str) -> tuple[list[Record], list[str]]:
    """Read the metadata of all images of one collection in a cache, sorted by id; also list the damaged files."""
    folder = _collection_folder(data_dir, collection_id)
    return _read_records((path, path.name) for path in sorted(folder.glob("image_*_metadata.json")))


def read_modify_date(data_dir: str | Path, collection_id: int | str, image_id: int | str) -> str | None:
    """Return the modification date of a cached image as text; None if the cache has no complete image."""
    try:
        record = _read_json(_image_metadata(data_dir, collection_id, image_id))
    except (OSError, ValueError):
        return None
    return to_text(record.get("modify_date")) if isinstance(record, dict) else None


def write_collection(data_dir: str | Path, record: Record) -> None:
    """Store a collection's metadata as nilearn does."""
    folder = _collection_folder(data_dir, record["id"])
    known = _without_paths(record) | {"id": to_number(record["id"]), "relative_path": folder.name}
    _write_json(folder / "collection_metadata.json", known)


def write_image(data_dir: str | Path, record: Record) -> None:
    """Store an image's metadata as nilearn does. Write them last, because they mark the image's file as complete."""
    image_id, collection_id = to_number(record["id"]), to_number(record["collection_id"])
    folder = f"collection_{collection_id}"
    known = {
        "id": image_id,
        "collection_id": collection_id,
        "relative_path": f"{folder}/image_{image_id}.nii.gz",
        "resampled_relative_path": f"{folder}/image_{image_id}{COPY_END}",
    }
    _write_json(_image_metadata(data_dir, collection_id, image_id), _without_paths(record) | known)


def has_collection(data_dir: str | Path, collection_id: int | str) -> bool:
    """Return whether a collection's metadata are in the cache."""
    return (_collection_folder(data_dir, collection_id) / "collection_metadata.json").is_file()


def read_record(data_dir: str | Path, image_id: int | str) -> Record | None:
    """Read the record that `write_record` stored; None if it is missing or damaged."""
    try:
        record = _read_json(_record_file(data_dir, image_id))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and record.get("id") == to_number(image_id) else None


def write_record(data_dir: str | Path, record: Record) -> None:
    """Store the metadata of an image before its download, in a folder that nilearn does not read."""
    _write_json(_record_file(data_dir, record["id"]), record)


def drop_outdated_terms(data_dir: str | Path, record: Record) -> bool:
    """Remove an image's term weights if the server has replaced the image's file since. Return whether it did so.

    A replaced file has another size. Other edits of a record also change its date, but the weights remain valid. So the
    date counts only if no size is known.

    Parameters
    ----------
    data_dir : path
    record : dict
        The server's record of the image. Call this before `write_record` stores it.
    """
    image_id, collection_id = record["id"], record["collection_id"]
    try:
        # nilearn stores the record beside the image only.
        known = read_record(data_dir, image_id) or _read_json(_image_metadata(data_dir, collection_id, image_id))
        key = "file_size" if known.get("file_size") and record.get("file_size") else "modify_date"
    except (OSError, ValueError, AttributeError):
        return False
    path = Path(data_dir) / terms_file(collection_id, image_id)
    if known.get(key) == record.get(key) or not path.is_file():
        return False
    path.unlink(missing_ok=True)
    return True


def read_listing(
    data_dir: str | Path, url: str, collection: Record, *, any_version: bool = False
) -> list[Record] | None:
    """Read the stored records of a collection's images.

    Parameters
    ----------
    data_dir : path
    url : str
        The server.
    collection : dict
        Its record, as the server has it now.
    any_version : bool
        Whether the stored records may be older than the collection's last change.

    Returns
    -------
    list of dict or None
        None if they are missing, damaged, from another server, or older than the collection's last change (unless
        `any_version`).
    """
    path = _listing_file(data_dir, collection["id"])
    try:
        stored = _read_json(path)
        version, images = stored["version"], stored["images"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        logging.warning("%s is damaged and not used: %s", path, error)
        return None
    if not isinstance(images, list) or not all(isinstance(image, dict) and is_id(image.get("id")) for image in images):
        logging.warning("%s is damaged and not used: it is not a list of records", path)
        return None
    wanted = _version(url, collection)
    is_usable = version == wanted or (any_version and isinstance(version, list) and version[:2] == wanted[:2])
    return images if is_usable else None


def write_listing(data_dir: str | Path, url: str, collection: Record, images: list[Record]) -> None:
    """Store the records of all images of a collection."""
    _write_json(_listing_file(data_dir, collection["id"]), {"version": _version(url, collection), "images": images})


def write_description(data_dir: str | Path, url: str) -> None:
    """Write README.txt, which describes the files of the cache."""
    _write_text(Path(data_dir) / "neurovault" / "README.txt", DESCRIPTION.format(url=url))


def null_strings_to_none(record: Record) -> Record:
    """Replace strings that mean "no value" ("", "None / Other", "null", "n/a") by None.

    nilearn replaces every string that begins with "none" or "null". Here the whole string must match, because a map can
    have a name such as "null hypothesis".
    """
    return {
        key: None if isinstance(value, str) and NULL.fullmatch(value.strip()) else value
        for key, value in record.items()
    }


def is_id(value: Any) -> bool:
    """Return whether a value from a server can be the id of an image or a collection."""
    return type(value) is int and 0 <= value < 2**63


def _version(url: str, collection: Record) -> list[Any]:
    """Return values that identify the state of a collection. Every upload, edit and removal changes one of them."""
    return [url, collection["id"], collection.get("modify_date"), collection.get("number_of_images")]


def _listing_file(data_dir: str | Path, collection_id: int | str) -> Path:
    return Path(data_dir) / "neurovault" / "listings" / f"collection_{to_number(collection_id)}.json"


def _record_file(data_dir: str | Path, image_id: int | str) -> Path:
    return Path(data_dir) / "neurovault" / "records" / f"image_{to_number(image_id)}.json"


def _collection_folder(data_dir: str | Path, collection_id: int | str) -> Path:
    return Path(data_dir) / "neurovault" / f"collection_{to_number(collection_id)}"


def _image_metadata(data_dir: str | Path, collection_id: int | str, image_id: int | str) -> Path:
    return _collection_folder(data_dir, collection_id) / f"image_{to_number(image_id)}_metadata.json"


def _read_json(path: Path) -> Any:
    """Read a JSON file. Invalid content raises ValueError."""
    try:
        return json.loads(path.read_text("utf-8"))
    except RecursionError as error:
        raise ValueError("too deeply nested") from error


def _write_json(path: Path, content: Any) -> None:
    _write_text(path, json.dumps(content))


def _write_text(path: Path, text: str) -> None:
    """Write a file, unless it has this text already. So other users can read a cache in which they may not write."""
    if path.is_file() and path.read_bytes() == text.encode("utf-8"):
        return
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8")


def _without_paths(record: Record) -> Record:
    """Drop keys that nilearn would use as paths. A record from the server must not choose paths on this machine."""
    return {key: value for key, value in record.items() if "relative_path" not in key and "absolute" not in key}


def _read_records(files: Iterable[tuple[Path, str]]) -> tuple[list[Record], list[str]]:
    records, damaged = [], []
    for path, name in files:
        try:
            record = _read_json(path)
        except (OSError, ValueError) as error:
            damaged.append(f"{path}: {error}")
            continue
        number = re.search(r"_(\d+)", name)
        if not isinstance(record, dict) or number is None:
            damaged.append(f"{path}: not a NeuroVault record")
            continue
        records.append(null_strings_to_none(record) | {"id": int(number[1])})
    return sorted(records, key=lambda record: record["id"]), damaged
