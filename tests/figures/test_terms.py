"""Bars show which terms are significant."""

from neurovault_ica.figures.terms import BARS, Term, draw_terms, kind_of, top_terms


def test_terms_come_by_rank_with_their_q():
    rows = [{"component": "ICA_00", "term": term, "rank": rank, "weight": 1 / rank, "q": q}
            for rank, term, q in [(2, "hand", 0.2), (1, "motor", 0.001), (3, None, None)]]  # fmt: skip
    assert top_terms(rows) == {"ICA_00": [Term("motor", 1, 0.001), Term("hand", 0.5, 0.2), Term("", 1 / 3, None)]}


def test_bars_and_legend_show_which_terms_are_significant():
    terms = {"ICA_00": [Term("motor", 1, 0.001), Term("hand", 0.5, 0.05)], "ICA_01": [Term("pain", 0.5, 0.2)]}
    sheet = draw_terms(["ICA_00", "ICA_01", "ICA_02"], terms)
    # Bars of the terms, then those of the legend; a filled bar is opaque, a hollow one is not.
    assert [bar.get_facecolor()[3] for bar in sheet.figure.artists] == [1, 0, 0, 1, 0]
    shown = [text.get_text() for text in sheet.figure.texts]
    assert [text for text in shown if text.endswith("*")] == ["1.00 *"]
    assert shown[-2:] == [BARS["significant"], BARS["chance"]]
    assert any(text.startswith("numbers: weights of the terms") for text in shown)
    assert "no terms" in shown
    assert {"ICA_00", "ICA_01", "ICA_02"} <= set(shown)
    named = draw_terms(["ICA_00"], terms, {"ICA_00": "ICA_00  motor; hand (left)"})
    assert "ICA_00 motor; hand (left)" in [text.get_text() for text in named.figure.texts]


def test_terms_that_were_not_tested_are_neither_filled_nor_hollow():
    assert [kind_of(q) for q in (None, 0.0, 0.0499, 0.05, 1.0)] == [
        "untested", "significant", "significant", "chance", "chance",
    ]  # fmt: skip
    sheet = draw_terms(["ICA_00"], {"ICA_00": [Term("motor", 1, None)]})
    assert sheet.figure.texts[-1].get_text() == BARS["untested"]
    assert len(sheet.figure.artists) == 2
    assert not draw_terms(["ICA_00"], {}).figure.artists


def test_titles_do_not_run_into_each_other():
    titles = {
        "ICA_00": "ICA_00 sentence; language; comprehension",
        "ICA_01": "ICA_01 unnamed (closest: visual cortex sensory; motion)",
        "ICA_02": "ICA_02 pain", "ICA_03": "ICA_03 hippocampus; memory; retrieval",
    }  # fmt: skip
    sheet = draw_terms(list(titles), {label: [Term("pain", 1.0, 0.01)] for label in titles}, titles)
    sheet.canvas.draw()
    to_mm = sheet.in_mm.inverted()
    bold = [text for text in sheet.figure.texts if text.get_fontweight() == "bold"]
    edges = [to_mm.transform(text.get_window_extent()) for text in bold]
    assert [text.get_text().partition(" ")[0] for text in bold if text.get_text().startswith("ICA")] == list(titles)
    for (left, _), (right, _) in edges:
        assert right < 60 * (left // 60 + 1)
