"""Write the selection as tables: collections.tsv and images.tsv of the rule fetch_metadata."""

import zlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

from neurovault_ica.archive.filters import to_integer
from neurovault_ica.runtime.ids import natural_key
from neurovault_ica.runtime.tables import column_formats, write_table
from neurovault_ica.types import Record


def write_images(path: str, images: list[Record], collections: Mapping[Any, Record], *, batches: int) -> None:
    """Write the selected images, and assign them to batches.

    Parameters
    ----------
    path : str
    images : list of dict
        Metadata of the selected images, in the order of the table.
    collections : mapping
        Metadata of their collections by id.
    batches : int
    """
    formats = column_formats(path)
    write_table(
        path,
        (
            _columns(image, formats)
            | {
                "image_id": image["id"],
                "collection_id": image["collection_id"],
                # The id decides the batch, so an image stays in its batch if others are added.
                "batch": zlib.crc32(str(image["id"]).encode()) % batches,
                "collection_name": collections[image["collection_id"]].get("name"),
                "collection_DOI": collections[image["collection_id"]].get("DOI"),
            }
            for image in images
        ),
    )


def write_collections(path: str, images: list[Record], collections: Mapping[Any, Record]) -> int:
    """Write the collections of the selected images, and return their number."""
    formats = column_formats(path)
    counts = Counter(image["collection_id"] for image in images)
    write_table(
        path,
        (
            _columns(collections[number], formats) | {"collection_id": number, "selected": counts[number]}
            for number in sorted(counts, key=natural_key)
        ),
    )
    return len(counts)


def _columns(record: Record, formats: Mapping[str, str]) -> dict[str, Any]:
    return {column: _typed(record.get(column), kind) for column, kind in formats.items()}


def _typed(value: Any, kind: str) -> Any:
    """Convert a value to the type of its column; None if that fails, because a record may contain anything."""
    if kind == "integer":
        return to_integer(value)
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if kind == "number":
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError):
            return None
    return value
