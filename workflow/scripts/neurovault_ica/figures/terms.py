"""Draw the strongest terms of all components."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from neurovault_ica.figures.sheet import FAINT, Sheet, shown_text, with_minus
from neurovault_ica.statistics.p_values import SIGNIFICANT_Q, is_significant

# Number of terms drawn for each component.
TERMS_IN_BARS = 6
# Titles are cut to this number of characters.
LONGEST_TITLE = 46
# A title of this length fits above its bars. Longer ones get smaller letters.
FITTING_TITLE = 31
# Kinds of bars, each with its text in the legend.
BARS = {
    "significant": f"filled, *: q < {SIGNIFICANT_Q}",
    "chance": f"hollow: q ≥ {SIGNIFICANT_Q}, may be chance",
    "untested": "grey: not tested",
}


class Term(NamedTuple):
    """A term of a component."""

    name: str
    weight: float
    q: float | None  # false discovery rate; None if not tested


def top_terms(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Term]]:
    """Group the rows of desc-ICA_terms.tsv by component, sorted by rank."""
    by_component: dict[str, list[Term]] = {}
    for row in sorted(rows, key=lambda row: row["rank"]):
        by_component.setdefault(row["component"], []).append(Term(row["term"] or "", row["weight"], row["q"]))
    return by_component


def draw_terms(
    labels: Sequence[str], terms: Mapping[str, Sequence[Term]], titles: Mapping[str, str] | None = None
) -> Sheet:
    """Draw the strongest terms of each component as bars, below its title or, without titles, its label.

    Bar lengths are relative to the strongest term of the component, so they compare only within a component.
    """
    columns, cell_width, line, head, legend = 4, 300, 17, 30, 30
    cell_height = head + TERMS_IN_BARS * line + 16
    n_rows = -(-len(labels) // columns)
    width, height = columns * cell_width, n_rows * cell_height + 10 + legend
    sheet = Sheet(width, height, inches=13)
    drawn: set[str] = set()
    for number, label in enumerate(labels):
        row, column = divmod(number, columns)
        left, top = column * cell_width + 12, height - 8 - row * cell_height
        title = shown_text((titles or {}).get(label, label), LONGEST_TITLE)
        size = 10.5 * min(1, FITTING_TITLE / len(title))
        sheet.text(left, top - 12, title, fontsize=size, fontweight="bold", va="center")
        shown = terms.get(label, [])[:TERMS_IN_BARS]
        if not shown:
            sheet.text(left, top - head - 8, "no terms", fontsize=9.5, va="center", color=FAINT)
            continue
        longest = max(max(term.weight for term in shown), 0)
        middle, room = left + 140, cell_width - 24 - 140 - 34
        for order, term in enumerate(shown):
            y = top - head - 8 - order * line
            sheet.text(middle - 6, y, shown_text(term.name, 24), fontsize=9.5, va="center", ha="right")
            length = room * term.weight / longest if longest and term.weight > 0 else 0
            kind = kind_of(term.q)
            drawn.add(kind)
            _draw_bar(sheet, middle, y, length, kind)
            number_text = with_minus(f"{term.weight:.3g}") + (" *" if kind == "significant" else "")
            sheet.text(middle + length + 4, y, number_text, fontsize=8, va="center", color=FAINT)
    place = 12
    for kind, meaning in BARS.items():
        if kind in drawn:
            _draw_bar(sheet, place, legend / 2, 26, kind)
            sheet.text(place + 32, legend / 2, meaning, fontsize=9.5, va="center", color=FAINT)
            place += cell_width
    return sheet


def kind_of(q: float | None) -> str:
    """Return how a term's bar is drawn, a key of `BARS`."""
    if q is None:
        return "untested"
    return "significant" if is_significant(q) else "chance"


def _draw_bar(sheet: Sheet, left: float, middle: float, length: float, kind: str) -> None:
    """Draw a bar: filled if significant, hollow if not, grey if not tested."""
    colour = "#aab2bb" if kind == "untested" else "#3b6fb6"
    fill = "none" if kind == "chance" else colour
    sheet.bar(left, middle - 5.5, length, 11, facecolor=fill, edgecolor=colour, linewidth=1)


def plot_terms(titles: Mapping[str, str], terms: Mapping[str, Sequence[Term]], path: str) -> None:
    """Draw the terms of all components, given the title of each component."""
    draw_terms(list(titles), terms, titles).save(path, title="Terms of all components")
