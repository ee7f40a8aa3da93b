"""Maps, loadings and weights agree. Components have the right order and sign, and warnings the right occasion."""

import numpy as np
import pytest
from conftest import best_match
from neurovault_ica.decomposition.components import decompose, find_order_and_signs
from neurovault_ica.decomposition.fastica import rotate
from neurovault_ica.decomposition.flags import collect_measures, stability_rows
from neurovault_ica.decomposition.gram import gram_matrix, principal_axes, weigh_images
from neurovault_ica.decomposition.loadings import share_of_collections, share_of_images
from neurovault_ica.decomposition.summary import RULE, explain_problems
from neurovault_ica.images.tissues import TissueShares


@pytest.fixture(params=[False, True], ids=["unweighted", "weighted"])
def reduced(request, planted):
    X = planted[2]
    mean, gram = gram_matrix(X)
    weights = weigh_images(np.repeat([1, 2, 3], [1, 9, 20]), equally=request.param)
    roots = np.sqrt(weights)
    eigenvalues, U = principal_axes(roots[:, None] * gram * roots, 4)
    K = (U[:, :4] / np.sqrt(eigenvalues[:4])).T * roots
    return {
        "mean": mean,
        "weights": weights,
        "eigenvalues": eigenvalues,
        "U": U,
        "K": K,
        "image_variance": np.diag(gram),
    }


def test_images_are_loadings_times_maps(planted, reduced):
    sources, _, X = planted
    centred = X - reduced["mean"][:, None]
    Z = (reduced["K"] @ centred).astype(np.float32)
    S, A, W, R = decompose(Z, rotate(Z, seed=0, max_iter=200, tol=1e-4).R, reduced, is_orthogonal=True)
    np.testing.assert_allclose(S.std(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(A @ S, centred, atol=0.06)
    np.testing.assert_allclose(W @ centred, S, atol=1e-3)
    np.testing.assert_allclose(R @ Z, S, atol=1e-3)
    assert best_match(S, sources).min() > 0.999
    assert (-S.min(axis=1) < S.max(axis=1)).all()
    explained = (reduced["weights"][:, None] * A**2).sum(axis=0)
    assert (np.diff(explained) < 0).all()


def test_order_by_variance_and_sign_by_peak():
    S = np.array([[1.0, -3.0, 0.5], [2.0, -1.0, 0.0], [0.5, 0.5, -0.4]])
    A = np.array([[1.0, 3.0, 2.0], [0.0, 0.0, 0.1]])
    order, signs = find_order_and_signs(S, A)
    assert list(order) == [1, 2, 0]
    assert list(signs) == [-1, 1, 1]
    settled_S, settled_A = (signs[:, None] * S)[order], (A * signs)[:, order]
    again_order, again_signs = find_order_and_signs(settled_S, settled_A)
    assert list(again_order) == [0, 1, 2]
    assert list(again_signs) == [1, 1, 1]


def test_stability_rows_name_the_largest_collection_of_a_component():
    A = np.array([[3.0, 1], [1, 1], [1, 1], [1, 1]])
    shares = share_of_collections(share_of_images(A, np.ones(4)), [4, 5, 6, 7])
    measures = collect_measures((np.array([0.9, 0.8]), np.array([1.0, 0.7])), None, None)
    tissues = TissueShares(np.array([0.6, 0.5]), np.array([0.01, 0.02]), np.array([0.1, 0.2]))
    first, second = stability_rows(
        ["ICA_00", "ICA_01"], np.array([0.6, 0.2]), measures, shares, tissues, [["one_collection"], []]
    )
    assert (first["largest_collection_id"], first["largest_collection_share"]) == (4, 0.75)
    assert first["effective_collections"] == pytest.approx(1 / (0.75**2 + 3 / 12**2))
    assert (first["flags"], second["flags"]) == ("one_collection", "")
    assert (second["grey_matter_share"], second["outside_tissue_share"], second["rim_share"]) == (0.5, 0.02, 0.2)
    assert second["effective_collections"] == pytest.approx(4)
    assert (second["iq_restarts"], second["r_restarts"], second["r_bootstraps"]) == (0.8, 0.7, None)


SOUND = {
    "algorithm": "fastica", "algorithm_label": "FastICA", "iteration": "iteration",
    "n_images": 100, "n_effective_collections": 25.0,
    "n_components": 20, "converged": True, "max_iter": 500, "n_restarts": 20, "n_restarts_converged": 18,
    "n_flagged": {"start_dependent": 1, "not_reproduced": 0, "one_collection": 1, "not_grey_matter": 0},
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        (
            {"converged": False},
            [
                "FastICA did not converge within 500 iterations; run_ica.algorithm: picard converges more often",
                f"{RULE}. To compare numbers: snakemake --cores 2 SCAN",
            ],
        ),
        ({"n_restarts_converged": 17}, ["3 of 20 restarts did not converge", "snakemake --cores 2 SCAN"]),
        (
            {"n_flagged": {"not_reproduced": 7}},
            [
                "components not reproduced across studies: 7 of 20",
                RULE,
            ],
        ),
        ({"n_restarts": 1, "n_restarts_converged": 0}, []),
        (
            {"n_images": 17, "n_components": 12},
            ["too small for general conclusions: 17 images for 12 components (expected: at least 36)"],
        ),
        ({"n_images": 29, "n_components": 2}, ["29 images for 2 components (expected: at least 30)"]),
        ({"n_effective_collections": 2.5}, ["effective number of collections 2.5 (expected: at least 10)"]),
        ({"n_images": 60, "n_effective_collections": 10.0}, []),
    ],
)
def test_warnings_explain_problems_and_give_advice(changes, expected):
    found = explain_problems(SOUND | changes, scan="snakemake --cores 2 SCAN")
    assert len(found) == len(expected)
    for warning, words in zip(found, expected, strict=True):
        assert words in warning
