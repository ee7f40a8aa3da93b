"""Images are decoded with the term maps: weights are Pearson's r, in the format of Neurosynth's answers."""

import fetch_terms
import nibabel as nib
import numpy as np
import pytest
from neurovault_ica.naming.built_maps import coarse_grid, write_array, write_mask
from neurovault_ica.naming.image_terms import correlate
from neurovault_ica.naming.term_weights import read_term_weights
from neurovault_ica.runtime.tables import read_table, write_table
from partial_tables import write_partial

AFFINE = np.diag([2.0, 2, 2, 1])
TERMS = ["pain", "motor", "=vision"]


@pytest.fixture
def run(tmp_path):
    """A batch of five images: three usable ones, one that could not be read, one that failed to download."""
    rng = np.random.default_rng(0)
    mask = rng.random((20, 18, 16)) < 0.8
    grid = coarse_grid(mask, AFFINE)
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), AFFINE), tmp_path / "mask.nii.gz")
    maps = rng.standard_normal((len(TERMS), np.count_nonzero(grid.inside))).astype(np.float32)
    built = tmp_path / "build_term_maps"
    write_array(str(built / "term_maps.npy"), maps)
    write_mask(str(built / "mask.nii.gz"), grid)
    write_table(built / "terms.tsv", [{"term": term, "n_studies": 60} for term in TERMS])
    X = rng.standard_normal((3, np.count_nonzero(mask))).astype(np.float32)
    X[:, grid.points] += 3 + maps[:3]
    np.save(tmp_path / "voxels-0.npy", X)
    quality = [{"image_id": 11, "row": 1}, {"image_id": 12, "reason": "empty"}, {"image_id": 13, "row": 0},
               {"image_id": 15, "row": 2}]  # fmt: skip
    paths = {
        "images": write_partial(
            tmp_path / "fetch_metadata/images.tsv",
            [{"image_id": image, "batch": 0 if image < 20 else 1} for image in (11, 12, 13, 14, 15, 21)],
        ),
        "quality": write_partial(tmp_path / "mask_images/quality-0.tsv", quality),
        "voxels": str(tmp_path / "voxels-0.npy"),
        "mask": str(tmp_path / "mask.nii.gz"),
        "term_maps": str(built / "term_maps.npy"),
        "terms": str(tmp_path / "fetch_terms/terms-0.tsv"),
        "status": str(tmp_path / "fetch_terms/status-0.tsv"),
    }
    archive = {"source": "offline", "data_dir": str(tmp_path), "mode": "download_new"}
    return paths | {"batch": 0, "archive": archive, "network": {}, "source": "database"}, X[:, grid.points], maps


def reasons(run):
    return {row["image_id"]: row["reason"] for row in read_table(run["status"])}


def test_weights_are_correlations_with_the_maps(run):
    run, points, maps = run
    fetch_terms.main(**run)
    assert reasons(run) == {
        "11": None, "12": "unusable_image", "13": None, "14": "unusable_image", "15": None,
    }  # fmt: skip
    assert [row["terms"] for row in read_table(run["status"])] == [3, 0, 3, 0, 3]
    weights = read_term_weights([run["terms"]], ["15", "13", "12", "11"])
    assert weights.rows == [0, 1, 3]
    expected = np.corrcoef(points[[2, 0, 1]], maps)[:3, 3:]
    columns = [TERMS.index(term) for term in weights.terms]
    np.testing.assert_allclose(weights.weights, expected[:, columns], atol=5.1e-5)
    assert expected.max() > 0.6


def test_weights_of_large_images_are_exact_to_the_last_digit(tmp_path):
    rng = np.random.default_rng(0)
    mask = np.ones((100, 120, 100), dtype=bool)
    grid = coarse_grid(mask, AFFINE)
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), AFFINE), tmp_path / "mask.nii.gz")
    one_map = rng.standard_normal((1, np.count_nonzero(grid.inside))).astype(np.float32)
    write_array(str(tmp_path / "build_term_maps/term_maps.npy"), one_map)
    write_table(tmp_path / "build_term_maps/terms.tsv", [{"term": "pain", "n_studies": 60}])
    write_mask(str(tmp_path / "build_term_maps/mask.nii.gz"), grid)
    X = (1 + rng.standard_normal((4, mask.size))).astype(np.float32)
    X[:, grid.points] += one_map
    np.save(tmp_path / "voxels.npy", X)
    _, r = correlate(str(tmp_path / "voxels.npy"), str(tmp_path / "mask.nii.gz"), str(tmp_path / "build_term_maps"))
    expected = np.corrcoef(X[:, grid.points].astype(np.float64), one_map)[:-1, -1:]
    np.testing.assert_allclose(r, expected, atol=5.1e-5)


def test_without_a_database_every_image_has_the_reason(run):
    """The database could not be fetched, so there are no maps."""
    run, _, maps = run
    write_array(run["term_maps"], maps[:0])
    write_table(run["term_maps"].replace("term_maps.npy", "terms.tsv"), [])
    fetch_terms.main(**run)
    assert set(reasons(run).values()) == {"no_database"}
    assert read_table(run["terms"]) == []


def test_no_terms_are_requested_without_a_source(run):
    run, _, _ = run
    fetch_terms.main(**run | {"source": None, "voxels": (), "quality": (), "mask": (), "term_maps": ()})
    assert set(reasons(run).values()) == {"not_asked"}
    assert len(reasons(run)) == 5


def test_maps_of_another_mask_are_refused(run):
    run, _, maps = run
    write_array(run["term_maps"], maps[:, 1:])
    with pytest.raises(RuntimeError, match="forcerun build_term_maps"):
        fetch_terms.main(**run)
