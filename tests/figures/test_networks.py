"""The matrix of components and networks fits its numbers and names into the width of one or two columns of a page."""

import numpy as np
import pytest
from neurovault_ica.figures.networks import draw_network_correlations
from neurovault_ica.figures.style import MM_PER_INCH, NARROW_MM, WIDE_MM
from neurovault_ica.naming.networks import Matches


@pytest.mark.parametrize(
    ("n_networks", "width", "has_numbers"), [(5, NARROW_MM, True), (25, WIDE_MM, True), (30, WIDE_MM, False)]
)
def test_matrix_is_as_wide_as_its_numbers_need(n_networks, width, has_numbers):
    matches = Matches(np.array([1, 0]), np.array([1, -1]))
    r = np.full((2, n_networks), 0.1)
    r[0, 1] = -0.7
    rows = [{"component": "ICA_00", "best_q": 0.01}, {"component": "ICA_01", "best_q": 0.2}]
    names = ["somatomotor dorsal", *(f"network {number}" for number in range(1, n_networks))]
    sheet = draw_network_correlations(r, rows, matches, names)
    assert sheet.figure.get_size_inches()[0] * MM_PER_INCH == pytest.approx(width)
    texts = {text.get_text(): text for text in sheet.figure.texts}
    assert ("0.10" in texts) == has_numbers
    if has_numbers:
        assert [text.get_text() for text in sheet.figure.texts if text.get_fontweight() == "bold"] == ["0.70"]
    page = sheet.figure.bbox
    for name in ("ICA_00", "network 1", "somatomotor dorsal"):
        box = texts[name].get_window_extent(sheet.canvas.get_renderer())
        assert page.xmin <= box.xmin
        assert page.ymin <= box.ymin
        assert box.xmax <= page.xmax
        assert box.ymax <= page.ymax


def test_the_matrix_promises_no_bold_numbers_if_nothing_was_tested():
    matches = Matches(np.array([1, 0]), np.array([1, -1]))
    for q, meaning in ((None, "Not tested."), (0.5, "Bold: best network of the component, q < 0.05.")):
        rows = [{"component": label, "best_q": q} for label in ("ICA_00", "ICA_01")]
        sheet = draw_network_correlations(np.full((2, 3), 0.1), rows, matches, ["visual", "motor", "reward"])
        assert meaning in {text.get_text() for text in sheet.figure.texts}
        assert any("Bold" in text.get_text() for text in sheet.figure.texts) == (q is not None)
