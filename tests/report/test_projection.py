"""The page of own maps says which components a map loads on."""

import re

from neurovault_ica.report.projection import render_projection
from PIL import Image


def test_a_significant_component_is_not_denied_if_a_larger_loading_is_not_significant(tmp_path):
    picture = str(tmp_path / "map.png")
    Image.new("RGBA", (60, 40), "white").save(picture)
    loadings = {
        title: [
            {"component": f"ICA_0{k}", "name": name, "loading": loading, "se": 0.1, "r": 0.2, "q": q, "percentile": 90}
            for k, (name, loading, q) in enumerate(rows)
        ]
        for title, rows in {
            "first": [("pain", 0.4, 0.01), ("visual", 0.1, 0.9)],
            "second": [("pain", 0.2, 0.04), ("visual", -0.3, 0.2)],
            "third": [("pain", 0.2, 0.2), ("visual", -0.3, 0.2)],
        }.items()
    }
    page = render_projection(
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
    said = [re.sub(r"<[^>]+>", "", line) for line in re.findall(r"<h3>.*?</h3>\n<p>(.*?)</p>", page)]
    assert [line.partition(" (loading")[0] for line in said] == [
        "Loads on ICA_00 pain more than 90 % of the 30 images",
        "The largest loading, on ICA_01 visual, is not significant",
        "No component is significant; the strongest is ICA_01 visual",
    ]
