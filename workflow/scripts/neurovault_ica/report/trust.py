"""Compare the measures of a component with the limits that apply, for the page."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from neurovault_ica.images.tissues import RIM_MM
from neurovault_ica.report.text import format_number, percent
from neurovault_ica.report.warnings import flags_of
from neurovault_ica.types import Row

# Measures of stability: column, name, explanation.
STABILITY = (
    ("iq_restarts", "Iq across restarts", "agreement of random starts (ICASSO)"),
    ("r_restarts", "|r| across restarts", "correlation with the match of each random start"),
    ("r_bootstraps", "Bootstrap |r|", "when studies are resampled"),
    ("r_split_half", "Split-half |r|", "between two halves of the studies"),
)
# Shares of the squared map: column, name, explanation, whether small values (rather than large ones) are bad.
TISSUES = (
    ("grey_matter", "In grey matter", "share of the squared map", True),
    ("outside_tissue", "Outside grey and white matter", "fluid, vessels, outside the brain", False),
    ("rim", "At the brain's rim", f"outermost {RIM_MM:g} mm", False),
)


class Measure(NamedTuple):
    """A measure as the page shows it."""

    name: str
    shown: str | None  # None if it was not measured
    share: float  # length of its bar, 0 to 1
    limit: float | None  # position of the limit on the bar, 0 to 1
    fault: str  # "too low", "too high" or empty
    about: str  # explanation, with the limit


def limit_in_force(limit: float | None, chance: float | None) -> float | None:
    """Return the smallest accepted value: the configured limit, or chance if higher. None if there is no limit."""
    return None if limit is None else max(limit, chance or 0.0)


def add_verdicts(
    components: Sequence[Row], flags: Mapping[str, float | None], decomposition: Mapping[str, Any]
) -> None:
    """Add to each component its ``warnings`` and its measures, in ``stability`` and ``tissues``.

    Parameters
    ----------
    components : sequence of dict
        From `tables.describe_components`.
    flags : mapping
        Section ``run_ica.flags``.
    decomposition : mapping
        Content of desc-ICA_decomposition.json, with the limits of tissue shares adapted to the mask.
    """
    for component in components:
        component["warnings"] = flags_of(component)
        component["stability"] = list(judge_stability(component, flags))
        component["tissues"] = list(tissue_measures(component, decomposition))


def judge_stability(component: Row, flags: Mapping[str, float | None]) -> Iterator[Measure]:
    """Compare the measures of stability of a component with the limits of ``run_ica.flags``."""
    for column, name, about in STABILITY:
        value, chance, limit = component[column], component.get(f"chance_{column}"), flags[f"min_{column}"]
        least = limit_in_force(limit, chance)
        is_low = value is not None and least is not None and value < least
        if value is not None and limit is not None and chance is not None and chance > limit:
            about += f"; must exceed {format_number(chance)} (chance, which is above the limit {limit:g})"
        elif value is not None and limit is not None:
            about += f"; must exceed {limit:g}" + (
                f" and chance ({format_number(chance)})" if chance is not None else ""
            )
        elif value is not None and chance is not None:
            about += f"; chance {format_number(chance)}"
        shown = None if value is None else format_number(value)
        yield Measure(name, shown, max(value or 0.0, 0.0), least, "too low" if is_low else "", about)


def tissue_measures(component: Row, decomposition: Mapping[str, Any]) -> Iterator[Measure]:
    """Compare the tissue shares of a component with limits that are adapted to the mask."""
    for column, name, about, is_bad_if_small in TISSUES:
        value, of_mask = component[f"{column}_share"], decomposition["tissue_shares_of_mask"][column]
        limit = decomposition["flags"][f"{'min' if is_bad_if_small else 'max'}_{column}_share"]
        is_wrong = limit is not None and (value < limit if is_bad_if_small else value > limit)
        about += f" (mask: {percent(of_mask)})"
        if limit is not None:
            about += f"; must be {'at least' if is_bad_if_small else 'at most'} {percent(limit)}"
        fault = ("too low" if is_bad_if_small else "too high") if is_wrong else ""
        yield Measure(name, percent(value), value, limit, fault, about)
