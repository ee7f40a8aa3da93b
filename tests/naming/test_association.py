"""Meta-analytic maps have spheres around peaks, and their z values agree with scipy and NiMARE."""

import numpy as np
import pytest
from made_database import PLACES, make_tables, write_database
from neurovault_ica.archive.database_files import find_database
from neurovault_ica.images.templates import mni152_mask
from neurovault_ica.naming.association import activated_voxels, association_maps, z_of_association
from neurovault_ica.naming.built_maps import coarse_grid
from neurovault_ica.naming.coordinates import read_database
from neurovault_ica.naming.vocabulary import titles_of
from nibabel.affines import apply_affine
from scipy import sparse
from scipy.spatial import cKDTree
from scipy.stats import chi2_contingency
from workflow_runs import ROOT

NEUROSYNTH = ROOT.parent / "shared" / "neurosynth"
# Number of studies, position and z of the peak, and z of every 4000th voxel. NiMARE 0.22.1 with nilearn 0.13.1 computed
# these numbers, in an environment of its own, from the database that tests/made_database.py makes:
#
#   brain = load_mni152_brain_mask(resolution=2)
#   mask = nib.Nifti1Image(brain.get_fdata()[::2, ::2, ::2].astype("uint8"), brain.affine @ np.diag([2, 2, 2, 1]))
#   points = nib.affines.apply_affine(mask.affine, np.argwhere(mask.get_fdata()))
#   folder = write_database(Path("made"), *make_tables(points))
#   file = {kind: str(next(folder.glob(f"*{kind}*"))) for kind in DatabaseFiles._fields}
#   names = {kind: file[kind] for kind in ("features", "vocabulary")}
#   dataset = convert_neurosynth_to_dataset(file["coordinates"], file["metadata"], annotations_files=names)
#   for term in ("motor", "visual", "fear", "sleep"):
#       having = dataset.get_studies_by_label(f"terms_abstract_tfidf__{term}", label_threshold=0.001)
#       others = sorted(set(dataset.ids) - set(having))
#       estimator = MKDAChi2(kernel_transformer=MKDAKernel(r=10), mask=mask)
#       result = estimator.fit(dataset.slice(having), dataset.slice(others))
#       z = result.get_map("z_desc-association", return_type="array")
#       print(term, len(having), z.argmax(), z.max(), z[::4000])
FROM_NIMARE = {
    "motor": (40, 4602, 10.902486, [-0.50125, 0.25254, 0.58173, 0, 1.066, -0.87259, 1.51523, -1.01015]),
    "visual": (50, 15766, 10.888659, [-0.5788, -1.16642, -1.00759, 0, 0.82061, 0.33586, 0, 0]),
    "fear": (50, 8859, 10.448712, [1.7364, 1.16642, 0.33586, 0, -0.82061, 0.33586, -1.16642, 1.16642]),
    "sleep": (52, 16879, 3.9941964, [1.69129, 1.10542, 1.618, 0, -0.8425, 0.29177, -0.04606, -1.19753]),
}

# The same numbers from Neurosynth's database, with z of every 3000th voxel, starting at voxel 1000. The topics of the
# file vocab-LDA50 were read as above, with label_threshold=0.05.
FROM_NIMARE_REAL = {
    "pain somatosensory stimulation": (
        865, 27976, 19.905304, [3.8393, -4.0755, -0.5662, -0.4314, 6.7278, -2.1151, -0.9535, 2.8255, -0.5523, 11.0109],
    ),
    "face faces facial": (
        1127, 26386, 23.65599, [-2.0884, -2.0649, 2.7859, -3.9243, -1.2079, -3.0084, -1.0853, -0.0087, 0.8407, -4.765],
    ),
    "motion perception visual": (
        715, 27047, 19.873938, [-0.8816, -4.2936, -2.6762, -3.4354, -1.7771, -2.8595, -2.9647, -1.2442, 0.8267, -0.059],
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def grid():
    mask_img = mni152_mask("brain", 2)
    return coarse_grid(np.asarray(mask_img.dataobj) > 0, mask_img.affine)


def test_the_maps_equal_those_of_nimare(tmp_path, grid):
    """Peaks are at voxel centres, because NiMARE moves each peak to the nearest one."""
    points = apply_affine(grid.affine, np.argwhere(grid.inside))
    folder = write_database(tmp_path / "made", *make_tables(points))
    database = read_database(find_database(folder, "terms"))
    active = activated_voxels(database.peaks_mm, database.study_of, len(database.studies), grid.inside, grid.affine)
    maps = association_maps(database.has_term, active)
    for term, (n_studies, peak, z_of_peak, some) in FROM_NIMARE.items():
        row = database.terms.index(term)
        assert database.has_term[:, [row]].sum() == n_studies
        assert maps[row].argmax() == peak
        assert maps[row].max() == pytest.approx(z_of_peak, abs=1e-5)
        np.testing.assert_allclose(maps[row, ::4000], some, atol=1e-5)
    for term, place in PLACES.items():
        peak = points[maps[database.terms.index(term)].argmax()]
        assert np.linalg.norm(peak - place) < 12


def test_the_maps_of_neurosynth_equal_those_of_nimare(grid):
    """Peaks are moved to voxel centres, as NiMARE does. We leave out 28 studies without a peak in the brain."""
    if not NEUROSYNTH.is_dir():
        pytest.skip("needs ../shared/neurosynth")
    database = read_database(find_database(NEUROSYNTH, "LDA50"))
    # Use only some voxels, and the peaks near them. All of them would take too long.
    voxels = np.argwhere(grid.inside)
    compared = sorted({*range(1000, len(voxels), 3000), *(row[1] for row in FROM_NIMARE_REAL.values())})
    some = np.zeros_like(grid.inside)
    some[tuple(voxels[compared].T)] = True
    centres = apply_affine(grid.affine, np.rint(apply_affine(np.linalg.inv(grid.affine), database.peaks_mm)))
    near = cKDTree(apply_affine(grid.affine, voxels[compared])).query(centres, distance_upper_bound=12)[0] < 12
    studies = database.study_of[near]
    active = activated_voxels(centres[near], studies, len(database.studies), some, grid.affine)
    titles = titles_of(database.terms)
    rows = [titles.index(title) for title in FROM_NIMARE_REAL]
    has_term = database.has_term[:, rows]
    for z, n_having, expected in zip(
        association_maps(has_term, active), has_term.sum(axis=0), FROM_NIMARE_REAL.values(), strict=True
    ):
        n_studies, peak, z_of_peak, others = expected
        assert n_having == pytest.approx(n_studies, abs=3)
        assert z[compared.index(peak)] == pytest.approx(z_of_peak, abs=0.1)
        np.testing.assert_allclose(z[np.isin(compared, range(1000, len(voxels), 3000))], others, atol=0.1)


@pytest.mark.parametrize("angle", [0, 0.3])
def test_a_study_activates_the_voxels_within_10_mm_of_its_peaks(angle):
    """The grid is oblique, its voxels have different lengths, and some peaks are outside the grid."""
    rng = np.random.default_rng(1)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * [-3, 4, 5], [30, -40, -20]
    mask = rng.random((20, 18, 12)) < 0.7
    voxels_mm = apply_affine(affine, np.argwhere(mask))
    peaks, study_of = rng.uniform(-60, 60, (80, 3)), rng.integers(0, 9, 80)
    found = activated_voxels(peaks, study_of, 10, mask, affine).toarray()
    distance = np.linalg.norm(voxels_mm[None] - peaks[:, None], axis=2)
    expected = np.array([(distance[study_of == study] <= 10).any(axis=0) for study in range(10)])
    assert expected.any(axis=1).sum() == 9
    np.testing.assert_array_equal(found, expected)


def test_z_is_the_signed_root_of_chi_squared():
    rng = np.random.default_rng(2)
    has_term, active = rng.random((90, 3)) < 0.3, rng.random((90, 40)) < 0.2
    active[:, 0], active[:, 1] = False, True
    z = association_maps(sparse.csc_array(has_term), sparse.csr_array(active.astype(np.int32)))
    assert not z[:, :2].any()
    for term in range(3):
        for voxel in range(2, 40):
            table = [[np.sum((has_term[:, term] == i) & (active[:, voxel] == j)) for j in (1, 0)] for i in (1, 0)]
            chi2 = chi2_contingency(table, correction=False).statistic
            sign = np.sign(active[has_term[:, term], voxel].mean() - active[~has_term[:, term], voxel].mean())
            assert z[term, voxel] == pytest.approx(sign * np.sqrt(chi2), abs=1e-5)


def test_terms_of_all_studies_or_none_have_no_association():
    z = z_of_association(np.array([[0, 0], [3, 5]]), np.array([0.0, 10.0]), np.array([3.0, 5.0]), 10)
    assert not z.any()
    assert np.isfinite(z).all()


def test_the_number_of_terms_at_once_does_not_matter(monkeypatch):
    rng = np.random.default_rng(3)
    has_term = sparse.csc_array(rng.random((50, 23)) < 0.3)
    active = sparse.csr_array((rng.random((50, 60)) < 0.2).astype(np.int32))
    whole = association_maps(has_term, active)
    monkeypatch.setattr("neurovault_ica.naming.association.TERMS_AT_ONCE", 7)
    np.testing.assert_array_equal(association_maps(has_term, active), whole)
