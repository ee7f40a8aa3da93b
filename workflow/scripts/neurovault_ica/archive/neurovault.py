"""``source: neurovault``: images of a NeuroVault server and terms of Neurosynth. Both are stored in a cache."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurovault_ica.archive.cache import (
    drop_outdated_terms,
    to_number,
    write_collection,
    write_description,
    write_record,
)
from neurovault_ica.archive.cached_archive import CachedArchive

if TYPE_CHECKING:
    from neurovault_ica.archive.records import Records
    from neurovault_ica.types import Record, Row

# The part of an address after the server, if it is that of a page or of the API.
PAGE = re.compile(r"(?<=[^/:])/+(api|api-docs|collections|images|media|decode)(/.*)?$")
# How long to wait for a server that has not answered yet, in seconds. Such a failure usually means a wrong address or
# no network, so waiting longer does not help.
FIRST_PATIENCE_S = 120.0


class NeuroVault(CachedArchive):
    """A NeuroVault server. With ``mode: offline``, only its cache is read."""

    name = "neurovault"
    is_fixed = False
    sentence = "were downloaded from NeuroVault {gorgolewski2015neurovault}"

    @property
    def identity_keys(self) -> tuple[str, ...]:
        """Return the key of the server and, if only the cache is read, that of the cache."""
        return ("url",) if self.asks_server else ("url", "data_dir")

    @property
    def label(self) -> str:
        """Name of the archive in the report and in messages."""
        return str(self.settings["url"]) if self.asks_server else super().label

    @property
    def address(self) -> str | None:
        """Web address of the server, for a link on the page."""
        return self.settings["url"] if self.asks_server else None

    def contradictions(self) -> Iterator[str]:
        """Report the address of a page or of the API in place of the server's address."""
        yield from super().contradictions()
        for key in ("url", "neurosynth_url"):
            url = self.settings[key] or ""
            extra = PAGE.search(url)
            if extra:
                yield (
                    f"archive.{key}: {url} is the address of a page ({extra[0]}); give only the server,"
                    f" {url[: extra.start()]}"
                )

    @property
    def asks_server(self) -> bool:
        """Whether requests to the server are allowed."""
        return not self.forbids_network

    @property
    def may_write(self) -> bool:
        """Whether the workflow may write into the cache."""
        return self.asks_server

    @contextmanager
    def records(
        self, network: Mapping[str, Any], *, collection_ids: list[Any] | None, image_ids: list[Any] | None
    ) -> Iterator[Records]:
        """Open the metadata of the server, or of the cache if the run is offline."""
        if not self.asks_server:
            yield self
            return
        from neurovault_ica.archive.cache_lock import CacheLock
        from neurovault_ica.archive.server import PROBE
        from neurovault_ica.archive.server_records import ServerRecords
        from neurovault_ica.net.answers import FetchError
        from neurovault_ica.net.client import connect

        url = self.settings["url"]
        write_description(self.data_dir, url)
        folder = Path(self.data_dir) / "neurovault"
        with (
            closing(CacheLock(folder, "images")) as lock,
            connect(
                url,
                network,
                probe=PROBE,
                first_patience_s=FIRST_PATIENCE_S,
                request=lock.requests(network["connections"], gradually=False),
            ) as client,
        ):
            try:
                yield ServerRecords(
                    client,
                    self.data_dir,
                    refresh=self._refresh,
                    collection_ids=None if collection_ids is None else list(map(to_number, collection_ids)),
                    image_ids=None if image_ids is None else list(map(to_number, image_ids)),
                )
            except FetchError as error:
                # Another address gives these reasons too.
                is_suspect = error.reason in ("not_found", "bad_answer", "server_down")
                advice = "Check archive.url and your connection. " if is_suspect else ""
                raise RuntimeError(
                    f"{url} did not deliver the metadata: {error}. {advice}All metadata read so far are in the cache;"
                    " run again to continue"
                ) from error

    def remember(self, images: Sequence[Record], collections: Mapping[Any, Record]) -> None:
        """Store the metadata of the selected images and their collections in the cache."""
        if not self.asks_server:
            return
        for collection_id in {image["collection_id"] for image in images}:
            write_collection(self.data_dir, collections[collection_id])
        n_outdated = 0
        for image in images:
            # Terms are requested in parallel with the images, so this cannot wait for the new file.
            n_outdated += drop_outdated_terms(self.data_dir, image)
            write_record(self.data_dir, image)
        if n_outdated:
            logging.info("term weights to be requested again, because the image was replaced: %d", n_outdated)

    def announce_downloads(self, images: Sequence[Row], batch: int, locked: Mapping[Any, Row]) -> None:
        """Log how much is still to be downloaded, and stop if the disk is too small for it."""
        if self.asks_server:
            from neurovault_ica.archive.download_size import announce

            announce(images, batch, self.data_dir, self.settings["url"], locked, refresh=self._refresh)

    def bytes_to_download(self, images: Sequence[Row], locked: Mapping[Any, Row]) -> int:
        """Return the number of bytes that downloads will add to the cache."""
        if not self.asks_server:
            return 0
        from neurovault_ica.archive.download_size import bytes_to_download

        return bytes_to_download(images, self.data_dir, locked, refresh=self._refresh)

    @contextmanager
    def get_images(
        self, wanted: Sequence[Row], network: Mapping[str, Any], locked: Mapping[Any, Row]
    ) -> Iterator[Iterator[Row]]:
        """Take images from the cache, and download those that are missing, damaged or outdated."""
        if not self.asks_server:
            with super().get_images(wanted, network, locked) as rows:
                yield rows
            return
        from neurovault_ica.archive.downloads import download_images

        with download_images(
            wanted, self.settings["url"], self.data_dir, network, locked, refresh=self._refresh
        ) as rows:
            yield rows

    def fetch_terms(
        self,
        wanted: Sequence[Row],
        places: Mapping[Any, Path | None],
        network: Mapping[str, Any],
        hashes: Mapping[Any, str | None],
    ) -> dict[Any, str]:
        """Request missing term weights from Neurosynth. Return the reason for each image that got none."""
        if not self.asks_server:
            return {}
        from neurovault_ica.archive.neurosynth import fetch_missing

        url = self.settings["neurosynth_url"]
        return fetch_missing(wanted, places, self.data_dir, url, network, hashes, refresh=self._refresh)

    @property
    def _refresh(self) -> bool:
        return bool(self.settings["mode"] == "overwrite")
