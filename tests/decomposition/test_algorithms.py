"""Any algorithm can be used: consensus, stability, components and order scan also work with non-orthogonal rows."""

import json
import logging

import nibabel as nib
import numpy as np
import pytest
import yaml
from conftest import best_match
from neurovault_ica.decomposition.algorithms import ALGORITHMS, Settings, solve
from neurovault_ica.decomposition.consensus import find_consensus
from neurovault_ica.decomposition.fastica import rotate
from neurovault_ica.decomposition.interface import Algorithm, Solution
from neurovault_ica.decomposition.loadings import image_covariances, join_signs, mean_correlations, read_loadings
from neurovault_ica.decomposition.stability import random_rotations
from neurovault_ica.images.signs import both_signs, find_scales, scales_of
from neurovault_ica.record.bibliography import read_works
from neurovault_ica.runtime.tables import column_names, read_table, write_table
from partial_tables import write_partial
from reduce_images import main as reduce_images
from run_ica import main as run_ica
from scan_components import main as scan_components
from workflow_runs import ROOT

SHAPE = (20, 25, 40)
FLAGS = {
    "min_iq_restarts": 0.6, "min_r_restarts": 0.8, "min_r_bootstraps": 0.5, "min_r_split_half": 0.4,
    "max_collection_share": 0.5, "min_grey_matter_share": 0.45, "max_outside_tissue_share": 0.05, "max_rim_share": 0.25,
}  # fmt: skip

HOW = {
    "random_state": 0, "n_restarts": 4, "n_bootstraps": 5, "n_splits": 2, "flags": FLAGS, "max_iter": 200, "tol": 1e-4,
    "threads": 2,
}  # fmt: skip


def lean(Z, *, seed, max_iter, tol, start=None):
    """Tilt all rows of FastICA towards one axis, so that no two are orthogonal and none has length 1."""
    solution = rotate(Z, seed=seed, max_iter=max_iter, tol=tol, start=start)
    axis = np.ones(len(Z)) / np.sqrt(len(Z))
    return solution._replace(R=3 * (solution.R + 0.4 * np.outer(solution.R @ axis, axis)))


@pytest.fixture
def leaning(monkeypatch):
    """Register an algorithm whose rows are not orthogonal."""
    monkeypatch.setitem(ALGORITHMS, "leaning", Algorithm("Leaning ICA", "leaning ICA", "sweep", False, lean))
    return "leaning"


@pytest.fixture
def run(planted, tmp_path):
    """Return a function that runs reduce_images and run_ica, or scan_components, on the planted images."""
    np.save(tmp_path / "matrix.npy", planted[2])
    nib.save(nib.Nifti1Image(np.ones(SHAPE, np.uint8), np.diag([4.0, 4, 4, 1])), tmp_path / "mask.nii.gz")
    tables = {
        "images": tmp_path / "stack_images/images.tsv",
        "collections": tmp_path / "fetch_metadata/collections.tsv",
    }
    rows = [{"image_id": row, "collection_id": row // 3} for row in range(30)]
    write_partial(tables["images"], rows)
    write_table(tables["collections"], [], column_names(tables["collections"]))
    files = {"matrix": str(tmp_path / "matrix.npy"), "images": str(tables["images"])}
    reduced = {"whitened": str(tmp_path / "whitened.npy"), "reduction": str(tmp_path / "reduction.npz")}
    reduce_images(
        **files, **reduced, variance=str(tmp_path / "reduce_images/variance.tsv"),
        n_components=4, weight_collections_equally=False, threads=1,
    )  # fmt: skip

    def start(main, inputs, outputs, **settings):
        known = files | reduced | {"mask": str(tmp_path / "mask.nii.gz"), "collections": str(tables["collections"])}
        main(
            **{name: known[name] for name in inputs},
            **{name: str(tmp_path / path) for name, path in outputs.items()},
            **HOW | settings,
        )
        return tmp_path

    return start


def decompose(run, **settings):
    outputs = {name: f"run_ica/desc-ICA_{name}.tsv" for name in ("mixing", "unmixing", "stability")}
    outputs |= {"top_images": "run_ica/desc-ICA_images.tsv", "top_collections": "run_ica/desc-ICA_collections.tsv"}
    outputs |= {"components": "run_ica/space-x_components.nii.gz", "decomposition": "run_ica/decomposition.json"}
    inputs = ("matrix", "whitened", "reduction", "images", "collections", "mask")
    folder = run(run_ica, inputs, outputs, **settings)
    S = np.asarray(nib.load(folder / outputs["components"]).dataobj).reshape(-1, 4).T
    A, W = (
        np.array([[row[f"ICA_0{k}"] for k in range(4)] for row in read_table(folder / outputs[name])])
        for name in ("mixing", "unmixing")
    )
    summary = json.loads((folder / outputs["decomposition"]).read_text())
    return S, A, W.T, read_table(folder / outputs["stability"]), summary


@pytest.mark.parametrize(
    ("is_orthogonal", "R", "problem"),
    [
        (True, np.eye(4)[:3], r"rows of shape \(3, 4\) instead of \(4, 4\)"),
        (False, np.full((4, 4), np.nan), "values that are not finite"),
        (True, 3 * np.eye(4), "its rows are not orthonormal"),
        (False, np.eye(4)[[0, 1, 2, 2]], "rows that depend on each other"),
    ],
)
def test_an_algorithm_that_does_not_keep_its_promise_is_refused(monkeypatch, is_orthogonal, R, problem):
    wrong = Algorithm("Wrong ICA", "wrong ICA", "sweep", is_orthogonal, lambda *_, **__: Solution(R, 3, converged=True))
    monkeypatch.setitem(ALGORITHMS, "wrong", wrong)
    with pytest.raises(RuntimeError, match=f"Wrong ICA .*{problem}.*choose another run_ica.algorithm"):
        solve(np.zeros((4, 9)), Settings("wrong", 0, 200, 1e-4), seed=0)


def test_a_non_orthogonal_algorithm_still_reconstructs_the_images(planted, run, leaning):
    sources, _, X = planted
    centred = X - X.mean(axis=1, keepdims=True)
    S, A, W, stability, summary = decompose(run, algorithm=leaning)
    correlations = np.abs(np.corrcoef(S) - np.eye(4))
    assert correlations.max() > 0.1, "the rows are not orthogonal"
    np.testing.assert_allclose(A @ S, centred, atol=0.06)
    np.testing.assert_allclose(W @ centred, S, atol=2e-3)
    np.testing.assert_allclose(S.std(axis=1, dtype=float), 1, atol=1e-6)
    assert (-S.min(axis=1) < S.max(axis=1)).all()
    assert (np.diff(np.square(A).sum(axis=0)) < 0).all()
    assert best_match(S, sources).min() > 0.9
    assert (summary["algorithm"], summary["algorithm_label"], summary["iteration"]) == (leaning, "Leaning ICA", "sweep")
    _, r = mean_correlations(image_covariances(A, S), X.std(axis=1, dtype=float), range(30))
    np.testing.assert_allclose(r, np.corrcoef(X, S)[:30, 30:], atol=1e-3)
    assert summary["variance_explained"] == pytest.approx(1, abs=1e-3)
    assert (summary["n_restarts_converged"], summary["n_bootstraps_used"], summary["n_splits_used"]) == (4, 5, 2)
    assert min(row["r_restarts"] for row in stability) > 0.9
    assert max(row[name] for row in stability for name in ("r_restarts", "r_bootstraps", "r_split_half")) < 1 + 1e-9


def test_with_split_signs_images_have_two_loadings_and_stay_one_image(planted, run, tmp_path):
    X = planted[2].copy()
    X[4] = np.abs(X[4])
    np.save(tmp_path / "matrix.npy", X)
    table = tmp_path / "stack_images/images.tsv"
    used = [row | find_scales(x, scale="unit_variance") for row, x in zip(read_table(table), X, strict=True)]
    write_table(table, used)
    reduce_images(
        matrix=str(tmp_path / "matrix.npy"), images=str(table), whitened=str(tmp_path / "whitened.npy"),
        reduction=str(tmp_path / "reduction.npz"), variance=str(tmp_path / "reduce_images/variance.tsv"),
        n_components=4, weight_collections_equally=True, threads=1,
    )  # fmt: skip
    S, A, W, _, summary = decompose(run, algorithm="fastica")
    halves = np.maximum(both_signs(X.astype(float)), 0)
    halves /= np.maximum(halves.std(axis=1, keepdims=True), 1e-12)
    halves -= halves.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(W @ halves, S, atol=2e-3)
    np.testing.assert_allclose(A, halves @ S.T / S.shape[1], atol=1e-4)
    assert not A[9].any(), "the deactivation of image 4 is empty"
    mixing = read_loadings(str(tmp_path / "run_ica/desc-ICA_mixing.tsv"))
    assert (mixing.image_ids, mixing.labels, mixing.is_split) == (
        [str(n) for n in range(30)],
        [f"ICA_0{k}" for k in range(4)],
        True,
    )
    assert (summary["n_images"], summary["n_collections"]) == (30, 10)
    assert summary["n_images_without"] == {"activation": 0, "deactivation": 1}
    scales = scales_of(used)
    _, r = mean_correlations(join_signs(A, scales), X.std(axis=1, dtype=float), range(30))
    np.testing.assert_allclose(r, np.corrcoef(X, S)[:30, 30:], atol=1e-3)


def test_a_run_that_did_not_converge_is_reported_with_the_algorithm_s_name_and_a_command(
    run, leaning, tmp_path, caplog
):
    (tmp_path / "archive.json").write_text('{"command": "snakemake --cores 8 TARGET --configfile mine.yaml"}')
    with caplog.at_level(logging.WARNING):
        summary = decompose(run, algorithm=leaning, max_iter=1)[-1]
    assert not summary["converged"]
    assert summary["n_restarts_converged"] == summary["n_bootstraps_converged"] == summary["n_halves_converged"] == 0
    assert "Leaning ICA did not converge within 1 sweep" in caplog.text
    assert "To compare numbers: snakemake --cores 8 scan_components --configfile mine.yaml" in caplog.text


def test_orders_are_scanned_with_any_algorithm(run, leaning):
    outputs = {"table": "scan_components/orders.tsv", "figure": "orders.png", "advice": "advice.txt"}
    folder = run(
        scan_components,
        ("matrix", "reduction", "images", "mask"),
        outputs,
        algorithm=leaning,
        archive="the cache data",
        orders=[2, 4],
        n_restarts=2,
    )
    assert [row["n_components"] for row in read_table(folder / outputs["table"])] == [2, 4]


def test_rows_get_length_one_and_the_last_run_starts_from_the_centrotypes(white, monkeypatch):
    starts = []

    def record(Z, *, seed, max_iter, tol, start=None):
        starts.append(start)
        return lean(Z, seed=seed, max_iter=max_iter, tol=tol, start=start)

    monkeypatch.setitem(ALGORITHMS, "recorded", Algorithm("", "", "sweep", False, record))
    settings = Settings("recorded", random_state=0, max_iter=200, tol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(solve(white, settings, seed=0).R, axis=1), 1)
    _, restarts = find_consensus(white, 3, settings)
    estimates = np.vstack([restart.R for restart in restarts])
    np.testing.assert_allclose(np.abs(estimates @ starts[-1].T).max(axis=0), 1)
    assert np.abs(starts[-1] @ starts[-1].T - np.eye(4)).max() > 0.1, "centrotypes are not made orthogonal"


def test_random_rotations_keep_the_correlations_within_a_run(leaning):
    rows = np.random.default_rng(0).normal(size=(3, 8))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    settings = Settings(leaning, random_state=0, max_iter=1, tol=1e-4)
    for (rotated,) in random_rotations([rows], settings):
        np.testing.assert_allclose(rotated @ rotated.T, rows @ rows.T, atol=1e-12)
        assert np.linalg.matrix_rank(np.vstack([rows, rotated])) == 3, "the subspace is the same"


def test_the_schema_lists_the_algorithms_and_their_citations_are_known():
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    assert schema["properties"]["run_ica"]["properties"]["algorithm"]["enum"] == list(ALGORITHMS)
    works = read_works()
    for algorithm in ALGORITHMS.values():
        assert algorithm.method.format_map(dict.fromkeys(works, "(Somebody 1999)")).count("(Somebody 1999)") >= 1
