"""Planted term maps are significant for their component, and random smooth maps are not."""

import nibabel as nib
import numpy as np
import pytest
from made_maps import EGG, EGG_AFFINE, EGG_SHAPE, smooth_noise
from neurovault_ica.images.maps import read_maps
from neurovault_ica.images.matrix import standardize
from neurovault_ica.images.targets import target_of
from neurovault_ica.naming.chance import run_tests
from neurovault_ica.naming.evidence import Inputs
from neurovault_ica.naming.sources import Source, find_all
from neurovault_ica.naming.term_maps import compare_with_maps, correlations_of, find_term_maps, sample_maps, sides_test
from neurovault_ica.runtime.tables import write_table
from neurovault_ica.statistics.lattice import lattice_of

SOURCE = Source("maps", find_term_maps)
MASK_IMG = nib.Nifti1Image(EGG.astype(np.uint8), EGG_AFFINE)


def volume(values):
    data = np.zeros(EGG_SHAPE, dtype=np.float32)
    data[EGG] = values
    return data


def save(path, data, affine=EGG_AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), path)
    return str(path)


def compare(path, images, *, n_permutations, built=None, threads=1):
    """Correlate and test as project_terms does."""
    maps = read_maps(**images)
    compared = compare_with_maps(path, maps, images["mask"], threads=threads, built=built)
    if not n_permutations or not compared.terms:
        return correlations_of(compared, None)
    tests = [sides_test(compared.component_points, compared.points)]
    options = {"n_permutations": n_permutations, "random_state": 0, "threads": threads}
    return correlations_of(
        compared, *run_tests(compared.component_points, lattice_of(EGG, maps.affine), tests, **options)
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two components, and a folder with a map for each of them among 14 random smooth maps."""
    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(0)
    components = np.array([smooth_noise(rng, 18, symmetry=0.5), smooth_noise(rng, 22)])
    maps = {f"noise{n:02d}": smooth_noise(rng, 18, symmetry=0.3 * (n % 2)) for n in range(14)}
    maps |= {"pain": components[0] + 0.7 * smooth_noise(rng, 15), "warmth": components[1] - 0.5 * smooth_noise(rng, 15)}
    for term, values in maps.items():
        save(folder / "maps" / f"{term}_z.nii.gz", volume(values))
    images = {
        "components": save(folder / "components.nii.gz", np.stack([volume(c) for c in components], axis=-1)),
        "mask": save(folder / "mask.nii.gz", EGG.astype(np.uint8)),
    }
    return folder, images, components, maps


def test_only_the_term_of_a_component_is_significant_not_random_smooth_maps(run):
    folder, images, components, maps = run
    found = compare(str(folder / "maps"), images, n_permutations=100)
    assert found.terms == sorted(maps)
    expected = [[np.corrcoef(component, maps[term])[0, 1] for term in found.terms] for component in components]
    np.testing.assert_allclose(found.r, expected, atol=1e-5)
    assert [(int(k), found.terms[m]) for k, m in np.argwhere(found.q < 0.05)] == [(0, "pain"), (1, "warmth")]
    assert 0.02 < (found.p < 0.05).mean() < 0.15
    assert [(int(k), found.terms[m]) for k, m in np.argwhere(found.p_corrected < 0.05)] == [(0, "pain"), (1, "warmth")]
    assert (found.p_corrected >= found.p).all()
    assert not (found.q_negative < 0.05).any()
    together = compare(str(folder / "maps"), images, n_permutations=100, threads=2)
    np.testing.assert_array_equal(together.p, found.p)
    again = compare(str(folder / "maps"), images, n_permutations=0)
    assert again.p is None
    np.testing.assert_array_equal(again.r, found.r)


@pytest.mark.parametrize("names", ["terms.txt", "terms.tsv"])
def test_a_file_of_all_maps_gives_the_same_as_a_folder(run, tmp_path, names):
    folder, images, _, maps = run
    path = save(tmp_path / "terms.nii.gz", np.stack([volume(values) for values in maps.values()], axis=-1))
    heading = "name\n" if names.endswith(".tsv") else ""
    (tmp_path / names).write_text(heading + "\n".join(maps) + "\n")
    one = compare(path, images, n_permutations=0)
    other = compare(str(folder / "maps"), images, n_permutations=0)
    assert one.terms == list(maps)
    np.testing.assert_allclose(one.r[:, np.argsort(one.terms)], other.r, atol=1e-6)


def test_maps_of_another_grid_with_unknown_voxels_are_resampled(tmp_path):
    mm = np.moveaxis(np.indices((50, 60, 50)), 0, -1) * 4.0 - [98, 130, 90]
    # The maps extend some millimetres beyond the mask, because linear interpolation at its border needs these values.
    near = np.square((mm - [0, -15, 0]) / (78, 96, 76)).sum(axis=-1) < 1
    slope = np.where(near, mm[..., 0] + 2 * mm[..., 2], 0).astype(np.float32)
    slope[:, 0] = np.nan
    affine = np.diag([-4.0, 4, 4, 1])
    affine[:3, 3] = [98, -130, -90]
    save(tmp_path / "slope.nii", slope[::-1], affine)
    save(tmp_path / "outside.nii", volume(0) + np.float32(0))
    ((term, values),) = sample_maps(str(tmp_path), target_of(MASK_IMG))
    inside = np.argwhere(EGG) * 8.0 + EGG_AFFINE[:3, 3]
    assert term == "slope"
    np.testing.assert_allclose(values, inside[:, 0] + 2 * inside[:, 2], atol=1e-3)


def test_a_folder_of_one_map_for_each_term_is_no_reason_to_warn(run, caplog):
    folder, images, _, _ = run
    compare(str(folder / "maps"), images, n_permutations=0)
    assert not caplog.records


def test_maps_that_cannot_be_used_are_refused(run, tmp_path):
    _, images, _, maps = run
    pain = volume(maps["pain"])

    def refused(path, message):
        with pytest.raises(ValueError, match=r"project_terms\.term_maps") as caught:
            compare(str(path), images, n_permutations=0)
        assert message in str(caught.value)

    save(tmp_path / "four" / "pain.nii", np.stack([pain, pain], axis=-1))
    refused(tmp_path / "four", "pain.nii: its shape is (19, 24, 20, 2); give a folder of 3-D maps, or one 4-D file")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "pain.nii.gz").write_text("not found")
    refused(tmp_path / "text", "pain.nii.gz: cannot be read as an image")
    save(tmp_path / "empty" / "pain.nii", 0 * pain)
    refused(tmp_path / "empty", "none of its maps has data in the mask")
    save(tmp_path / "else" / "pain.nii", pain, EGG_AFFINE + np.array([[0, 0, 0, 60]] * 3 + [[0] * 4]))
    refused(tmp_path / "else", "lie in the MNI152 brain")
    three = save(tmp_path / "all.nii", np.stack([pain] * 3, axis=-1))
    (tmp_path / "all.txt").write_text("pain\nwarmth\n")
    refused(three, "it has 3 volumes, but 2 names")
    (tmp_path / "all.txt").write_text("pain\nwarmth\nitch\n")
    save(tmp_path / "all.nii", pain)
    refused(three, "give a 4-D image of numbers")
    packed = save(tmp_path / "cut.nii.gz", np.stack([pain] * 3, axis=-1))
    (tmp_path / "cut.txt").write_text("pain\nwarmth\nitch\n")
    content = (tmp_path / "cut.nii.gz").read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(content[: len(content) // 2])
    refused(packed, "cannot be read as an image (gzip: the file ends too early)")
    spoiled = bytearray(content)
    spoiled[len(content) // 2] ^= 0xFF
    (tmp_path / "cut.nii.gz").write_bytes(spoiled)
    refused(packed, "cannot be read as an image (gzip: ")
    unplaced = nib.Nifti1Image(np.stack([pain] * 3, axis=-1), EGG_AFFINE)
    unplaced.set_sform(EGG_AFFINE, code=0)
    unplaced.set_qform(EGG_AFFINE, code=0)
    nib.save(unplaced, packed)
    refused(packed, "neither qform nor sform is set")


def test_maps_outside_the_mask_are_dropped_with_a_warning(run, caplog):
    folder, images, _, maps = run
    corner = np.zeros(EGG_SHAPE, dtype=np.float32)
    corner[0, 0, 0] = 1
    save(folder / "some" / "corner.nii", corner)
    save(folder / "some" / "pain.nii", volume(maps["pain"]))
    found = compare(str(folder / "some"), images, n_permutations=0)
    assert found.terms == ["pain"]
    assert "dropped the term maps without data in the mask: corner" in caplog.text


def save_built(folder, terms, maps):
    """Write maps as build_term_maps does, on the grid of the components."""
    folder.mkdir(parents=True)
    np.save(folder / "term_maps.npy", np.array(maps, dtype=np.float32).reshape(len(maps), int(EGG.sum())))
    nib.save(MASK_IMG, folder / "mask.nii.gz")
    write_table(folder / "terms.tsv", [{"term": t, "n_studies": 60} for t in terms], ["term", "n_studies"])
    return str(folder)


def test_built_maps_give_the_same_as_the_same_files(run, tmp_path):
    folder, images, _, maps = run
    options = {"images": images, "n_permutations": 500}
    built = save_built(tmp_path / "one" / "build_term_maps", sorted(maps), [maps[term] for term in sorted(maps)])
    one, other = compare(None, **options, built=built), compare(str(folder / "maps"), **options)
    assert one.terms == other.terms
    np.testing.assert_allclose(one.r, other.r, atol=1e-5)
    np.testing.assert_allclose(one.p, other.p, atol=0.01)
    # The user's own map of a term takes the place of the built one.
    save(tmp_path / "own" / "Pain.nii", volume(maps["warmth"]))
    both = compare(str(tmp_path / "own"), **options, built=built)
    assert both.terms == ["Pain", *(term for term in sorted(maps) if term != "pain")]
    assert both.r[1, 0] == pytest.approx(one.r[1, one.terms.index("warmth")], abs=1e-5)


def test_without_maps_nothing_is_found(run, tmp_path):
    _, images, _, _ = run
    options = {"images": images, "n_permutations": 500}
    for built in (None, save_built(tmp_path / "none" / "build_term_maps", [], [])):
        found = compare(None, **options, built=built)
        assert (found.terms, found.r.shape, found.p) == ([], (2, 0), None)


def inputs_of(images, built):
    known = dict.fromkeys(Inputs._fields)
    known |= {"components": ["ICA_00", "ICA_01"], "maps": read_maps(**images), "mask_file": images["mask"]}
    known |= {"images": [{"collection_id": 1}], "built_maps": built}
    return Inputs(**known | {"n_permutations": 500, "random_state": 0, "threads": 1})


def test_only_terms_near_the_largest_r_may_name_and_the_negative_side_has_its_own(run, tmp_path):
    _, images, components, maps = run
    rng = np.random.default_rng(5)
    planted = {
        "best": components[0] + 0.5 * smooth_noise(rng, 15),
        "near": components[0] + 0.6 * smooth_noise(rng, 15),
        "lucky": components[0] + 1.5 * smooth_noise(rng, 15),
        "opposite": -components[0] + 0.7 * smooth_noise(rng, 15),
    }
    terms = [*planted, *(f"noise{n:02d}" for n in range(14))]
    every = [*planted.values(), *(maps[term] for term in terms[4:])]
    found = find_all([SOURCE], inputs_of(images, save_built(tmp_path / "one" / "build_term_maps", terms, every)))[
        "maps"
    ]
    first = [candidate for candidate in found.candidates if candidate.component == "ICA_00"]
    assert [candidate.name for candidate in first[:3]] == ["best", "near", "lucky"]
    assert all(candidate.q < 0.05 for candidate in first[:3])
    assert [candidate.may_name for candidate in first[:4]] == [True, True, False, False]
    assert all(candidate.value > 0 for candidate in found.candidates)
    negative = next(candidate for candidate in found.negative if candidate.component == "ICA_00")
    assert (negative.name, negative.may_name) == ("opposite", True)
    assert negative.value < -0.7
    assert negative.q < 0.05
    # The second component is unlike all maps, so none of them may name it.
    assert not any(candidate.may_name for candidate in found.candidates if candidate.component == "ICA_01")


def test_components_of_noise_get_no_name_from_the_significance_of_others(tmp_path):
    """Significant terms of 8 components lower q of all. So q alone would name about half of the 12 random maps."""
    rng = np.random.default_rng(8)
    real = smooth_noise(rng, 20)
    alike = [real + 0.3 * smooth_noise(rng, 15) for _ in range(8)]
    components = np.array([*alike, *(smooth_noise(rng, 20) for _ in range(12))])
    terms = [real + 0.5 * smooth_noise(rng, 15) for _ in range(100)] + [smooth_noise(rng, 20) for _ in range(100)]
    labels = [f"ICA_{k:02d}" for k in range(20)]
    images = {
        "components": save(tmp_path / "components.nii.gz", np.stack([volume(c) for c in components], axis=-1)),
        "mask": save(tmp_path / "mask.nii.gz", EGG.astype(np.uint8)),
    }
    built = save_built(tmp_path / "one" / "build_term_maps", [f"term {k}" for k in range(200)], terms)
    found = find_all([SOURCE], inputs_of(images, built)._replace(components=labels))["maps"]
    named = {one.component for one in found.candidates if one.may_name and one.q < 0.05}
    assert named >= set(labels[:8])
    assert len(named) <= 8 + 2


def test_the_negative_side_is_the_positive_side_of_the_inverted_component():
    rng = np.random.default_rng(9)
    # Long tails on one side, so that correlations with surrogates are not symmetric around 0.
    maps, surrogates = rng.exponential(size=(4, 60)) ** 2, rng.exponential(size=(500, 60)) ** 2
    surrogates = standardize(surrogates).astype(np.float32)
    component = rng.exponential(size=(1, 60)) ** 2 - maps[:1]
    found = sides_test(component, maps)(0, surrogates)
    inverted = sides_test(-component, maps)(0, -surrogates)
    np.testing.assert_array_equal(found, inverted[::-1])
    assert found[1, 0, 0] < 0.05 < found[0, 0, 0]
