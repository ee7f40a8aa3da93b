"""The preset nilearn_example gives the same maps and terms as nilearn's example, for the same images.

The example is repeated here with nilearn and scikit-learn only, as in nilearn's examples/05_advanced/
plot_ica_neurovault.py.
"""

import warnings

import nibabel as nib
import numpy as np
import pytest
from neurovault_ica.runtime.tables import read_table
from nilearn.datasets import load_mni152_brain_mask
from nilearn.datasets.neurovault import neurosynth_words_vectorized
from nilearn.image import smooth_img
from nilearn.maskers import NiftiMasker
from sklearn.decomposition import FastICA
from workflow_runs import copy_project, make_maps, snakemake, write_config


def nilearn_example(files, word_files, n_components, resolution_mm):
    """Run the steps of the example. Return its matrix, its maps and the term scores of each component."""
    masker = NiftiMasker(mask_img=load_mni152_brain_mask(resolution=resolution_mm)).fit()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        X = np.vstack([np.atleast_2d(masker.transform(smooth_img(file, fwhm=None))) for file in files])
        fast_ica = FastICA(n_components=n_components, random_state=0)
        maps = fast_ica.fit_transform(X.T).T
        weights, vocabulary = neurosynth_words_vectorized(word_files, verbose=0)
    weights = np.maximum(weights, 0)
    scores = np.dot(weights.T, fast_ica.components_.T).T
    flip = np.where(-maps.min(axis=1) > maps.max(axis=1), -1, 1)[:, None]
    return X, flip * maps, [dict(zip(vocabulary, row, strict=True)) for row in flip * scores]


def compare(folder, data_dir, n_components, *, resolution_mm=2):
    images = read_table(folder / "results/stack_images/images.tsv")
    homes = [data_dir / "neurovault" / f"collection_{image['collection_id']}" for image in images]
    files = [home / f"image_{image['image_id']}.nii.gz" for home, image in zip(homes, images, strict=True)]
    words = [
        home / f"neurosynth_words_for_image_{image['image_id']}.json" for home, image in zip(homes, images, strict=True)
    ]
    X, maps, scores = nilearn_example(files, words, n_components, resolution_mm)

    ours = np.load(folder / "results/stack_images/matrix.npy")
    assert ours.shape == X.shape
    difference = np.abs(ours - X).max(axis=1) / np.abs(X).max(axis=1)
    assert difference.max() < 1e-5, f"image {images[difference.argmax()]['image_id']}: {difference.max():.1e}"

    inside = np.asarray(nib.load(folder / "results/stack_images/mask.nii.gz").dataobj) > 0
    (components,) = (folder / "results/run_ica").glob("*_components.nii.gz")
    S = np.asarray(nib.load(components).dataobj)[inside].T
    r = np.corrcoef(S, maps)[:n_components, n_components:]
    match = r.argmax(axis=1)
    assert sorted(match) == list(range(n_components))
    assert r.max(axis=1).min() >= 0.9999, r.max(axis=1)

    terms = read_table(folder / "results/project_terms/desc-ICA_terms.tsv")
    for number in range(n_components):
        label = f"ICA_{number:02d}"
        theirs = scores[match[number]]
        third = sorted(theirs.values())[-3]
        # Scores of synonyms may differ in the last bit only, so either of them may be third.
        ours_top = [row["term"] for row in terms if row["component"] == label and row["rank"] <= 3]
        assert all(theirs[term] >= third - 1e-6 * abs(third) for term in ours_top), (label, ours_top)


@pytest.fixture
def run_preset(tmp_path):
    def run(data_dir, n_components, **sections):
        folder = copy_project(tmp_path)
        archive = {"source": "offline", "data_dir": str(data_dir)}
        overlay = write_config(folder, archive=archive, run_ica={"n_components": n_components}, **sections)
        snakemake(
            folder, "results/project_terms/desc-ICA_terms.tsv", "--configfile", "presets/nilearn_example.yaml", overlay,
        )  # fmt: skip
        return folder

    return run


@pytest.mark.long
def test_same_as_the_example_on_simulated_images(run_preset, tmp_path):
    """Larger voxels than in the example save time."""
    data_dir = make_maps(tmp_path / "data", n_images=12, n_sources=4)
    folder = run_preset(data_dir, 4, batches=1, mask_images={"resolution_mm": 4})
    compare(folder, data_dir, 4, resolution_mm=4)


@pytest.mark.long
def test_same_as_the_example_on_real_maps(run_preset, real_maps):
    compare(run_preset(real_maps, 8, fetch_metadata={"max_images": None}), real_maps, 8)
