"""Term weights of images: Neurosynth's answers in the cache or from the server."""

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from neurovault_ica.archive.cache import terms_file
from neurovault_ica.archive.own_table import read_own_table
from neurovault_ica.net.answers import FetchError
from neurovault_ica.net.client import Client, connect
from neurovault_ica.runtime.files import replacing, sha256_of
from neurovault_ica.runtime.log import Meter
from neurovault_ica.types import Row

Weights = dict[str, float]
# Neurosynth refuses larger images.
MAX_IMAGE_BYTES = 4_000_000
# Rounding may make a correlation a little larger than 1.
MAX_WEIGHT = 1 + 1e-6
MALFORMED = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


class Answer(NamedTuple):
    """What Neurosynth said of one image.

    Attributes
    ----------
    weights : dict
        Term to Pearson correlation; empty where nothing is known.
    reason : str or None
        Why nothing is known: ``missing_file``, ``malformed``, ``no_values``, or ``not_given`` where a table of own maps
        names no file.
    dropped : int
        Terms that have no name, or no weight that can be a correlation.
    """

    weights: Weights
    reason: str | None
    dropped: int = 0


class Found(NamedTuple):
    """What is known of one image in the end.

    Attributes
    ----------
    weights : dict
    status : dict
        Its row in status-{batch}.tsv.
    changed : list of str
        What is not as in the lock.
    dropped : int
        As in `Answer`.
    """

    weights: Weights
    status: Row
    changed: list[str]
    dropped: int


def read_answer(path: Path | None) -> Answer:
    """Read one answer of Neurosynth's decode endpoint."""
    if path is None:
        return Answer({}, "not_given")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Answer({}, "missing_file")
    try:
        weights, dropped = _weights_of(json.loads(content.decode()))
    except MALFORMED:
        return Answer({}, "malformed")
    return Answer(weights, None if weights else "no_values", dropped)


def find_answer(number: int, path: Path | None, refusal: str | None, locked: Row | None) -> Found:
    """Read what there is for an image; `refusal` is why Neurosynth gave nothing now, `locked` its row in the lock."""
    weights, fault, dropped = read_answer(path)
    sha256, changed = _hash(path, weights), []
    reason = fault and (refusal or fault)
    if locked is not None and locked["terms_sha256"] is None:
        # An image without terms then has none now, even if there are some by now.
        weights, reason, sha256, dropped = {}, locked["terms_reason"], None, 0
    elif locked is not None and locked["terms_sha256"] != sha256:
        reason = refusal or fault or "changed"
        changed.append(f"terms of image {number} ({reason})")
        weights, sha256, dropped = {}, None, 0
    status = {"image_id": number, "terms": len(weights), "reason": reason, "sha256": sha256}
    return Found(weights, status, changed, dropped)


def fetch_missing(
    wanted: list[dict[str, Any]],
    places: Mapping[int, Path | None],
    archive: Mapping[str, Any],
    network: Mapping[str, Any],
    locked: Mapping[int, str | None],
) -> dict[int, str]:
    """Ask Neurosynth for what the cache does not have; return why an image got nothing."""
    url = archive["neurosynth_url"]
    if archive["source"] != "neurovault" or archive["mode"] == "offline":
        return {}
    if url is None:
        return {number: "not_asked" for number, path in places.items() if path is None or not path.is_file()}
    reasons = {}
    asked = []
    for image in wanted:
        path = places[image["image_id"]]
        weights = read_answer(path).weights if archive["mode"] != "overwrite" else {}
        if image["image_id"] in locked:
            is_needed = locked[image["image_id"]] not in (None, _hash(path, weights))
        else:
            is_needed = not weights
        if is_needed and (image["file_size"] or 0) > MAX_IMAGE_BYTES:
            reasons[image["image_id"]] = "image_too_large"
        elif is_needed:
            asked.append(image)
    if asked:
        # Without patience: when Neurosynth is down, it is down for weeks, and the run can do without.
        with connect(url, network, patience_s=0) as client:
            ask = _asker(client, places, Meter(len(asked), unit="term file"))
            for image, reason in zip(asked, client.in_order(ask, asked, ahead=len(asked)), strict=True):
                if reason:
                    reasons[image["image_id"]] = reason
        if "server_down" in reasons.values():
            logging.warning("%s does not answer; the run goes on without the terms that are not in the cache", url)
    return reasons


def _asker(client: Client, places: Mapping[int, Path | None], meter: Meter) -> Callable[[Row], str | None]:
    """Make the function that gets the term file of one image and returns why it could not."""

    def ask(image: Row) -> str | None:
        reason = get(image)
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
                logging.debug("terms of image %d: %s", image["image_id"], error)
            return error.reason
        with replacing(path) as temporary:
            temporary.write_bytes(content)
        return None

    return ask


def _is_answer(document: Any) -> bool:
    if not isinstance(document, dict) or not isinstance(document.get("data"), dict):
        return False
    if "error" in document["data"]:
        status = document.get("status")
        raise FetchError("refused", f"Neurosynth: {str(document['data']['error'])[:200]} (status {status})")
    try:
        weights, _ = _weights_of(document)
    except MALFORMED:
        return False
    if not weights:
        raise FetchError("no_values", "Neurosynth has no term for it")
    return True


def answer_files(wanted: list[dict[str, Any]], data_dir: str, table: str | None) -> dict[int, Path | None]:
    """Say where the term file of each image is, or will be."""
    # Snakemake gives an input that is not there as an empty list.
    if not table:
        return {
            image["image_id"]: Path(data_dir) / terms_file(image["collection_id"], image["image_id"])
            for image in wanted
        }
    own = {row["id"]: row.get("terms") for row in read_own_table(table)}
    return {
        image["image_id"]: Path(data_dir) / str(own[image["image_id"]]) if own.get(image["image_id"]) else None
        for image in wanted
    }


def _weights_of(answer: Any) -> tuple[Weights, int]:
    """Take the weights out of an answer; return them and the number of terms that have no name or no correlation."""
    weights: Weights = {}
    values = answer["data"]["values"]
    for term, weight in values.items():
        name = _clean(term)
        if name and name not in weights and _is_correlation(weight):
            weights[name] = float(weight)
    return weights, len(values) - len(weights)


def _clean(term: str) -> str:
    """Make a term one line of printable text."""
    text = term if term.isprintable() else "".join(sign if sign.isprintable() else " " for sign in term)
    return " ".join(text.split())


def _is_correlation(weight: Any) -> bool:
    is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
    # Not true of NaN either, and right for integers that no float can hold.
    return is_number and -MAX_WEIGHT <= weight <= MAX_WEIGHT


def _hash(path: Path | None, weights: Weights) -> str | None:
    return sha256_of(path) if path and weights else None
