"""Draw the strongest terms of all components."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from neurovault_ica.figures.sheet import Sheet, shown_text, with_minus
from neurovault_ica.figures.short_names import explain_names, fit_name
from neurovault_ica.figures.style import FAINT, HEADING, TALLEST_MM, WIDE_MM, shorten, text_mm
from neurovault_ica.statistics.p_values import SIGNIFICANT_Q, is_significant

# Number of terms drawn for each component, if there is room on a page, and the smallest number.
TERMS_IN_BARS, FEWEST_TERMS = 6, 3
# Longer terms and titles are cut to the width of their place; this number of characters is more than fits.
LONGEST = 80
# Number of columns, and of terms that must fit on a page; the first one that fits, or else the last. Two columns are
# for long terms.
COLUMNS = ((2, 5), (3, 6), (4, 6), (5, 6))
# Largest share of a column for the names.
NAME_SHARE = 0.62
# mm: between columns, line of a term, space between rows, legend, margin above.
GAP, LINE, BELOW, LEGEND, TOP = 3.0, 3.1, 2.2, 9.0, 1.0
BAR, NUMBER = 2.0, 9.0  # height of a bar, and width of the number behind it
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
    drawn_names = {shown_text(term.name, LONGEST) for label in labels for term in terms.get(label, [])[:TERMS_IN_BARS]}
    longest_mm = max(map(text_mm, drawn_names), default=0.0)
    for columns, least in COLUMNS:
        cell_width, n_rows = WIDE_MM / columns, -(-len(labels) // columns)
        width = cell_width - GAP
        headings = [fit_name((titles or {}).get(label, label), width, 2, HEADING, bold=True) for label in labels]
        head = LINE * max(map(len, headings)) + 1.5
        room = (TALLEST_MM - LEGEND - TOP) / n_rows - head - BELOW
        if room >= least * LINE and (columns > 2 or longest_mm > NAME_SHARE * (WIDE_MM / 3 - GAP)):
            break
    n_terms = max(FEWEST_TERMS, min(TERMS_IN_BARS, int(room / LINE)))
    cell_height = head + n_terms * LINE + BELOW
    sheet = Sheet(TOP + n_rows * cell_height + LEGEND)
    drawn: set[str] = set()
    for number, label in enumerate(labels):
        row, column = divmod(number, columns)
        left, top = column * cell_width + GAP / 2, n_rows * cell_height + LEGEND - row * cell_height
        lines = headings[number]
        for order, line in enumerate(reversed(lines)):
            y = top - head + 1.2 + (order + 0.5) * LINE
            sheet.text(left, y, line, fontsize=HEADING, fontweight="bold", va="center")
        shown = terms.get(label, [])[:n_terms]
        if not shown:
            sheet.text(left, top - head - LINE / 2, "no terms", va="center", color=FAINT)
            continue
        longest = max(max(term.weight for term in shown), 0)
        names = [shorten(shown_text(term.name, LONGEST), NAME_SHARE * width) for term in shown]
        middle = left + max(map(text_mm, names)) + 1
        for order, (term, name) in enumerate(zip(shown, names, strict=True)):
            y = top - head - (order + 0.5) * LINE
            sheet.text(middle - 1, y, name, va="center", ha="right")
            length = (left + width - middle - NUMBER) * term.weight / longest if longest and term.weight > 0 else 0
            kind = kind_of(term.q)
            drawn.add(kind)
            _draw_bar(sheet, middle, y, length, kind)
            number_text = with_minus(f"{term.weight:#.3g}".rstrip(".")) + (" *" if kind == "significant" else "")
            sheet.text(middle + length + 0.7, y, number_text, va="center", color=FAINT)
    place = GAP / 2
    notes = [
        "numbers: weights of the terms; bars: relative to the largest of the component",
        explain_names((titles or {}).values()),
    ]
    sheet.text(place, 1.7, "; ".join(filter(None, notes)).replace("\n", " "), va="center", color=FAINT)
    for kind, meaning in BARS.items():
        if kind in drawn:
            _draw_bar(sheet, place, 5, 4, kind)
            sheet.text(place + 5, 5, meaning, va="center", color=FAINT)
            place += 5 + text_mm(meaning) + 6
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
    sheet.bar(left, middle - BAR / 2, length, BAR, facecolor=fill, edgecolor=colour, linewidth=0.6)


def plot_terms(titles: Mapping[str, str], terms: Mapping[str, Sequence[Term]], path: str) -> None:
    """Draw the terms of all components, given the title of each component."""
    draw_terms(list(titles), terms, titles).save(path, title="Terms of all components")
