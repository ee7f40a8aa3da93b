"""Citations, counts and lists for the sentences of the methods section."""

from collections.abc import Mapping

from neurovault_ica.record.bibliography import cite, read_works

WORKS = read_works()


def cited(*keys: str) -> str:
    """Cite works of software.bib in parentheses."""
    return "(" + "; ".join(cite(WORKS[key]) for key in keys) + ")"


def number(count: int, noun: str) -> str:
    """Write a number with its noun in singular or plural: ``1 image``, ``2,000 images``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listing(counts: Mapping[str, int]) -> str:
    """List counts with their names, largest first: ``3 missing file, 1 thresholded``."""
    largest_first = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in largest_first)
