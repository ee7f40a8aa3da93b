"""Make, check and sort the ids of images and collections. Ids are text; numbers in them sort as numbers."""

import hashlib
import re
from collections.abc import Iterable
from typing import Any

# Ids become parts of file names, so only safe characters are allowed. A leading - would look like an option, a leading
# dot would hide the file.
SAFE_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


def safe_id(name: str) -> str:
    """Make a valid id from any name, for archives whose images or studies have names instead of ids.

    A valid name stays as it is. In others, invalid characters become ``_``, and eight digits of the name's checksum are
    added, so that different names get different ids.
    """
    if SAFE_ID.fullmatch(name):
        return name
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".-")[:90]
    return f"{plain or '_'}-{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def natural_key(record_id: Any) -> tuple[list[tuple[int, Any]], str]:
    """Return a sort key that puts 9 before 10 and sub-9 before sub-10."""
    text = str(record_id)
    parts = re.split(r"([0-9]+)", text)
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts if part], text


def number_groups(ids: Iterable[Any]) -> tuple[list[Any], list[int]]:
    """Assign numbers to the different ids, in natural order.

    Parameters
    ----------
    ids : iterable
        For example the collection of each image.

    Returns
    -------
    names : list
        The different ids, sorted by `natural_key`.
    member : list of int
        Position of each of `ids` in `names`.
    """
    ids = list(ids)
    names = sorted(set(ids), key=natural_key)
    place = {name: number for number, name in enumerate(names)}
    return names, [place[name] for name in ids]


def as_numbers(ids: Iterable[str]) -> list[int] | list[str]:
    """Return the ids as int if all are whole numbers, otherwise as text. Readers of our .npz files expect int."""
    ids = list(ids)
    return [int(text) for text in ids] if all(re.fullmatch(r"[0-9]{1,18}", str(text)) for text in ids) else ids
