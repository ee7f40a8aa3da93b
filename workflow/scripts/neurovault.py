"""Read a NeuroVault cache in the layout of ``nilearn.datasets.fetch_neurovault``.

``<data_dir>/neurovault/collection_<id>/`` holds ``collection_metadata.json``, ``image_<id>_metadata.json``,
``image_<id>.nii.gz`` and ``neurosynth_words_for_image_<id>.json``. Nothing here writes into it. Paths are always
made from the numeric ids: what a record says of its own path or name is data and never followed.
"""

import json
import re
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def image_file(collection_id: int, image_id: int) -> str:
    """Name an image's file, relative to the data directory."""
    return f"neurovault/collection_{collection_id}/image_{image_id}.nii.gz"


def terms_file(collection_id: int, image_id: int) -> str:
    """Name the file with the Neurosynth answer for an image, relative to the data directory."""
    return f"neurovault/collection_{collection_id}/neurosynth_words_for_image_{image_id}.json"


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


def read_images(data_dir: str | Path, collection_id: int) -> tuple[list[Record], list[str]]:
    """Read the metadata of all images of one collection in a cache, sorted by id; also list the damaged files."""
    folder = Path(data_dir) / "neurovault" / f"collection_{collection_id}"
    return _read_records((path, path.name) for path in sorted(folder.glob("image_*_metadata.json")))


def null_strings_to_none(record: Record) -> Record:
    """Replace strings that stand for "no value" ("", "None / Other", "null", "n/a") by None.

    nilearn replaces whatever begins with "none" or "null"; here the whole string must, so that a map may be called
    "null hypothesis".
    """
    null = re.compile(r"(n/?a|none( / other)?|null)?", re.IGNORECASE)
    return {
        key: None if isinstance(value, str) and null.fullmatch(value.strip()) else value
        for key, value in record.items()
    }


def _read_records(files: Any) -> tuple[list[Record], list[str]]:
    records, damaged = [], []
    for path, name in files:
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            damaged.append(f"{path}: {error}")
            continue
        number = re.search(r"_(\d+)", name)
        if not isinstance(record, dict) or number is None:
            damaged.append(f"{path}: not a NeuroVault record")
            continue
        records.append(null_strings_to_none(record) | {"id": int(number[1])})
    return sorted(records, key=lambda record: record["id"]), damaged
