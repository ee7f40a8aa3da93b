"""Format texts and numbers for the page, and check which URLs may become links."""

import re
import urllib.parse
from typing import Any

from markupsafe import Markup, escape

from neurovault_ica.archive.doi import quoted_doi
from neurovault_ica.images.signs import sign_at_end
from neurovault_ica.runtime.tables import DIRECTIONS

# Longest text, in characters, unless the caller gives another limit. Longer texts are cut.
LONGEST_TEXT = 240
# Words up to this length are never broken. "autobiographical" has 16 letters.
LONGEST_WORD = 20
LONG_WORD = re.compile(rf"\S{{{LONGEST_WORD + 1},}}")
# Parts of a longer word. It is broken after punctuation, as in file names, or else after LONGEST_WORD characters.
PART_OF_WORD = re.compile(rf".{{2,{LONGEST_WORD - 1}}}[_./:;,|+-]+|.{{1,{LONGEST_WORD}}}", re.DOTALL)

# r, p or q before its number.
MEASURE = re.compile(r"\b([pqr]) (?:([<>=]) )?(-?)(?=[.\d])")


def safe_address(address: Any) -> str | None:
    """Return the URL if it may become a link (http or https, with a host, without a login); otherwise None."""
    if not isinstance(address, str):
        return None
    try:
        parts = urllib.parse.urlsplit(address.strip())
    except ValueError:
        return None
    is_plain = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
    return parts.geturl() if is_plain else None


def doi_address(doi: Any) -> str | None:
    """Return the doi.org URL of a DOI in any notation, or None if there is no DOI in it."""
    found = quoted_doi(str(doi or ""))
    return f"https://doi.org/{found}" if found else None


def shorten_text(text: Any, longest: int = LONGEST_TEXT) -> str:
    """Shorten text and drop characters that change the writing direction. The tables have the full text.

    The words (activation) and (deactivation) at its end stay.
    """
    text = "" if text is None else DIRECTIONS.sub("", str(text))
    if len(text) <= longest:
        return text
    end = "…" + sign_at_end(text)
    return text[: longest - len(end)].rstrip() + end


def breakable(text: str) -> Markup:
    """Escape a text for the page, and allow line breaks within its very long words."""
    marked = LONG_WORD.sub(lambda word: "\0".join(PART_OF_WORD.findall(word.group())), text.replace("\0", ""))
    return Markup("<wbr>").join(escape(part) for part in marked.split("\0"))


def keep_measures(text: str) -> str:
    """Keep r, p and q on one line with their numbers, and write true minus signs: ``q 0.02``, ``r -0.3``."""

    def joined(found: re.Match[str]) -> str:
        name, sign, minus = found.groups()
        return "".join((name, "\u00a0", f"{sign}\u00a0" if sign else "", "\u2212" if minus else ""))

    return MEASURE.sub(joined, text)


def format_number(value: Any, digits: int = 2) -> str:
    """Format a number with a true minus sign. None becomes a dash."""
    return "\u2013" if value is None else f"{value:,.{digits}f}".replace("-", "\u2212")


def percent(value: float | None) -> str:
    """Format a share as a percentage. None becomes a dash; a positive share that rounds to 0.0 % is ``< 0.1 %``."""
    if value is None:
        return "\u2013"
    return "< 0.1 %" if 0 < value < 0.0005 else f"{100 * value:.1f} %"


def read_markdown(text: str) -> list[dict[str, Any]]:
    """Parse the Markdown of methods.md: headings, paragraphs with bold first words, lists of references.

    Returns
    -------
    list of dict
        ``kind`` (heading, paragraph or list), then ``lead`` and ``text``, or ``items``: pairs of a text and a URL or
        None.
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
