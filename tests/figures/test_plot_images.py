"""Figures of the images show the measured values, and the tables behind them are right."""

import nibabel as nib
import numpy as np
import pytest
from made_maps import AFFINE, SHAPE
from matplotlib.text import Text
from neurovault_ica.figures.glass_brains import glass_brain
from neurovault_ica.figures.images import (
    MATRIX_MM,
    OTHERS,
    REJECTED,
    USED,
    draw_coverage,
    draw_image_correlations,
    draw_quality,
    spread,
)
from neurovault_ica.figures.slices import Box
from neurovault_ica.figures.style import LINE_MM
from neurovault_ica.images.criteria import CRITERIA, panels
from neurovault_ica.images.maps import Volume
from neurovault_ica.runtime.tables import read_table
from partial_tables import write_partial
from PIL import Image
from plot_images import largest_collections, main

COLUMNS = [criterion.columns[0] for criterion in panels()]


def measured(image_id, used, **values):
    return dict.fromkeys(COLUMNS, 0.5) | values | {"image_id": image_id, "used": used}


def colours_of(collection):
    """Return the colour of the dots as hexadecimal text."""
    return "#" + "".join(f"{round(255 * part):02x}" for part in collection.get_facecolor()[0][:3])


def test_quality_shows_each_image_and_the_limits():
    rows = [measured(1, True, coverage=0.9), measured(2, False, coverage=0.3), measured(3, False, coverage=0.95)]
    figure = draw_quality(rows, {2: "coverage", 3: "thresholded"}, {"min_coverage": 0.6, "max_peak": None})
    coverage, *_, peak = figure.axes
    dots = {
        colours_of(dots): dots.get_offsets()[:, 0].tolist() for dots in coverage.collections if len(dots.get_offsets())
    }
    assert dots == {USED: [0.9], REJECTED: [0.3], OTHERS: [0.95]}
    assert [line.get_xdata()[0] for line in coverage.lines if line.get_linestyle() == "--"] == [0.6]
    assert not [line for line in peak.lines if line.get_linestyle() == "--"]
    assert peak.get_xlabel() == "no limit"
    assert min(text.get_fontsize() for text in figure.findobj(Text)) >= 7
    # An exponent would be smaller than 7 pt.
    assert not [label for label in peak.get_xticklabels() if "^" in label.get_text()]
    assert [label.get_text() for label in coverage.get_yticklabels()] == ["used\n1", "rejected\n2"]
    assert [text.get_text() for text in figure.legends[0].texts] == [
        "used", "rejected by this criterion", "rejected by another one", "limit",
    ]  # fmt: skip


def test_an_image_is_marked_only_where_it_breaks_a_limit():
    """Two criteria have the reason misplaced."""
    rows = [measured(2, False, misplaced_fraction=0.05, displaced_fraction=0.3)]
    limits = {"max_misplaced_fraction": 0.12, "max_displaced_fraction": 0.09}
    figure = draw_quality(rows, {2: "misplaced"}, limits)
    colours = {}
    for axes, column in zip(figure.axes, COLUMNS, strict=True):
        colours[column] = [colours_of(dots) for dots in axes.collections if len(dots.get_offsets())]
    assert colours["displaced_fraction"] == [REJECTED]
    assert colours["misplaced_fraction"] == [OTHERS]


@pytest.mark.parametrize(("n_panels", "shape"), [(4, (2, 3)), (9, (3, 3)), (10, (4, 3))])
def test_the_grid_of_quality_follows_the_number_of_criteria(n_panels, shape, monkeypatch):
    shown = [panels()[number % 9]._replace(label=f"criterion {number}") for number in range(n_panels)]
    monkeypatch.setattr("neurovault_ica.figures.images.panels", lambda: shown)
    figure = draw_quality([measured(1, True)], {}, {})
    assert [axes.get_title() for axes in figure.axes] == [f"criterion {number}" for number in range(n_panels)]
    assert figure.axes[0].get_gridspec().get_geometry() == shape
    assert figure.get_size_inches()[0] == pytest.approx(180 / 25.4)


def test_limits_are_drawn_in_the_unit_of_their_measure(monkeypatch):
    criterion = next(criterion for criterion in CRITERIA if criterion.lower == "sign_percentile")
    monkeypatch.setattr("neurovault_ica.figures.images.panels", lambda: [criterion._replace(label="rarer sign")])
    rows = [measured(1, True, negative_share=0.3, positive_share=0.5)]
    (axes,) = draw_quality(rows, {}, {"sign_percentile": 15}).axes
    assert [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--"] == [0.15]
    assert axes.get_xlabel() == "sign_percentile 15"


def test_the_axes_of_quality_have_no_room_for_negative_values():
    rows = [measured(1, True, background_fraction=0, coverage=0.9, rms=0.01), measured(2, True, coverage=1)]
    figure = draw_quality(rows, {}, {"max_background_fraction": 0.01})
    left = {column: axes.get_xlim()[0] for axes, column in zip(figure.axes, COLUMNS, strict=True)}
    assert -0.02 < left["background_fraction"] < 0
    assert 0.8 < left["coverage"] < 0.9
    assert 0 < left["rms"] < 0.01


def test_correlations_have_lines_between_collections_and_their_names():
    figure = draw_image_correlations(np.eye(5), [(7, "$a_b$"), (7, "$a_b$"), (3, "b"), (3, "b"), (9, "c")])
    axes = figure.axes[0]
    assert [line.get_ydata()[0] for line in axes.lines[:4:2]] == [1.5, 3.5]
    assert [text.get_text() for text in axes.texts] == ["$a_b$", "b", "c"]


def test_all_collections_are_named_or_none():
    named = draw_image_correlations(np.eye(70), [(number, f"study {number}") for number in range(70)]).axes[0]
    assert [text.get_text() for text in named.texts] == [f"study {number}" for number in range(70)]
    heights = -np.diff([text.get_position()[1] * MATRIX_MM for text in named.texts])
    assert heights.min() == pytest.approx(LINE_MM)
    crowded = draw_image_correlations(np.eye(400), [(number, f"study {number}") for number in range(400)]).axes[0]
    assert len(crowded.lines) == len(crowded.texts) == 0
    assert crowded.get_ylabel().startswith("400 rows of 400 collections")


def test_names_are_moved_apart_but_not_more_than_needed():
    assert spread([2, 20, 60], [3] * 3, 50) == pytest.approx([2, 20, 60])
    assert spread([10, 10, 10, 60], [4] * 4, 50) == pytest.approx([6, 10, 14, 60])
    assert spread([50] * 3, [4] * 3, 50) == pytest.approx([46, 50, 54])
    # The second name has two lines.
    assert spread([50] * 3, [4, 8, 4], 50) == pytest.approx([44, 50, 56])
    assert spread([1, 99], [8, 8], 50) == pytest.approx([4, 96])


def test_long_names_of_collections_are_whole_if_there_is_room():
    name = "Amygdala-hippocampal connectivity changes during acute psychosocial stress: joint effect of early life"
    for n_collections, is_whole in ((38, True), (76, False)):
        rows = [(number, name if number % 2 else "short") for number in range(n_collections)]
        texts = [text.get_text() for text in draw_image_correlations(np.eye(n_collections), rows).axes[0].texts]
        assert len(texts) == n_collections
        assert (texts[1].replace("\n", " ") == name) == is_whole
        assert is_whole or texts[1].endswith("…")


def test_coverage_does_not_fade_at_the_border_of_the_mask():
    box = Box((-80, -110, -60), (80, 76, 84))
    inside = np.zeros(SHAPE, np.float32)
    inside[10:-10, 10:-10, 2:-2] = 1
    volumes = [Volume(data, AFFINE) for data in (8 * inside, inside, np.full_like(inside, 0.5))]
    sheet = draw_coverage(*volumes, box, 8)
    rows, columns = sheet.placed[3]
    middle = sheet.background[::-1][rows, columns]
    yellow, grey = middle[middle.shape[0] // 2, middle.shape[1] // 2].tolist(), middle[3, 3].tolist()
    assert yellow[0] > 200 > 100 > yellow[2]
    assert len(set(grey)) == 1
    assert {tuple(colour) for colour in middle.reshape(-1, 3).tolist()} <= {tuple(yellow), tuple(grey), (255, 255, 255)}
    assert [text.get_text() for text in sheet.figure.texts][-4:] == ["0", "4", "8", "images"]


@pytest.mark.parametrize("n_batches", [0, 1, 2])
def test_stage_writes_figures_counts_and_glass_brains(tmp_path, template_file, n_batches, monkeypatch, caplog):
    """Without voxels of the batches, there are no pictures of rejected images. The order is that of the selection."""
    caplog.set_level("INFO")
    if not n_batches:
        monkeypatch.setattr("neurovault_ica.figures.glass_brains.MOST_GLASS_BRAINS", 1)
    inside = np.zeros(SHAPE, np.uint8)
    inside[10:-10, 10:-10, 5:-5] = 1
    nib.save(nib.Nifti1Image(inside, AFFINE), tmp_path / "mask.nii.gz")
    X = np.random.default_rng(0).normal(size=(3, inside.sum())).astype(np.float32)
    X[0, :100] = 0
    np.save(tmp_path / "matrix.npy", X[:2])
    # The image of the second batch is between those of the first. Image 4 could not be read.
    batches = {0: [], 1: [[1, 2, 3, 4]], 2: [[1, 3, 4], [2]]}[n_batches]
    for batch, numbers in enumerate(batches):
        np.save(tmp_path / f"voxels-{batch}.npy", X[[number - 1 for number in numbers if number < 4]])

    def table(name, rows):
        return write_partial(tmp_path / name, rows)

    paths = {
        name: str(tmp_path / f"plot/{name}.png") for name in ("quality_figure", "coverage_figure", "correlation_figure")
    }
    rows = [{"image_id": number} | dict.fromkeys(COLUMNS, 1) for number in (1, 2, 3, 4)]
    main(
        matrix=str(tmp_path / "matrix.npy"),
        mask=str(tmp_path / "mask.nii.gz"),
        template=template_file,
        images=table("stack_images/images.tsv", [{"image_id": k, "row": k, "collection_id": k} for k in (1, 2)]),
        rejected=table(
            "stack_images/rejected.tsv",
            [{"image_id": 3, "reason": "coverage"}, {"image_id": 4, "reason": "unreadable"}],
        ),
        quality=table("stack_images/quality.tsv", [row | {"used": row["image_id"] < 3} for row in rows]),
        qualities=[
            table(
                f"mask_images/quality-{batch}.tsv",
                [rows[number - 1] | {"row": row if number < 4 else None} for row, number in enumerate(numbers)],
            )
            for batch, numbers in enumerate(batches)
        ],
        voxels=[str(tmp_path / f"voxels-{batch}.npy") for batch in range(n_batches)],
        coverage=str(tmp_path / "plot/coverage.nii.gz"),
        correlation=str(tmp_path / "plot_images/correlation.tsv"),
        glass=str(tmp_path / "plot/glass.npz"),
        limits={"min_coverage": 0.6},
        **paths,
    )
    counts = nib.load(tmp_path / "plot/coverage.nii.gz").get_fdata()[inside > 0]
    np.testing.assert_array_equal(counts, np.where(np.arange(X.shape[1]) < 100, 1, 2))
    r = np.corrcoef(X)[0, 1].round(4)
    assert read_table(tmp_path / "plot_images/correlation.tsv") == [
        {"collection_id": "1", "image_id": "1", "r_1": 1, "r_2": pytest.approx(r)},
        {"collection_id": "2", "image_id": "2", "r_1": pytest.approx(r), "r_2": 1},
    ]
    glass = np.load(tmp_path / "plot/glass.npz")
    assert glass["image_ids"].tolist() == ([1, 2, 3] if batches else [1])
    drawn = "drew 3 images: 2 used, 1 rejected" if batches else "drew 1 image: 1 used, 0 rejected"
    assert drawn in caplog.text
    assert glass["outline"].shape == glass["pictures"].shape[1:]
    for values, picture in zip(X, glass["pictures"], strict=False):
        np.testing.assert_array_equal(picture, glass_brain(values, np.ones((26, 35, 36), bool), AFFINE, step=1))
    for path in paths.values():
        assert Image.open(path).size[0] > 1000
        assert (tmp_path / path.replace(".png", ".pdf")).read_bytes().startswith(b"%PDF")
    assert read_table(tmp_path / "stack_images/rejected.tsv")[0]["reason"] == "coverage"


def test_only_the_largest_collections_are_correlated(caplog):
    with caplog.at_level("INFO"):
        assert largest_collections(list("abbcccdd"), 3) == {"b", "c", "d"}
        assert "only the 3 collections with most images are correlated, of 4" in caplog.text
    caplog.clear()
    assert largest_collections(list("abb"), 2) == {"a", "b"}
    assert not caplog.text
