"""Planted networks are counted correctly, and the advice follows from the numbers."""

import nibabel as nib
import numpy as np
import pytest
from neurovault_ica.decomposition.algorithms import Settings
from neurovault_ica.decomposition.axes import ImagesInAxes
from neurovault_ica.decomposition.consensus import find_consensus, judge_by_restarts
from neurovault_ica.decomposition.orders import advise, choose_orders, derive_orders, scan_order
from neurovault_ica.decomposition.summary import RULE
from neurovault_ica.figures.orders import draw_orders
from neurovault_ica.runtime.tables import column_names, read_table, write_table
from neurovault_ica.statistics.lattice import lattice_of
from neurovault_ica.statistics.parallel_analysis import count_above_chance
from reduce_images import main as reduce_images
from scan_components import main
from scipy import ndimage

N_NETWORKS = 3
FLAGS = {"min_iq_restarts": 0.6, "min_r_restarts": 0.8, "min_r_bootstraps": 0.5, "min_r_split_half": 0.4}
HOW = {"algorithm": "fastica", "random_state": 0, "max_iter": 100, "tol": 1e-4}


@pytest.fixture(scope="module")
def mask_img():
    grid = np.indices((20, 22, 20)) - np.array([9.5, 10.5, 9.5])[:, None, None, None]
    affine = np.diag([6.0, 6, 6, 1])
    affine[0, 3] = -57  # symmetric about x = 0
    return nib.Nifti1Image((np.square(grid).sum(axis=0) < 9**2).astype(np.uint8), affine)


@pytest.fixture(scope="module")
def noise(mask_img):
    """Simulate 36 unrelated maps of smooth noise (36, n_voxels)."""
    drawn = np.random.default_rng(0).standard_normal((36, *mask_img.shape))
    inside = np.asarray(mask_img.dataobj) > 0
    return np.stack([ndimage.gaussian_filter(volume, 1.0)[inside] for volume in drawn])


@pytest.fixture(scope="module")
def images(noise):
    """Add sparse networks to the noise, in all images."""
    rng = np.random.default_rng(1)
    networks = rng.laplace(size=(N_NETWORKS, noise.shape[1])) ** 3
    networks /= networks.std(axis=1, keepdims=True)
    X = rng.normal(size=(36, N_NETWORKS)) @ networks + noise / noise.std()
    return (X / X.std(axis=1, keepdims=True)).astype(np.float32)


def test_networks_are_counted_and_noise_is_not(mask_img, images, noise):
    lattice = lattice_of(np.asarray(mask_img.dataobj) > 0, mask_img.affine)
    count = [count_above_chance(X[:18, lattice.points], lattice, np.random.default_rng(0)) for X in (images, noise)]
    assert count == [N_NETWORKS, 0]


def test_surrogates_of_halves_are_split_where_their_images_are(mask_img, noise):
    """All values are positive, so each image has one half. Surrogates with two halves would hide a weak network."""
    lattice = lattice_of(np.asarray(mask_img.dataobj) > 0, mask_img.affine)
    noise = noise[:, lattice.points] / noise.std()
    X = noise[:18] + 0.25 * noise[20]
    assert count_above_chance(X, lattice, np.random.default_rng(0)) == 1
    assert count_above_chance(X + 10, lattice, np.random.default_rng(0), split=True) == 1


@pytest.mark.long
def test_the_scan_finds_the_number_of_networks(mask_img, images, tmp_path, caplog):
    caplog.set_level("INFO")
    np.save(tmp_path / "matrix.npy", images)
    nib.save(mask_img, tmp_path / "mask.nii.gz")
    table = tmp_path / "stack_images/images.tsv"
    names = column_names(table)
    write_table(table, [dict.fromkeys(names) | {"image_id": row, "collection_id": row // 3} for row in range(36)])
    files = {"matrix": str(tmp_path / "matrix.npy"), "images": str(table)}
    reduced = {key: str(tmp_path / "reduce_images" / name) for key, name in (
        ("whitened", "whitened.npy"), ("reduction", "reduction.npz"), ("variance", "variance.tsv")
    )}  # fmt: skip
    reduce_images(**files, **reduced, n_components=N_NETWORKS, weight_collections_equally=False, threads=1)
    orders = tmp_path / "scan_components/orders.tsv"
    main(
        **files,
        reduction=reduced["reduction"],
        mask=str(tmp_path / "mask.nii.gz"),
        table=str(orders),
        figure=str(tmp_path / "orders.png"),
        advice=str(tmp_path / "advice.txt"),
        archive="the cache data",
        orders=[2, 6, 3, 20, 50],
        n_restarts=4,
        n_bootstraps=8,
        n_splits=3,
        flags=FLAGS | {"max_collection_share": 0.5},
        threads=2,
        **HOW,
    )
    rows = read_table(orders)
    assert [row["n_components"] for row in rows] == [2, 3, 6, 20], "36 images have no 50 components"
    assert rows[1]["reproduced"] == N_NETWORKS
    assert rows[2]["reproduced"] == N_NETWORKS
    assert rows[1]["r_split_half"] > 0.8 > rows[2]["r_split_half"]
    assert rows[3]["r_bootstraps"] is not None
    assert rows[3]["reproduced"] is None, "halves of 18 images have no 20 components, so orders cannot be compared"
    variance = np.load(reduced["reduction"])["eigenvalues"]
    assert rows[2]["variance_explained"] == pytest.approx(variance[:6].sum() / variance.sum(), rel=1e-6)
    Z = np.load(reduced["whitened"])
    solution, restarts = find_consensus(Z, 4, Settings(**HOW))
    iq, _ = judge_by_restarts(solution.R, restarts)
    assert rows[1]["iq_restarts"] == pytest.approx(iq.mean(), abs=1e-4), "as in run_ica"
    text = (tmp_path / "advice.txt").read_text()
    assert text.startswith("Based on 36 images of 12 collections from the cache data.\n")
    basis = "comparing numbers of components (2, 3, 6, 20) on 36 images of 12 collections from the cache data"
    assert caplog.messages.index(basis) < caplog.messages.index("2 components: 0 reproduced")
    assert f"Advice: set run_ica.n_components to 3. The rule: {RULE}. With 3 components, 3 are reproduced" in text
    assert "The advice does not use this number" in text
    assert "Parallel analysis: 3 principal components have more variance" in text
    assert (tmp_path / "orders.png").stat().st_size > 10_000
    assert b"/FontFile2" in (tmp_path / "orders.pdf").read_bytes(), "TrueType"


def test_components_count_as_reproduced_only_if_a_criterion_judged_them():
    limits = FLAGS | {"max_collection_share": 0.5}
    rng = np.random.default_rng(0)
    P = rng.laplace(size=(3, 2000)).astype(np.float32)
    P = (P - P.mean(axis=1, keepdims=True)) / P.std(axis=1, keepdims=True)
    images = ImagesInAxes(P, rng.normal(size=(24, 3)), [str(row // 2) for row in range(24)])

    def reproduced(**changes):
        options = {"n_restarts": 1, "n_bootstraps": 3, "n_splits": 0, "limits": limits} | changes
        return scan_order(P, images, settings=Settings(**HOW), threads=1, **options)["reproduced"]

    assert reproduced() is not None
    assert reproduced(limits=limits | {"min_r_bootstraps": None}) is None
    assert reproduced(limits=limits | {"min_r_bootstraps": None}, n_splits=1) is not None
    assert reproduced(n_bootstraps=0) is None


def test_the_figure_of_one_number_without_stability_says_so(tmp_path, monkeypatch, recwarn):
    missing = dict.fromkeys(column_names("scan_components/orders.tsv"))
    one = missing | {"n_components": 4, "restarts_converged": 1, "variance_explained": 0.9}
    drawn = []
    monkeypatch.setattr("neurovault_ica.figures.orders.save_figure", lambda figure, *_, **__: drawn.append(figure))
    draw_orders([one], 2, n_restarts=1, path=str(tmp_path / "orders.png"))
    stability, number, variance = drawn[0].axes
    assert [text.get_text() for text in stability.texts] == ["not measured"]
    assert stability.get_xlim() == variance.get_xlim() == (3, 5)
    assert number.lines[0].get_marker() == "o"
    assert not recwarn.list


def row(n_components, reproduced, *, restarts_converged=20, converged=True):
    return {
        "n_components": n_components,
        "reproduced": reproduced,
        "restarts_converged": restarts_converged,
        "converged": converged,
    }


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([row(10, 9), row(20, 18), row(40, 20)], "no reason to lower it. With 20 components, 18 are reproduced"),
        ([row(10, 9), row(20, 18), row(40, 20)], "With more components, at most 20 are reproduced."),
        ([row(10, 9), row(20, 18), row(40, 20)], "Numbers of components tried: 10, 20, 40."),
        ([row(10, 9), row(20, 18)], "No larger number was tried"),
        ([row(10, 9), row(20, None)], "n_components to 10"),
        ([row(10, 9), row(20, None)], "Larger numbers could not be judged"),
        ([row(10, 0), row(20, 0)], "none of these numbers gave a component that was reproduced"),
        ([row(10, None)], "could not be judged"),
        ([row(5, 3), row(10, 4), row(15, 4)], "With 5 components, 3 are reproduced; this difference may not"),
        ([row(10, 9), row(20, 8, restarts_converged=17), row(30, 8)], "With 20 components, 3 of 20 restarts did not"),
        ([row(10, 9), row(30, 8, converged=False)], "With 30 components, the final run did not converge"),
    ],
)  # fmt: skip
def test_the_advice_follows_from_the_numbers(rows, words):
    text = advise(rows, 11, n_restarts=20)
    assert words in text
    assert "11 principal components" in text


def test_an_order_without_reproduced_components_is_not_suggested():
    assert "this difference" not in advise([row(5, 0), row(10, 1)], 11, n_restarts=20)


def test_orders_follow_the_number_of_images():
    assert derive_orders(72) == [4, 8, 12, 16, 20]
    assert derive_orders(300)[-1] == 100
    assert derive_orders(11) == [2]


def test_every_order_up_to_the_number_of_axes_is_tried_once(caplog):
    assert choose_orders([5, 2, 5], 5) == [2, 5]
    assert not caplog.records
    assert choose_orders([6, 5], 5) == [5]
    assert "numbers of components above 5" in caplog.text
    with pytest.raises(ValueError, match="all exceed 5, the number of principal axes"):
        choose_orders([6, 9], 5)
