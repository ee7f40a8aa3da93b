"""Render the page of project_images: the user's own maps on components."""

from collections.abc import Mapping, Sequence
from typing import Any

from neurovault_ica.archive.download_reasons import REASONS
from neurovault_ica.naming.own_images import OWN_REASONS
from neurovault_ica.naming.projection import COMPONENT_REASONS
from neurovault_ica.report.page import content_policy, load_template, read_style
from neurovault_ica.report.pictures import read_chart, read_figure
from neurovault_ica.runtime.files import package_file
from neurovault_ica.runtime.wording import counted, rounded_down
from neurovault_ica.statistics.p_values import SIGNIFICANT_Q, is_significant
from neurovault_ica.types import Row

TEMPLATE_FILE = package_file("report/projection.html.jinja")
# Largest number of embedded figures. More would make the page too large for a browser, so the page links to the others.
MOST_FIGURES = 100
# Number of components listed for each map.
LISTED = 5


def strongest(rows: Sequence[Row]) -> list[Row]:
    """List the components of a map with the largest absolute loadings, at most `LISTED`."""
    return sorted(rows, key=lambda row: -abs(row["loading"]))[:LISTED]


def describe_percentile(row: Row, n_images: int) -> str:
    """Describe the rank of a loading among those of the images: ``more than 94 % of the 103 images``.

    A negative loading is compared in its own direction: ``more negatively than 94 % of the 103 images``.
    """
    if row["percentile"] is None:
        return ""
    is_negative = row["loading"] < 0
    share = 100 - row["percentile"] if is_negative else row["percentile"]
    direction = "more negatively" if is_negative else "more"
    among = "all" if share == 100 else f"{rounded_down(share)} % of the"
    return f"{direction} than {among} {counted(n_images, 'image')}"


def render_projection(
    *,
    loadings: Mapping[str, Sequence[Row]],
    maps: Sequence[Row],
    rejected: Sequence[Row],
    similar: Mapping[str, Sequence[Row]],
    figures: Mapping[str, str],
    heat_map: str,
    **contents: Any,
) -> str:
    """Render the page.

    Parameters
    ----------
    loadings, similar : mapping of str to sequence of dict
        Rows of loadings.tsv and similar.tsv by title of the map.
    maps, rejected : sequence of dict
        Rows of maps.tsv, each with its `title`, and of rejected.tsv.
    figures : mapping of str to str
        Path of the figure by title of the map.
    heat_map : path
    **contents
        The other variables of the template: source, components, left_out, n_images, n_surrogates.
    """
    n_images = contents["n_images"]
    described = [
        row
        | {
            "strongest": [
                one
                | {
                    "among": describe_percentile(one, n_images),
                    "percentile": None if one["percentile"] is None else rounded_down(one["percentile"]),
                }
                for one in strongest(loadings[row["title"]])
            ],
            "n_significant": sum(is_significant(one["q"]) for one in loadings[row["title"]]),
            "similar": similar.get(row["title"], []),
            "picture": read_figure(figures[row["title"]]) if number < MOST_FIGURES else None,
        }
        for number, row in enumerate(maps)
    ]
    return load_template(TEMPLATE_FILE.name).render(
        policy=content_policy([]).replace("script-src ", "script-src 'none'"),
        style=read_style(),
        maps=described,
        rejected=rejected,
        reasons=REASONS | OWN_REASONS,
        component_reasons=COMPONENT_REASONS,
        heat_map=read_chart(heat_map),
        significant_q=SIGNIFICANT_Q,
        studies={},
        **contents,
    )
