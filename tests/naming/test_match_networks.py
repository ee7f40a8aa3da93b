"""Planted networks are matched, unrelated ones are not significant, and figures are drawn."""

import nibabel as nib
import numpy as np
import pytest
from made_maps import EGG, EGG_AFFINE, smooth_noise
from match_networks import main
from neurovault_ica.figures.networks import BELOW, draw_match, evidence_of, networks_shown
from neurovault_ica.figures.shown import Display, Shown, show, show_beside
from neurovault_ica.figures.slices import Box, Scale
from neurovault_ica.images.maps import Maps, Volume
from neurovault_ica.naming.networks import Matches, find_one_signed, match_components, p_of_largest, tabulate
from neurovault_ica.runtime.tables import read_table
from neurovault_ica.statistics.p_values import false_discovery_rate
from neurovault_ica.statistics.thresholds import Thresholds
from nilearn.datasets import load_mni152_brain_mask
from PIL import Image
from scipy import ndimage

# Thresholds of the figures, and the signs of two networks: motor, which is a thresholded map, and visual.
DISPLAY = Display({"z": 2.5}, 200)
SIGNS = find_one_signed(np.array([[0.0, 3.1, 2.4], [-1.0, 0.5, 0.0]]))


def test_one_network_may_be_the_best_of_two_components_but_matched_with_one():
    r = np.array([[0.9, 0.1, 0.0], [-0.8, 0.3, 0.1], [0.2, 0.1, -0.4], [0.0, 0.1, 0.0]])
    matches = match_components(r)
    assert matches.best.tolist() == [0, 0, 2, 1]
    assert matches.matched.tolist() == [0, 1, 2, -1]


def test_matching_takes_the_largest_sum_not_the_first_best():
    assert match_components(np.array([[0.9, 0.8], [0.85, 0.1]])).matched.tolist() == [1, 0]


def test_rows_have_the_numbers_of_their_own_pair_and_q_over_components():
    r = np.array([[0.9, 0.1], [-0.8, 0.3], [0.2, 0.1]])
    p = np.array([[0.01, 0.9], [0.02, 0.5], [0.7, 0.8]])
    rows = tabulate(r, r / 2, p, match_components(r), ["ICA_00", "ICA_01", "ICA_02"], ["motor", "visual"], SIGNS)
    assert rows[1]["best_network"] == "motor"
    assert (rows[1]["best_r"], rows[1]["best_positive_r"], rows[1]["best_p"]) == (-0.8, -0.4, 0.02)
    assert (rows[1]["matched_network"], rows[1]["matched_r"], rows[1]["matched_p"]) == ("visual", 0.3, 0.5)
    np.testing.assert_allclose([row["best_q"] for row in rows], false_discovery_rate(np.array([0.01, 0.02, 0.7])))
    np.testing.assert_allclose([row["matched_q"] for row in rows[:2]], false_discovery_rate(np.array([0.01, 0.5])))
    assert {rows[2][f"matched_{column}"] for column in ("network", "r", "positive_r", "one_signed", "p", "q")} == {None}
    assert [rows[1][f"{kind}_one_signed"] for kind in ("best", "matched")] == [True, False]
    assert evidence_of(rows[1], "best") == "r \u22120.80, of the positive side \u22120.40; p 0.02, q 0.03"


def test_without_surrogates_nothing_is_tested():
    r = np.array([[0.9, 0.1]])
    row = tabulate(r, r, None, match_components(r), ["ICA_00"], ["motor", "visual"], SIGNS)[0]
    assert row["best_p"] is row["best_q"] is row["matched_p"] is None
    assert evidence_of(row, "best") == "r 0.90, of the positive side 0.90; not tested"


def test_five_percent_of_unrelated_components_have_p_below_five_percent():
    """p is corrected for choosing the best of ten networks. Uncorrected, 40 % of components would be below 5 %."""
    rng = np.random.default_rng(0)
    components = np.array([smooth_noise(rng, 20, symmetry=0.3) for _ in range(30)])
    networks = np.array([smooth_noise(rng, 15, symmetry=0.3) for _ in range(10)])
    p = p_of_largest(components, networks, EGG, EGG_AFFINE, n_surrogates=39, random_state=0)
    share = (p.min(axis=1) <= 0.05).mean()
    assert abs(share - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 30)
    assert p.max() == 1


def test_p_of_a_component_does_not_depend_on_the_others_or_on_threads():
    rng = np.random.default_rng(1)
    components, networks = (np.array([smooth_noise(rng, 15) for _ in range(3)]) for _ in range(2))
    settings = {"n_surrogates": 19, "random_state": 4}
    together = p_of_largest(components, networks, EGG, EGG_AFFINE, **settings, threads=3)
    alone = [p_of_largest(components[:n], networks, EGG, EGG_AFFINE, **settings) for n in (1, 3)]
    np.testing.assert_array_equal(alone[0], together[:1])
    np.testing.assert_array_equal(alone[1], together)


def test_networks_are_in_the_order_of_their_components_and_only_matches_if_there_are_many():
    matches = Matches(np.array([2, 2, 5]), np.array([2, 1, -1]))
    assert networks_shown(matches, 6) == [2, 1, 0, 3, 4, 5]
    assert networks_shown(matches, 400) == [2, 1, 5]


@pytest.fixture(scope="module")
def run(tmp_path_factory, template_file):
    """Match three components, two of them noisy networks, with three networks that have no data on the left."""
    folder = tmp_path_factory.mktemp("run")
    mask_img = load_mni152_brain_mask(resolution=4)
    inside = np.asarray(mask_img.dataobj) != 0
    rng = np.random.default_rng(5)

    def smooth():
        volume = ndimage.gaussian_filter(rng.standard_normal(inside.shape), 2)
        volume[~inside] = 0
        return volume / volume[inside].std()

    networks = [smooth() for _ in range(3)]
    components = [smooth() - networks[2], smooth(), smooth() + 2 * networks[0]]
    seen = np.arange(inside.shape[0])[:, None, None] >= inside.shape[0] // 2
    reference = np.stack([network * seen for network in networks], axis=-1).astype(np.float32)
    nib.save(nib.Nifti1Image(reference, mask_img.affine), folder / "mine.nii.gz")
    (folder / "mine.txt").write_text("motor\nvisual $x_1$\nreward\n")
    maps = np.stack(components, axis=-1).astype(np.float32)
    nib.save(nib.Nifti1Image(maps, mask_img.affine), folder / "components.nii.gz")
    nib.save(mask_img, folder / "mask.nii.gz")
    home = folder / "match_networks"
    home.mkdir()
    (home / "ICA_07.png").touch()
    (home / "ICA_07.pdf").touch()
    main(
        components=str(folder / "components.nii.gz"),
        mask=str(folder / "mask.nii.gz"),
        template=template_file,
        networks=str(home / "desc-ICA_networks.tsv"),
        correlations=str(home / "desc-ICA_correlations.tsv"),
        figures=[str(home / f"ICA_0{number}.png") for number in range(3)],
        matrix=str(home / "correlations.png"),
        pdfs=[str(home / f"{name}.pdf") for name in ("ICA_00", "ICA_01", "ICA_02", "correlations")],
        reference=str(folder / "mine.nii.gz"),
        n_surrogates=39,
        data_dir=str(folder),
        random_state=0,
        display=DISPLAY._asdict(),
        threads=1,
    )
    common = inside & seen
    x, y = maps[common].T.astype(float), reference[common].T.astype(float)
    return home, np.corrcoef(x, y)[:3, 3:], np.corrcoef(np.maximum(x, 0), y)[:3, 3:]


def test_the_table_names_the_planted_networks(run):
    home, expected, _ = run
    rows = read_table(home / "desc-ICA_networks.tsv")
    assert [row["matched_network"] for row in rows] == ["reward", "visual $x_1$", "motor"]
    assert [rows[0]["best_network"], rows[2]["best_network"]] == ["reward", "motor"]
    assert rows[0]["best_r"] == pytest.approx(expected[0, 2], abs=1e-12)
    assert rows[0]["best_r"] < -0.6
    assert [rows[0]["best_p"], rows[2]["best_p"]] == [1 / 40, 1 / 40]
    assert rows[1]["best_p"] > 0.05


def test_every_pair_is_listed_over_the_common_voxels(run):
    home, expected, expected_positive = run
    rows = read_table(home / "desc-ICA_correlations.tsv")
    assert [(row["component"], row["network"]) for row in rows[2:4]] == [("ICA_00", "reward"), ("ICA_01", "motor")]
    np.testing.assert_allclose([row["r"] for row in rows], expected.ravel(), atol=1e-12)
    np.testing.assert_allclose([row["positive_r"] for row in rows], expected_positive.ravel(), atol=1e-12)


def test_figures_of_an_earlier_run_are_gone_and_new_ones_are_pictures(run):
    home, *_ = run
    for kind in ("png", "pdf"):
        assert sorted(path.stem for path in home.glob(f"*.{kind}")) == ["ICA_00", "ICA_01", "ICA_02", "correlations"]
    for path in home.glob("*.png"):
        assert len(Image.open(path).getcolors(2**24)) > 50


def test_maps_are_drawn_side_by_side_with_the_same_slices():
    """The same map gives the same picture on both sides."""
    rng = np.random.default_rng(3)
    affine = np.array([[4.0, 0, 0, -40], [0, 4, 0, -40], [0, 0, 4, -40], [0, 0, 0, 1]])
    data = ndimage.gaussian_filter(rng.standard_normal((20, 20, 20)), 2).astype(np.float32)
    maps = Maps(data.reshape(1, -1), np.ones(data.shape, bool), nib.Nifti1Image(data, affine).header)
    template = Volume(np.ones((20, 20, 20), np.float32), affine)
    shown = show(maps, 0, Display({"percentile": 90}, 0))
    sheet = draw_match([shown, shown], [("", "")] * 2, template, Box((-30, -30, -30), (30, 30, 30)))
    # Colour bars, at the bottom, have different units.
    pixels = sheet.pixels()[: -round((BELOW - 4) * sheet.pixels_per_mm)]
    assert pixels.std() > 20, "there are pictures"
    half = pixels.shape[1] // 2
    assert np.abs(pixels[:, :half].astype(int) - pixels[:, half : 2 * half]).mean() < 1


def test_as_many_voxels_are_shown_of_a_network_as_of_its_component():
    rng = np.random.default_rng(5)
    values = np.stack([rng.standard_normal(8000), rng.random(8000)]).astype(np.float32)
    inside = np.ones((20, 20, 20), bool)
    maps = Maps(values, inside, nib.Nifti1Image(np.zeros(inside.shape, np.float32), np.diag([4.0, 4, 4, 1])).header)
    display = Display({"z": 1.5}, 0)
    component = show(maps, 0, display)
    network = show_beside(component, maps, 1, display)
    assert np.count_nonzero(values[1] >= network.scale.threshold) == np.count_nonzero(np.abs(values[0]) >= 1.5)


def test_a_reference_outside_the_mask_is_refused(tmp_path):
    mask_img = load_mni152_brain_mask(resolution=4)
    inside = np.asarray(mask_img.dataobj) != 0
    speck = np.zeros(inside.shape, dtype=np.float32)
    speck[20:23, 20:23, 20:23] = 1.5
    nib.save(nib.Nifti1Image(speck, mask_img.affine), tmp_path / "speck.nii")
    nib.save(mask_img, tmp_path / "mask.nii")
    nib.save(nib.Nifti1Image(inside[..., None].astype(np.float32), mask_img.affine), tmp_path / "components.nii.gz")
    unused = dict.fromkeys(["networks", "correlations", "matrix"], str(tmp_path / "unused"))
    with pytest.raises(ValueError, match=r"speck.nii: its networks cover only 0.1% of the mask"):
        main(
            components=str(tmp_path / "components.nii.gz"), mask=str(tmp_path / "mask.nii"), template="unused",
            reference=str(tmp_path / "speck.nii"), **unused, figures=[], pdfs=[], n_surrogates=0, data_dir="unused",
            display=DISPLAY._asdict(),
            random_state=0, threads=1,
        )  # fmt: skip


def test_the_evidence_fits_above_its_map():
    affine = np.diag([4.0, 4, 4, 1])
    affine[:3, 3] = -100
    volume = Volume(np.full((50, 50, 50), 2.5, np.float32), affine)
    brain = Box((-72, -107, -72), (72, 73, 82))  # the size of the MNI152 brain
    row = {"best_r": -0.444, "best_positive_r": -0.452, "best_p": 0.00099, "best_q": 0.0123}
    headings = [("ICA_00", ""), *[("default mode", f"best, one to one: {evidence_of(row, 'best')}")] * 2]
    sheet = draw_match([Shown(volume, Scale(2, 2, 3), Thresholds(2, 2), None)] * 3, headings, volume, brain)
    sheet.canvas.draw()
    texts = [text.get_text() for text in sheet.figure.texts]
    # Each map has a bar and its positions; the unit of a network is unknown.
    assert [texts.count(one) for one in ("x = \u2212100", "2.5 SD", "2.5")] == [3, 1, 2]
    first, second = (text.get_window_extent() for text in sheet.figure.texts if "positive side" in text.get_text())
    assert first.x1 < second.x0
    assert second.x1 < sheet.figure.bbox.x1
