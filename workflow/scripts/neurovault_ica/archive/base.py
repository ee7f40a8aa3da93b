"""Define the interface of an archive, the source of images, their metadata and their term weights.

The Snakefile imports this module and those of all archives. So they may import only what Snakemake itself depends on.
Methods that need numpy, nibabel or the HTTP client import them themselves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from neurovault_ica.archive.records import CollectionImages, Damage, Records
    from neurovault_ica.types import Record, Row


class Archive(ABC):
    """A source of images. Unless a subclass says otherwise, the images are on disk and are never changed.

    A new archive needs `name`, `sentence`, `label`, `collections`, `images`, `file_of` and `term_files`.

    Parameters
    ----------
    settings : mapping
        The section ``archive`` of the configuration.

    Attributes
    ----------
    name : str
        The value of ``archive.source``.
    own_keys : tuple of str
        Keys of the section that this archive needs and no other archive uses.
    is_demo : bool
        Whether the workflow simulates the images, so that the true networks are known.
    is_fixed : bool
        Whether a rerun finds the same images without a lock.
    has_own_terms : bool
        Whether the user wrote the term files. If so, different spellings of a word count as one term.
    sentence : str
        Completes "The statistic maps ..." in the methods text. ``{key}`` cites an entry of record/software.bib.
    public_name : str
        Name of the public archive that the collections are in, for references and the page; empty if there is none.
    rerun_note : str
        Says in the README of a packed run where the images are. Empty if the lock has their addresses.
    """

    name: ClassVar[str]
    own_keys: ClassVar[tuple[str, ...]] = ()
    is_demo: ClassVar[bool] = False
    is_fixed: ClassVar[bool] = True
    has_own_terms: ClassVar[bool] = False
    sentence: ClassVar[str]
    public_name: ClassVar[str] = ""
    rerun_note: ClassVar[str] = ""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings

    # Properties of the archive.

    @property
    def data_dir(self) -> str:
        """Folder to which the paths of the images are relative."""
        return str(self.settings["data_dir"])

    @property
    @abstractmethod
    def label(self) -> str:
        """Name of the archive in the report and in messages."""

    @property
    def address(self) -> str | None:
        """Web address of the archive, for a link on the page."""
        return None

    @property
    def identity_keys(self) -> tuple[str, ...]:
        """Keys of the section that tell archives of one source apart. Archives with other values have other images."""
        return ("data_dir",)

    @property
    def files(self) -> dict[str, str]:
        """The user's files that this archive reads, without the images, by their key in the section ``archive``."""
        return {}

    @property
    def asks_server(self) -> bool:
        """Whether images, metadata or terms may come from a server."""
        return False

    @property
    def may_write(self) -> bool:
        """Whether the workflow may write into `data_dir`."""
        return False

    @property
    def forbids_network(self) -> bool:
        """Whether no stage of the run may fetch anything from the network."""
        return bool(self.settings["mode"] == "offline")

    def contradictions(self) -> Iterator[str]:
        """Find settings that contradict each other or the files on disk. Yield one line for each problem."""
        return iter(())

    def moved(self, base: Path, data: Path | None) -> dict[str, Any]:
        """Return the keys of the section that change when the run is repeated in another folder.

        Parameters
        ----------
        base : Path
            The folder that relative paths of the section start from.
        data : Path or None
            The folder with the images on this machine, if the user names one.
        """
        return {}

    # Metadata.

    @contextmanager
    def records(
        self,
        network: Mapping[str, Any],
        *,
        collection_ids: list[Any] | None,
        image_ids: list[Any] | None,
    ) -> Iterator[Records]:
        """Open the metadata.

        Parameters
        ----------
        network : mapping
            The section ``download_images`` of the configuration, which limits the connections.
        collection_ids, image_ids : list or None
            If any are given, only these are selected, so the archive need not list all records.

        Raises
        ------
        RuntimeError
            If the metadata cannot be read. The code inside the ``with`` block can also get this error.
        """
        yield self

    @abstractmethod
    def collections(self) -> tuple[list[Record], Damage]:
        """List the collections, and count what could not be read."""

    @abstractmethod
    def images(self, collections: Iterable[Record]) -> Generator[CollectionImages, None, None]:
        """Read the images of `collections`, in that order."""

    def remember(self, images: Sequence[Record], collections: Mapping[Any, Record]) -> None:
        """Store the metadata of the selected images if their download needs them."""
        del images, collections

    # Images.

    @abstractmethod
    def file_of(self, image: Row) -> str:
        """Return the path of an image, relative to `data_dir`. `image` is its row in images.tsv."""

    def announce_downloads(self, images: Sequence[Row], batch: int, locked: Mapping[Any, Row]) -> None:
        """Log how much is still to be downloaded, and stop if the disk is too small for it.

        Parameters
        ----------
        images : sequence of mappings
            Rows of images.tsv, of all batches.
        batch : int
        locked : mapping
            Rows of the lock by image; empty without a lock.

        Raises
        ------
        RuntimeError
            If the disk is too small.
        """
        del images, batch, locked

    def bytes_to_download(self, images: Sequence[Row], locked: Mapping[Any, Row]) -> int:
        """Return the number of bytes that downloads will add to the cache; parameters as in `announce_downloads`."""
        del images, locked
        return 0

    @contextmanager
    def get_images(
        self,
        wanted: Sequence[Row],
        network: Mapping[str, Any],
        locked: Mapping[Any, Row],
    ) -> Iterator[Iterator[Row]]:
        """Check or download the images.

        Parameters
        ----------
        wanted : sequence of mappings
            Rows of images.tsv.
        network : mapping
            The section ``download_images`` of the configuration.
        locked : mapping
            Rows of the lock by image; empty without a lock.

        Yields
        ------
        iterator of mappings
            Rows of status-{batch}.tsv, in the order of `wanted`.
        """
        from neurovault_ica.archive.image_status import check_local

        yield check_local(wanted, self.data_dir, self.file_of, locked)

    # Terms.

    @abstractmethod
    def term_files(self, images: Sequence[Row]) -> dict[Any, Path | None]:
        """Return the path of each image's term weights, which may not exist yet. None: the image has no terms."""

    def fetch_terms(
        self,
        wanted: Sequence[Row],
        places: Mapping[Any, Path | None],
        network: Mapping[str, Any],
        hashes: Mapping[Any, str | None],
    ) -> dict[Any, str]:
        """Download missing term weights. Return the reason for each image that got none, by image id.

        Parameters
        ----------
        wanted : sequence of mappings
            Rows of images.tsv.
        places : mapping
            The paths that `term_files` returns.
        network : mapping
            The section ``fetch_terms`` of the configuration.
        hashes : mapping
            The checksum of each image's terms in the lock, or None for an image without terms; empty without a lock.
        """
        return {}
