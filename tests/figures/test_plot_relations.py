"""Loadings of collections and similarity of components are right for made-up numbers."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from neurovault_ica.decomposition.loadings import mean_correlations
from neurovault_ica.figures.matrix import lay_out
from neurovault_ica.figures.relations import (
    CUT_NAMES,
    IDS_FOR_NAMES,
    axis_labels,
    draw_loadings,
    draw_similarity,
    order_by_similarity,
    order_rows,
)
from neurovault_ica.figures.short_names import IN_PARENTHESES
from neurovault_ica.figures.style import LINE_MM
from neurovault_ica.naming.names import ComponentName
from neurovault_ica.naming.terms import term_profiles
from plot_relations import overlaps, pairs_of


def test_loadings_become_mean_correlations_of_collections():
    loadings = np.array([[2.0, 0.0], [4.0, 1.0], [1.0, -1.0]])
    ids, means = mean_correlations(loadings, np.array([4.0, 8.0, 2.0]), [9, 5, 9])
    assert ids == [9, 5]
    np.testing.assert_allclose(means, [[(0.5 + 0.5) / 2, -0.25], [0.5, 0.125]])


def test_similar_rows_are_neighbours():
    rows = np.array([[1.0, 0], [0, 1], [0.9, 0.1], [0.1, 0.9]])
    order = order_rows(rows)
    assert abs(order.index(0) - order.index(2)) == abs(order.index(1) - order.index(3)) == 1
    assert order_rows(rows[:2]) == [0, 1]


def test_similar_components_are_neighbours():
    similarity = np.eye(4)
    similarity[0, 3] = similarity[3, 0] = similarity[1, 2] = similarity[2, 1] = 0.9
    order = order_by_similarity(similarity)
    assert abs(order.index(0) - order.index(3)) == abs(order.index(1) - order.index(2)) == 1


def test_overlap_is_dice():
    shown = np.array([[1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]], bool)
    np.testing.assert_allclose(overlaps(shown), [[1, 2 / 5, 0], [2 / 5, 1, 0], [0, 0, 0]])


def test_term_profiles_have_a_weight_for_each_component():
    rows = [
        {"term": term, "component": label, "weight": weight}
        for term, label, weight in [("a", "ICA_00", 1.0), ("b", "ICA_00", 2.0), ("a", "ICA_01", 3.0)]
    ]
    np.testing.assert_array_equal(term_profiles(rows, ["ICA_00", "ICA_01"]), [[1, 2], [3, 0]])
    assert term_profiles([], ["ICA_00"]) is None
    assert term_profiles(rows, ["ICA_00", "ICA_02"]) is None  # the second component has no terms


def test_axes_have_the_names():
    names = {
        label: ComponentName(name, [], "", "", [], "")
        for label, name in (("ICA_00", "hand; arm"), ("ICA_01", "unnamed (closest: task)"), ("ICA_02", ""))
    }
    labels = axis_labels(["ICA_00", "ICA_01", "ICA_02"], names)
    assert [label.strip() for label in labels] == ["ICA_00 hand; arm", "ICA_01 unnamed (closest: task)", "ICA_02"]


def test_pairs_of_components_are_tabulated_once():
    overlap = np.array([[1, 0.2, 0.1], [0.2, 1, 0.3], [0.1, 0.3, 1]])
    rows = pairs_of(["a", "b", "c"], overlap, -overlap)
    assert [tuple(row.values()) for row in rows] == [
        ("a", "b", 0.2, -0.2), ("a", "c", 0.1, -0.1), ("b", "c", 0.3, -0.3),
    ]  # fmt: skip
    assert {row["r_terms"] for row in pairs_of(["a", "b"], overlap[:2, :2], None)} == {None}


def names_beside(axes):
    """Return the names of the rows of a matrix."""
    return [text.get_text() for text in axes.texts if not text.get_rotation()]


def names_above(axes):
    """Return the names of the columns of a matrix."""
    return [text.get_text() for text in axes.texts if text.get_rotation() == 90]


def test_heat_map_shows_the_means_under_their_names():
    means = np.array([[0.5, 0.0], [-0.2, 0.3], [0.45, 0.05]])
    axes = draw_loadings(means, ["$a$", "b", "<c>"], ["ICA_00 motor", "ICA_01"]).axes[0]
    rows = names_beside(axes)
    assert names_above(axes) == ["ICA_00 motor", "ICA_01"]
    shown = dict(zip(rows, axes.images[0].get_array().tolist(), strict=True))
    assert shown == {"$a$": [0.5, 0.0], "b": [-0.2, 0.3], "<c>": [0.45, 0.05]}
    assert abs(rows.index("$a$") - rows.index("<c>")) == 1


def test_heat_map_leaves_out_the_weakest_of_many_collections():
    means = np.linspace(0, 1, 100)[:, None]
    axes = draw_loadings(means, [str(number) for number in range(100)], ["ICA_00"]).axes[0]
    assert set(names_beside(axes)) == {str(number) for number in range(40, 100)}


@pytest.mark.parametrize("with_terms", [True, False])
def test_similarity_has_a_panel_for_terms_where_there_are_any(with_terms):
    overlap = np.array([[1, 0.2, 0.1], [0.2, 1, 0.3], [0.1, 0.3, 1]])
    figure = draw_similarity(overlap, -overlap if with_terms else None, ["ICA_00", "ICA_01", "ICA_02"])
    panels = [axes for axes in figure.axes if names_above(axes)]
    assert len(panels) == 1 + with_terms
    assert [len(axes.get_yticks()) for axes in panels] == [0] * len(panels)
    assert min(text.get_fontsize() for text in figure.findobj(Text)) >= 7
    shown = panels[0].images[0].get_array()
    order = [int(name[-1]) for name in names_above(panels[0])]
    expected = overlap[np.ix_(order, order)]
    off = ~np.eye(3, dtype=bool)
    np.testing.assert_allclose(np.asarray(shown)[off], expected[off])
    assert np.isnan(np.ma.filled(shown, np.nan)[np.eye(3, dtype=bool)]).all()


def test_one_component_is_drawn():
    assert draw_similarity(np.ones((1, 1)), np.ones((1, 1)), ["ICA_00"]).axes


@pytest.mark.parametrize("n_components", [20, 40, 100])
def test_similarity_of_many_components_is_labelled_and_fits_on_a_page(n_components):
    titles = [f"ICA_{number:02d} unnamed (closest: incongruent; conflict)" for number in range(n_components)]
    rng = np.random.default_rng(0)
    overlap, likeness = (np.abs(np.corrcoef(rng.standard_normal((n_components, 9)))) for _ in range(2))
    figure = draw_similarity(overlap, likeness, titles)
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    assert figure.get_size_inches()[1] * 25.4 < 240
    axes = figure.axes[0]
    assert sorted(names_above(axes)) == [title[:6] for title in titles]
    has_names = n_components <= 40
    assert sorted(names_beside(axes)) == [
        f"{title[:6]} (incongruent; conflict)" if has_names else title[:6] for title in titles
    ]
    assert_apart(figure, axes)
    assert [text.get_text() for text in figure.texts] == [IN_PARENTHESES if has_names else ""]
    assert min(text.get_window_extent().y0 for axes in figure.axes for text in (axes.xaxis.label, *figure.texts)) > 0
    # Side by side, or both triangles in one matrix: each pair is drawn once in space and once in terms.
    pictures = [picture.get_array() for axes in figure.axes for picture in axes.images if picture.get_array().ndim == 2]
    drawn = [np.isfinite(np.ma.filled(picture, np.nan)).sum() for picture in pictures[:2]]
    pairs = n_components * (n_components - 1) // 2
    assert drawn == ([2 * pairs] * 2 if n_components == 20 else [pairs] * 2)


def assert_apart(figure, axes):
    """Check that all names beside and above a matrix are on the page and do not overlap."""
    for rotation in (0, 90):
        # Without the lines that lead to names of the second level.
        boxes = [Text.get_window_extent(text) for text in axes.texts if text.get_rotation() == rotation]
        for number, box in enumerate(boxes):
            assert box.x0 >= 0
            assert box.y1 <= figure.bbox.y1
            for other in boxes[number + 1 : number + 3]:
                # Letters without accents are lower than the line.
                inside = [min(box.x1, other.x1) - max(box.x0, other.x0), min(box.y1, other.y1) - max(box.y0, other.y0)]
                assert min(inside) < 0.2 * LINE_MM / 25.4 * figure.dpi


LONG = "Amygdala-hippocampal connectivity changes during acute psychosocial stress and early life stress"


@pytest.mark.parametrize(("n_collections", "n_components"), [(20, 20), (60, 60), (30, 90)])
def test_loadings_name_all_collections_and_components(n_collections, n_components):
    means = np.random.default_rng(0).standard_normal((n_collections, n_components))
    titles = [f"ICA_{number:02d} motor; hand (left)" for number in range(n_components)]
    ids = range(9000, 9000 + n_collections)
    figure = draw_loadings(means, [f"{LONG} {number}" for number in range(n_collections)], titles, ids)
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    has_names = n_collections <= 30 and n_components <= 30
    assert sorted(names_above(axes)) == [title if n_components < 90 else title[:6] for title in titles]
    # Names of collections are whole, or else they are ids, which the table explains.
    rows = [name.replace("\n", " ") for name in names_beside(axes)]
    assert sorted(rows) == sorted(
        f"{LONG} {number}" if has_names else f"collection {9000 + number}" for number in range(n_collections)
    )
    assert [text.get_text() for text in figure.texts] == ["" if has_names else IDS_FOR_NAMES]
    assert_apart(figure, axes)
    assert figure.get_size_inches()[1] * 25.4 < 250


def test_a_name_of_one_long_term_is_whole_where_there_is_room():
    term = "dorsolateral prefrontal cortex during response inhibition"
    titles = [f"ICA_{number:02d} {term}" for number in range(30)]
    rng = np.random.default_rng(0)
    similar = np.abs(np.corrcoef(rng.standard_normal((30, 9))))
    for n_collections, is_whole in ((20, True), (60, False)):
        means = rng.standard_normal((n_collections, 30))
        figure = draw_loadings(means, list(map(str, range(n_collections))), titles)
        names = [name.replace("\n", " ") for name in names_above(figure.axes[0])]
        assert (names == titles) == is_whole
        assert [text.get_text() for text in figure.texts] == ["" if is_whole else CUT_NAMES]
    figure = draw_similarity(similar, similar, titles)
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    assert sorted(name.replace("\n", " ") for name in names_beside(figure.axes[0])) == titles
    # With more components, long names are cut, and the others stay whole.
    beside = names_beside(
        draw_similarity(np.eye(40), None, [*titles, *(f"ICA_{k} motor" for k in range(30, 40))]).axes[0]
    )
    assert sorted(beside)[:30:29] == [f"ICA_{k} dorsolateral prefrontal cortex…" for k in ("00", "29")]
    assert sorted(beside)[30] == "ICA_30 motor"
    # The labels of the colour bars are on the page and apart.
    bars = [axes.xaxis.label.get_window_extent() for axes in figure.axes if axes.get_xlabel()]
    assert len(bars) == 2
    assert bars[0].x1 < bars[1].x0
    assert 0 < min(bar.y0 for bar in bars) < max(bar.x1 for bar in bars) < figure.bbox.x1


def test_names_of_files_are_whole_beside_a_matrix_with_room_for_more_lines():
    end = "contrast-highIntensityMinusLowIntensity_space-MNI152NLin2009cAsym_stat-z_statmap (deactivation)"
    names = [f"sub-{number:02d}_task-painfulHeatOfTheLeftForearm_{end}" for number in range(20)]
    layout = lay_out(names, [f"ICA_{number:02d} pain" for number in range(12)])
    assert ["".join(text.split()) for text in layout.rows.texts] == ["".join(name.split()) for name in names]
    # 60 maps have one line each. What is cut is not the sign.
    crowded = lay_out(names * 3, [f"ICA_{number:02d} pain" for number in range(12)])
    assert all(text.endswith("… (deactivation)") and "\n" not in text for text in crowded.rows.texts)


def test_numbers_of_a_short_colour_bar_do_not_overlap():
    """Five components that do not overlap: the bar goes from 0 to 0.01, and its numbers have many digits."""
    titles = [f"ICA_0{number} (semantic category representations)" for number in range(5)]
    figure = draw_similarity(np.eye(5), np.eye(5), titles)
    figure.draw_without_rendering()
    bars = [axes for axes in figure.axes if axes.get_xlabel()]
    assert [axes.get_xlabel() for axes in bars] == ["overlap in space (Dice)", "correlation of term weights"]
    for axes in bars:
        boxes = [text.get_window_extent() for text in axes.get_xticklabels() if text.get_text()]
        assert len(boxes) >= 3
        assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
