"""Fit the names of components into little room: whole terms first, and no broken word if it can be helped."""

import re
from collections.abc import Iterable, Sequence
from itertools import chain

from neurovault_ica.figures.sheet import shown_text
from neurovault_ica.figures.style import TEXT, break_lines, text_mm, wrap
from neurovault_ica.images.signs import sign_at_end
from neurovault_ica.naming.names import SEPARATOR, UNNAMED
from neurovault_ica.naming.sides import AT_PEAK, ENDS, SIDES

# Note that explains short names. A figure has it once.
IN_PARENTHESES = "names in parentheses:\nclosest terms, not significant"
# Names are cut to this number of characters before they are fitted.
LONGEST = 200
CLOSEST = re.compile(rf"{UNNAMED} \(closest: (.+)\)$", re.DOTALL)
# The last of several terms. A closing parenthesis stays, and so does the place of a component.
PLACES = "|".join(map(re.escape, (*SIDES, *chain(*ENDS), AT_PEAK)))
LAST_TERM = re.compile(rf"{SEPARATOR}[^;]*?(\)| \((?:{PLACES})[^()]*\))?$")


def label_of(title: str) -> str:
    """Return the label of a component without its name: ``ICA_03`` of ``ICA_03  motor; hand``."""
    return title.split(" ", maxsplit=1)[0]


def short_name(name: str) -> str:
    """Write terms that are not significant in parentheses alone: ``unnamed (closest: pain)`` becomes ``(pain)``."""
    return CLOSEST.sub(r"(\1)", name)


def explain_names(titles: Iterable[str]) -> str:
    """Return the explanation of names in parentheses, or an empty text if there are none."""
    return IN_PARENTHESES if any(CLOSEST.search(title) for title in titles) else ""


def fit_name(
    name: str, width_mm: float, most_lines: int = 1, size: float = TEXT, *, bold: bool = False, term_mm: float = 0.0
) -> list[str]:
    """Fit a name, with or without its label, into lines of a width in mm.

    If there is no room for all terms, the last ones are left out. Only a first term that is too long by itself is cut.
    Its lines may have the width `term_mm` if that is larger.
    """
    text = shown_text(short_name(name), LONGEST)
    while not fits(text, width_mm, most_lines, size, bold=bold):
        fewer = LAST_TERM.sub(lambda found: found[1] or "", text)
        if fewer == text:
            width_mm = max(width_mm, term_mm)
            break
        text = fewer
    return wrap(text, width_mm, most_lines, size, bold=bold)


def drop_shared(titles: Sequence[str]) -> list[str]:
    """Replace the beginning and the end that all names share by an ellipsis: ``…hand-left… (activation)``.

    Names of files are often the same but for a part in the middle. Only whole words are left out.
    """
    signs = [sign_at_end(title) for title in titles]
    names = [title.removesuffix(sign) for title, sign in zip(titles, signs, strict=True)]
    # The word before a hyphen stays: the key of `run-1`.
    start = re.sub(r"([^\W_]+-)?[^\W_]*$", "", _shared_start(names))
    names = [name.removeprefix(start) for name in names]
    end = re.sub(r"[^\W_]*$", "", _shared_start([name[::-1] for name in names]))[::-1]
    kept = [name.removesuffix(end) for name in names]
    if not all(kept):
        return list(titles)
    return [f"{start and '…'}{name}{end and '…'}{sign}" for name, sign in zip(kept, signs, strict=True)]


def _shared_start(names: Sequence[str]) -> str:
    first, last = min(names), max(names)
    length = next((k for k, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    return first[:length]


def fits(text: str, width_mm: float, most_lines: int, size: float = TEXT, *, bold: bool = False) -> bool:
    """Return whether a text fits whole into at most so many lines of a width in mm."""
    lines = break_lines(text, width_mm, size, bold=bold)
    return len(lines) <= most_lines and all(text_mm(line, size, bold=bold) <= width_mm for line in lines)
