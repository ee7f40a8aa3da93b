"""Get the term weights of images from a Neurosynth server."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from neurovault_ica.archive.cache import to_number
from neurovault_ica.archive.cache_lock import CacheLock
from neurovault_ica.archive.term_answers import MALFORMED, hash_of, parse_weights, read_answer
from neurovault_ica.net.answers import FetchError
from neurovault_ica.net.client import Client, connect
from neurovault_ica.runtime.files import replacing
from neurovault_ica.runtime.log import Meter
from neurovault_ica.types import Row

# Neurosynth refuses larger images, so no terms are requested for them.
MAX_IMAGE_BYTES = 4_000_000


def fetch_missing(
    wanted: Sequence[Row],
    places: Mapping[Any, Path | None],
    data_dir: str,
    url: str | None,
    network: Mapping[str, Any],
    hashes: Mapping[Any, str | None],
    *,
    refresh: bool,
) -> dict[Any, str]:
    """Download the answers that the cache lacks. Return the reason for each image that got none, by image id.

    Parameters
    ----------
    wanted : sequence of mappings
        Rows of images.tsv.
    places : mapping
        Where each image's answer is stored.
    data_dir : str
        The cache.
    url : str or None
        The server; None to send no requests.
    network : mapping
        The section ``fetch_terms`` of the configuration.
    hashes : mapping
        The checksum of each image's answer in the lock, or None for an image without terms; empty without a lock.
    refresh : bool
        Whether to download every answer again.
    """
    if url is None:
        return {image_id: "not_asked" for image_id, path in places.items() if path is None or not path.is_file()}
    reasons: dict[Any, str] = {}
    asked = []
    # Look this up before the files are read, to notice an answer that another run writes in the meantime.
    before = {image_id: _changed_at(path) for image_id, path in places.items()}
    for image in wanted:
        path = places[image["image_id"]]
        weights = {} if refresh else read_answer(path).weights
        if image["image_id"] in hashes:
            is_needed = hashes[image["image_id"]] not in (None, hash_of(path, weights))
        else:
            is_needed = not weights
        if is_needed and (image["file_size"] or 0) > MAX_IMAGE_BYTES:
            reasons[image["image_id"]] = "image_too_large"
        elif is_needed:
            asked.append(image)
    if asked:
        # Do not wait for the server: Neurosynth's outages last for weeks, and terms are optional.
        folder = Path(data_dir) / "neurovault"
        with (
            closing(CacheLock(folder, "terms")) as lock,
            connect(url, network, patience_s=0, request=lock.requests(network["connections"])) as client,
        ):
            ask = _asker(client, places, before, lock, Meter(len(asked), unit="term file"))
            for image, reason in zip(asked, client.map_in_order(ask, asked, ahead=len(asked)), strict=True):
                if reason:
                    reasons[image["image_id"]] = reason
        if "server_down" in reasons.values():
            logging.warning("%s does not answer; the run continues without the terms that are not in the cache", url)
    return reasons


def _asker(
    client: Client, places: Mapping[Any, Path | None], before: Mapping[Any, int | None], lock: CacheLock, meter: Meter
) -> Callable[[Row], str | None]:
    """Make the function that downloads the answer for one image. It returns the reason if that fails, or None."""

    def ask(image: Row) -> str | None:
        path = places[image["image_id"]]
        with lock.held(to_number(image["image_id"])):
            # Another run may have written the answer in the meantime.
            is_there = _changed_at(path) != before[image["image_id"]] and bool(read_answer(path).weights)
            reason = None if is_there else get(image)
        meter.add(failed=reason is not None)
        return reason

    def get(image: Row) -> str | None:
        path = places[image["image_id"]]
        if path is None:
            return None
        try:
            content = client.get_bytes("/api/decode/", params={"neurovault": image["image_id"]}, check=_is_answer)
        except FetchError as error:
            if error.reason != "server_down":
                logging.debug("terms of image %s: %s", image["image_id"], error)
            return error.reason
        with replacing(path) as temporary:
            temporary.write_bytes(content)
        return None

    return ask


def _changed_at(path: Path | None) -> int | None:
    return path.stat().st_mtime_ns if path and path.is_file() else None


def _is_answer(document: Any) -> bool:
    if not isinstance(document, dict) or not isinstance(document.get("data"), dict):
        return False
    if "error" in document["data"]:
        status = document.get("status")
        raise FetchError("refused", f"Neurosynth: {str(document['data']['error'])[:200]} (status {status})")
    try:
        weights, _ = parse_weights(document)
    except MALFORMED:
        return False
    if not weights:
        raise FetchError("no_values", "Neurosynth has no term for this image")
    return True
