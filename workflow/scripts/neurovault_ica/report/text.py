"""Texts and numbers fit for the page: cut, written alike, and links only where they are safe."""

import re
import urllib.parse
from typing import Any

from neurovault_ica.archive.doi import quoted_doi

LONGEST_TEXT = 240
DIRECTION_MARKS = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)])


def safe_address(address: Any) -> str | None:
    """Return an address that may become a link: http or https, with a host, without a login; otherwise None."""
    if not isinstance(address, str):
        return None
    try:
        parts = urllib.parse.urlsplit(address.strip())
    except ValueError:
        return None
    is_plain = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
    return parts.geturl() if is_plain else None


def doi_address(doi: Any) -> str | None:
    """Turn a DOI, however it is written, into the address of its resolver; None if it is none."""
    found = quoted_doi(str(doi or ""))
    return f"https://doi.org/{found}" if found else None


def shorten(text: Any, longest: int = LONGEST_TEXT) -> str:
    """Cut long text, which the table beside the page has in full, and drop what turns the direction of writing."""
    text = "" if text is None else str(text).translate(DIRECTION_MARKS)
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def format_number(value: Any, digits: int = 2) -> str:
    """Write a number with a true minus sign, or a dash where it is missing."""
    return "\u2013" if value is None else f"{value:,.{digits}f}".replace("-", "\u2212")


def format_q(q: float | None) -> str:
    """Write a false discovery rate to three digits, or a dash where nothing was tested."""
    if q is None:
        return "\u2013"
    return "< 0.001" if q < 0.001 else f"{q:.3f}"


def percent(value: float | None) -> str:
    """Write a share as a percentage."""
    return "\u2013" if value is None else f"{100 * value:.1f} %"


def read_markdown(text: str) -> list[dict[str, Any]]:
    """Read the little Markdown that methods.md has: headings, paragraphs with a bold lead, lists of references.

    Returns
    -------
    list of dict
        ``kind`` heading, paragraph or list; ``lead`` and ``text``, or ``items``, each a text and an address or None.
    """
    blocks: list[dict[str, Any]] = []
    for block in filter(None, re.split(r"\n\s*\n", text.strip())):
        if block.startswith("#"):
            blocks.append({"kind": "heading", "text": block.lstrip("# ")})
        elif block.startswith("- "):
            lines = [line.removeprefix("- ") for line in block.splitlines()]
            blocks.append({"kind": "list", "items": [_split_address(line) for line in lines]})
        else:
            lead, rest = re.fullmatch(r"(?:\*\*(.+?)\*\*\s)?(.*)", block, flags=re.DOTALL).groups()  # type: ignore[union-attr]
            blocks.append({"kind": "paragraph", "lead": lead or "", "text": rest})
    return blocks


def _split_address(line: str) -> tuple[str, str | None]:
    text, _, address = line.rpartition(" ")
    return (text, address) if safe_address(address) else (line, None)
