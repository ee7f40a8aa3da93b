"""Write citations, counts and lists in the sentences of the methods section."""

from collections.abc import Mapping

from neurovault_ica.record.bibliography import cite, read_works
from neurovault_ica.runtime.wording import counted

WORKS = read_works()


def cited(*keys: str) -> str:
    """Cite works of software.bib in parentheses."""
    return "(" + "; ".join(cite(WORKS[key]) for key in keys) + ")"


def list_map_types(counts: Mapping[str, int]) -> str:
    """List the number of maps of each type, largest first: ``59 Z maps, 3 T maps, 1 map of another type``."""
    return ", ".join(_maps_of(name, count) for name, count in sorted(counts.items(), key=lambda item: -item[1]))


def _maps_of(name: str, count: int) -> str:
    kind, is_map, rest = name.partition(" map")
    if is_map:
        return f"{counted(count, f'{kind} map')}{rest}"
    if name == "Other":
        return counted(count, "map of another type", "maps of other types")
    return counted(count, f"map of type {name}", f"maps of type {name}")
