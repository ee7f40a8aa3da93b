"""Base class of the archives whose images are in a cache in nilearn's layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurovault_ica.archive.base import Archive
from neurovault_ica.archive.cache import find_image, read_collections, read_images, terms_file
from neurovault_ica.archive.records import CollectionImages, Damage, belonging
from neurovault_ica.runtime.files import starting_folder

if TYPE_CHECKING:
    from neurovault_ica.types import Record, Row


class CachedArchive(Archive):
    """Reads metadata, images and terms from a cache."""

    public_name = "NeuroVault"

    @property
    def label(self) -> str:
        """Name of the archive in the report and in messages."""
        return f"the cache {self.data_dir}"

    def moved(self, base: Path, data: Path | None) -> dict[str, Any]:
        """Return the absolute path of the cache. A relative `data_dir` starts at the working directory."""
        return {"data_dir": str((data or Path(self.data_dir)).absolute())}

    def contradictions(self) -> Iterator[str]:
        """Report a `data_dir` that is inside the cache, or one level above the folder that contains neurovault/."""
        meant = self._meant_folder()
        if meant is not None:
            yield (
                f"archive.data_dir: {self.data_dir}{starting_folder(self.data_dir)} is not the folder that contains"
                f" neurovault/; did you mean {meant}?"
            )

    def _meant_folder(self) -> Path | None:
        """Find the folder that contains neurovault/ if `data_dir` is inside the cache or one level above it."""
        folder = Path(self.data_dir)
        if (folder / "neurovault").is_dir():
            return None
        if folder.name == "neurovault" and next(folder.glob("collection_*"), None):
            return folder.parent
        if folder.name.startswith("collection_") and folder.absolute().parent.name == "neurovault":
            return folder.parent.parent
        below = sorted(path.parent for path in folder.glob("*/neurovault") if next(path.glob("collection_*"), None))
        return below[0] if len(below) == 1 else None

    def collections(self) -> tuple[list[Record], Damage]:
        """List the collections of the cache, and count the metadata files that cannot be read."""
        records, damaged = read_collections(self.data_dir)
        return records, Counter(damaged)

    def images(self, collections: Iterable[Record]) -> Generator[CollectionImages, None, None]:
        """Read the metadata of each collection's images."""
        for collection in collections:
            images, damaged = read_images(self.data_dir, collection["id"])
            yield CollectionImages(collection, belonging(images, collection), Counter(damaged))

    def file_of(self, image: Row) -> str:
        """Return the path of an image. An uncompressed file is preferred, because it is the server's original."""
        return find_image(self.data_dir, image["collection_id"], image["image_id"])

    def term_files(self, images: Sequence[Row]) -> dict[Any, Path | None]:
        """Return the path of Neurosynth's answer for each image, which may not exist yet."""
        return {
            image["image_id"]: Path(self.data_dir) / terms_file(image["collection_id"], image["image_id"])
            for image in images
        }
