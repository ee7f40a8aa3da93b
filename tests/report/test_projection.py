"""The page of own maps says which components a map loads on."""

import re

from neurovault_ica.report.projection import render_projection
from PIL import Image


def render(folder, found):
    """Render the page. `found` has, for each map, its loading and q on each of two components."""
    picture = str(folder / "map.png")
    Image.new("RGBA", (60, 40), "white").save(picture)
    loadings = {
        title: [
            {"component": f"ICA_0{k}", "name": name, "loading": loading, "se": 0.1, "r": 0.2, "q": q, "percentile": 90}
            for k, (name, (loading, q)) in enumerate(zip(("pain", "visual"), rows, strict=True))
        ]
        for title, rows in found.items()
    }
    return render_projection(
        loadings=loadings,
        maps=[{"title": title, "note": None, "variance_explained": 0.4, "figure": "map.png"} for title in loadings],
        rejected=[],
        similar={},
        figures=dict.fromkeys(loadings, picture),
        heat_map=picture,
        components=["ICA_00", "ICA_01"],
        left_out=[],
        source=None,
        maps_source="own",
        n_maps=3,
        n_images=30,
        n_surrogates=100,
        median_explained=0.4,
        is_scaled=True,
    )


def test_a_significant_component_is_not_denied_if_a_larger_loading_is_not_significant(tmp_path):
    found = {
        "first": [(0.4, 0.01), (0.1, 0.9)],
        "second": [(0.2, 0.04), (-0.3, 0.2)],
        "third": [(0.2, 0.2), (-0.3, 0.2)],
    }
    page = render(tmp_path, found)
    said = [re.sub(r"<[^>]+>", "", line) for line in re.findall(r"<h3>.*?</h3>\n<p>(.*?)</p>", page)]
    assert [line.partition(" (loading")[0] for line in said] == [
        "Loads on ICA_00 pain more than 90 % of the 30 images",
        "The largest loading, on ICA_01 visual, is not significant",
        "No component is significant; the strongest is ICA_01 visual",
    ]


def test_the_halves_of_maps_with_long_names_differ_in_each_place(tmp_path):
    names = [f"sub-0{k}_{'task-emotionalFaces_' * 12}stat-z" for k in (1, 1, 2, 2)]
    signs = ["activation", "deactivation"] * 2
    titles = [f"{name} ({sign})" for name, sign in zip(names, signs, strict=True)]
    page = render(tmp_path, {title: [(0.4, 0.01), (0.1, 0.9)] for title in titles})
    for place in (r"<td class=\"w\"><a [^>]*>(.*?)</a>", r"<h3>(.*?)</h3>", r'aria-label="Figure: map (.*?)"'):
        shown = re.findall(place, page)
        assert len(set(shown)) == 4, place
        assert [text.removesuffix("</bdi>").rsplit(" ", 1)[1] for text in shown] == [f"({sign})" for sign in signs]
