"""What every archive offers to the other stages. Images, their metadata and their term weights come from an archive.

The Snakefile imports this and the modules of all archives. They may only import what Snakemake itself depends on, so
numpy, nibabel and the HTTP client are imported inside the methods that need them.
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
    """One value of ``archive.source``. The defaults are those of images on the disk that are only read.

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
        Whether the workflow simulates the images itself, and knows the truth about them.
    is_fixed : bool
        Whether a rerun finds the same images without a lock.
    has_own_terms : bool
        Whether the user made the term files. Spellings of a word are then one term.
    sentence : str
        Completes "The statistic maps ..." in the methods text. ``{key}`` cites that work of record/software.bib.
    rerun_note : str
        Tells the reader of a packed run where the images come from; empty if the lock says it.
    """

    name: ClassVar[str]
    own_keys: ClassVar[tuple[str, ...]] = ()
    is_demo: ClassVar[bool] = False
    is_fixed: ClassVar[bool] = True
    has_own_terms: ClassVar[bool] = False
    sentence: ClassVar[str]
    rerun_note: ClassVar[str] = ""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings

    # What it is.

    @property
    def data_dir(self) -> str:
        """The folder that the images' paths are relative to."""
        return str(self.settings["data_dir"])

    @property
    @abstractmethod
    def label(self) -> str:
        """What the page and messages call this archive."""

    @property
    def address(self) -> str | None:
        """Web address of the archive, for a link on the page."""
        return None

    @property
    def files(self) -> dict[str, str]:
        """Files of the user that this archive reads, by their key in the section ``archive``; not the images."""
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
        """Say what is wrong with the section ``archive`` although each key is valid: one line for each problem."""
        return iter(())

    def moved(self, base: Path, data: Path | None) -> dict[str, Any]:  # noqa: ARG002
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
        network: Mapping[str, Any],  # noqa: ARG002
        *,
        collection_ids: list[Any] | None,  # noqa: ARG002
        image_ids: list[Any] | None,  # noqa: ARG002
    ) -> Iterator[Records]:
        """Open the metadata.

        Parameters
        ----------
        network : mapping
            The section ``download_images`` of the configuration, which limits the connections.
        collection_ids, image_ids : list or None
            If any are given, the selection needs only these, so nothing else has to be listed.

        Raises
        ------
        RuntimeError
            If the metadata cannot be read, also from inside the block.
        """
        yield self

    @abstractmethod
    def collections(self) -> tuple[list[Record], Damage]:
        """List the collections, and count what could not be read."""

    @abstractmethod
    def images(self, collections: Iterable[Record]) -> Generator[CollectionImages, None, None]:
        """Read the images of `collections`, in that order."""

    def remember(self, images: Sequence[Record], collections: Mapping[Any, Record]) -> None:
        """Store the metadata of the selected images, where downloading needs them."""
        del images, collections

    # Images.

    @abstractmethod
    def file_of(self, image: Row) -> str:
        """Name the file of an image, relative to `data_dir`. `image` is its row in images.tsv."""

    @contextmanager
    def get_images(
        self,
        wanted: Sequence[Row],
        network: Mapping[str, Any],  # noqa: ARG002
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
        """Say where the term weights of each image are, or will be; None if an image has none."""

    def fetch_terms(
        self,
        wanted: Sequence[Row],  # noqa: ARG002
        places: Mapping[Any, Path | None],  # noqa: ARG002
        network: Mapping[str, Any],  # noqa: ARG002
        hashes: Mapping[Any, str | None],  # noqa: ARG002
    ) -> dict[Any, str]:
        """Download the term weights that are missing, and say why an image got none.

        Parameters
        ----------
        wanted : sequence of mappings
            Rows of images.tsv.
        places : mapping
            From `term_files`.
        network : mapping
            The section ``fetch_terms`` of the configuration.
        hashes : mapping
            The checksum of each image's terms in the lock, or None for an image without terms; empty without a lock.
        """
        return {}
