"""Write counts, lists and durations in sentences."""

import math
from collections.abc import Mapping, Sequence


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Write a number with its noun in singular or plural: ``1 image``, ``2,000 images``.

    Parameters
    ----------
    count : int
        The number.
    noun : str
        The words after the number if it is 1.
    plural : str or None
        The words after any other number. By default, `noun` with an s.
    """
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def duration(seconds: float) -> str:
    """Write a duration in seconds, or in minutes from 90 s on: ``45 s``, ``12 min``."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def written_volume(mm3: float) -> str:
    """Write a volume without an exponent: ``200 mm³``, ``1,500,000 mm³``."""
    return f"{mm3:,.10g} mm³"


def ordinal(number: float) -> str:
    """Write an ordinal number with its ending: ``1st``, ``12th``, ``91st``, ``99.9th``."""
    endings: dict[float, str] = {1: "st", 2: "nd", 3: "rd"}
    ending = "th" if number % 100 in (11, 12, 13) else endings.get(number % 10, "th")
    return f"{number:g}{ending}"


def rounded_down(percentage: float) -> int:
    """Round a percentage down, so that 99.9 % does not read as all. 57.99999999999999 becomes 58."""
    return math.floor(round(percentage, 6))


def listed(words: Sequence[str]) -> str:
    """Join words as in a sentence: ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def list_counts(counts: Mapping[str, int], words: Mapping[str, str] | None = None) -> str:
    """List counts with their names, largest first: ``3 unreadable, 1 thresholded``.

    Parameters
    ----------
    counts : mapping
        Numbers by name.
    words : mapping or None
        Words for some of the names. Other names are written with spaces instead of underscores.
    """
    largest_first = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{count:,} {(words or {}).get(name, name.replace('_', ' '))}" for name, count in largest_first)
