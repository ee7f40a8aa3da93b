"""Archives whose images lie in a cache in nilearn's layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurovault_ica.archive.base import Archive
from neurovault_ica.archive.cache import find_image, read_collections, read_images, terms_file
from neurovault_ica.archive.records import CollectionImages, Damage, belonging

if TYPE_CHECKING:
    from neurovault_ica.types import Record, Row


class CachedArchive(Archive):
    """Reads metadata, images and terms from a cache."""

    public_name = "NeuroVault"

    @property
    def label(self) -> str:
        """What the page and messages call this archive."""
        return f"the cache {self.data_dir}"

    def moved(self, base: Path, data: Path | None) -> dict[str, Any]:
        """Name the cache by its absolute path. Its path in the configuration starts at the working directory."""
        return {"data_dir": str((data or Path(self.data_dir)).absolute())}

    def collections(self) -> tuple[list[Record], Damage]:
        """List the collections of the cache, and count the metadata files that cannot be read."""
        records, damaged = read_collections(self.data_dir)
        return records, Counter(damaged)

    def images(self, collections: Iterable[Record]) -> Generator[CollectionImages, None, None]:
        """Read the images' metadata of each collection."""
        for collection in collections:
            images, damaged = read_images(self.data_dir, collection["id"])
            yield CollectionImages(collection, belonging(images, collection), Counter(damaged))

    def file_of(self, image: Row) -> str:
        """Name the file of an image: the unpacked one if there is one, since it is the server's original."""
        return find_image(self.data_dir, image["collection_id"], image["image_id"])

    def term_files(self, images: Sequence[Row]) -> dict[Any, Path | None]:
        """Say where Neurosynth's answer for each image is, or will be."""
        return {
            image["image_id"]: Path(self.data_dir) / terms_file(image["collection_id"], image["image_id"])
            for image in images
        }
