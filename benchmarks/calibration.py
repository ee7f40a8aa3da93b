"""Check the p values by simulation: under the null hypothesis, 5 % of them should be below 0.05.

Unrelated maps of several kinds are simulated in the brain mask. They go through the tests of the workflow: terms and
labels of images (project_terms), term maps (term_maps) and reference networks (match_networks). For each test and kind,
the script prints the share of p <= 0.05 with its standard error, and the number of q < 0.05. The standard error is over
independent units: sets of images, or components.

    python benchmarks/calibration.py [--repeats 40] [--seed 0] [--tests terms,missing,labels,term_maps,networks]
"""

import argparse
import functools
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent.parent / "workflow" / "scripts"))

import numpy as np
import numpy.typing as npt
from neurovault_ica.images.matrix import standardize
from neurovault_ica.naming.chance import run_tests
from neurovault_ica.naming.label_fields import Field, compare_within_fields, group_terms
from neurovault_ica.naming.networks import p_of_largest
from neurovault_ica.naming.term_maps import sides_test
from neurovault_ica.statistics.lattice import lattice_of
from neurovault_ica.statistics.p_values import false_discovery_rate
from neurovault_ica.statistics.permuted_collections import Significance, associate
from neurovault_ica.statistics.random_maps import blob_weights, map_weights
from nilearn.datasets import load_mni152_brain_mask
from scipy import ndimage
from threadpoolctl import threadpool_limits

Array = npt.NDArray[Any]
Rng = np.random.Generator
Result = Iterator[tuple[str, list[Array]]]

BRAIN = load_mni152_brain_mask(resolution=6)
MASK = np.asarray(BRAIN.dataobj) > 0
VOXEL_MM = 6.0
# 5 % of 1 + 39 is a whole number, so p can be exactly 0.05.
N_PERMUTATIONS = 39
# Small p values of term maps are extrapolated from this many surrogates.
N_SURROGATES = 1000
N_TERMS, N_NETWORKS = 40, 10
# Number of images of each collection.
COLLECTIONS = {
    "24 of 3": [3] * 24,
    "1 to 60": [60, 40, 20, 10, 5, 5, 3, 3, 2, 2] + [1] * 14,
    "8 of 1 to 30": [30, 15, 8, 4, 2, 2, 1, 1],
}


def smooth(rng: Rng, *fwhm_mm: float) -> Array:
    """Simulate a Gaussian field of standard deviation 1 in the mask, with one FWHM or one along each axis."""
    widths = np.array(fwhm_mm) * np.ones(3)
    shape = np.array(MASK.shape) + np.ceil(1.5 * widths / VOXEL_MM).astype(int)
    field = ndimage.gaussian_filter(rng.standard_normal(shape), widths / VOXEL_MM / 2.3548, mode="wrap")
    values = field[tuple(slice(n) for n in MASK.shape)][MASK]
    return values / values.std()


def symmetric(rng: Rng) -> Array:
    """Simulate a left-right symmetric field, up to the accuracy of the grid."""
    volume = np.zeros(MASK.shape)
    volume[MASK] = smooth(rng, 15)
    return (volume + volume[::-1])[MASK]


def one_sided(rng: Rng) -> Array:
    """Simulate a map without negative values and with a long tail."""
    return np.exp(1.2 * smooth(rng, 15))


def thresholded(rng: Rng) -> Array:
    """Simulate a map whose absolute values below 1.5 standard deviations are set to 0."""
    values = smooth(rng, 15)
    return np.where(np.abs(values) > 1.5, values, 0)


KINDS: dict[str, Callable[[Rng], Array]] = {
    "Gaussian, 15 mm": lambda rng: smooth(rng, 15),
    "Gaussian, 30 mm": lambda rng: smooth(rng, 30),
    "9 and 30 mm": lambda rng: smooth(rng, 9) + smooth(rng, 30),
    "9, 15, 30 mm along axes": lambda rng: smooth(rng, 9, 15, 30),
    "one-sided": one_sided,
    "thresholded": thresholded,
    "symmetric": symmetric,
}


def draw_images(rng: Rng, sizes: list[int], draw: Callable[[Rng], Array]) -> tuple[Array, Array, Array]:
    """Simulate images as mixtures of four networks, a map of their collection, and noise.

    Returns
    -------
    images : array of shape (n_images, n_voxels)
    loadings : array of shape (n_images, 4)
    collections : array of shape (n_images,)
    """
    collections = np.repeat(np.arange(len(sizes)), sizes)
    networks = standardize(np.array([draw(rng) for _ in range(4)]))
    planted = rng.laplace(size=(len(sizes), 4))[collections] + 0.5 * rng.laplace(size=(len(collections), 4))
    own = np.array([smooth(rng, 10) for _ in sizes])[collections]
    noise = np.array([smooth(rng, 10) for _ in collections])
    images = standardize(planted @ networks + 0.02 * own + 0.01 * noise)
    return images, images @ networks.T, collections


def terms(rng: Rng, repeats: int) -> Result:
    """Test the weights of images in unrelated term maps, with both null hypotheses."""
    for place, sizes in COLLECTIONS.items():
        for kind, draw in KINDS.items():
            results = []
            for _ in range(max(repeats // 4, 2)):
                images, loadings, collections = draw_images(rng, sizes, draw)
                weights = np.maximum(images @ standardize(np.array([draw(rng) for _ in range(N_TERMS)])).T, 0)
                random_maps = map_weights(blob_weights(images, MASK, BRAIN.affine))
                results.append(_associate(rng, loadings, weights, collections, random_maps))
            yield f"{kind}; collections {place}", results


def missing(rng: Rng, repeats: int) -> Result:
    """Test terms of which a third of the weights is missing: for images, collections or single weights.

    In the last case, the images of collections without weights also load a third as much.
    """
    sizes = COLLECTIONS["24 of 3"]
    for kind in ("images", "collections", "single weights", "collections with small loadings"):
        results = []
        for _ in range(max(repeats // 4, 2)):
            images, loadings, collections = draw_images(rng, sizes, KINDS["Gaussian, 15 mm"])
            term_maps = standardize(np.array([smooth(rng, 15) for _ in range(N_TERMS)]))
            weights = np.maximum(images @ term_maps.T, 0)
            lost = rng.random(weights.shape) < 1 / 3
            if kind == "images":
                lost = np.repeat(lost[:, :1], N_TERMS, axis=1)
            elif kind != "single weights":
                lost = np.repeat((rng.permutation(len(sizes)) < len(sizes) // 3)[collections][:, None], N_TERMS, axis=1)
            if kind == "collections with small loadings":
                loadings[lost[:, 0]] /= 3
            weights[lost] = np.nan
            blobs = blob_weights(images, MASK, BRAIN.affine)
            found = compare_within_fields(
                group_terms(weights), loadings, weights, [str(one) for one in collections],
                n_permutations=N_PERMUTATIONS, random_state=int(rng.integers(2**31)),
                draw_for=functools.partial(map_weights, blobs),
            )  # fmt: skip
            results.append(_require_tested(found).p)
        yield kind, results


def labels(rng: Rng, repeats: int) -> Result:
    """Test labels that are unrelated to the loadings, assigned to whole collections or to single images.

    Half as many collections again lack the field of the labels, and their loadings vary a third as much.
    """
    for place, of_known in COLLECTIONS.items():
        sizes = [*of_known, *of_known[::2]]
        for within, kind in ((0.0, "of collections"), (0.5, "of collections and images"), (1.0, "of images")):
            results = []
            for _ in range(repeats):
                collections = np.repeat(np.arange(len(sizes)), sizes)
                is_known = collections < len(of_known)
                between = rng.laplace(size=(len(sizes), 4))[collections]
                loadings = between + 0.5 * rng.laplace(size=(len(collections), 4))
                loadings[~is_known] /= 3
                common = rng.uniform(0.15, 0.6, N_TERMS)
                by_study = rng.random((len(sizes), N_TERMS))[collections]
                by_image = rng.random((len(collections), N_TERMS))
                has_label = np.where(rng.random(N_TERMS) < within, by_image, by_study) < common
                features = np.where(is_known[:, None], has_label, np.nan).astype(np.float32)
                fields = [Field(np.flatnonzero(is_known), np.arange(N_TERMS))]
                options: dict[str, Any] = {"n_permutations": N_PERMUTATIONS, "random_state": int(rng.integers(2**31))}
                found = compare_within_fields(fields, loadings, features, [str(one) for one in collections], **options)
                results.append(_require_tested(found).p)
            yield f"{kind}; collections {place}", results


def _associate(rng: Rng, loadings: Array, features: Array, collections: Array, draw_weights: Any) -> Array:
    seed = int(rng.integers(2**31))
    options = {"n_permutations": N_PERMUTATIONS, "random_state": seed}
    found = associate(loadings, features, collections.tolist(), **options, draw_weights=draw_weights)
    return _require_tested(found).p


def _require_tested(found: Significance | None) -> Significance:
    if found is None:
        raise RuntimeError("nothing was tested: a simulation has fewer than eight collections; add more to COLLECTIONS")
    return found


def term_maps(rng: Rng, repeats: int) -> Result:
    """Test components against unrelated maps of the same kind."""
    lattice = lattice_of(MASK, BRAIN.affine)
    for kind, draw in KINDS.items():
        components, maps = (np.array([draw(rng) for _ in range(n)])[:, lattice.points] for n in (repeats, N_TERMS))
        seed = int(rng.integers(2**31))
        options = {"n_permutations": N_SURROGATES, "random_state": seed}
        (found,) = run_tests(components, lattice, [sides_test(components, maps)], **options)
        p, corrected = np.moveaxis(found[:, 0], 0, 1)
        yield kind, list(p)
        yield f"{kind}; best of {N_TERMS}, corrected", list(corrected.min(axis=1, keepdims=True))


def networks(rng: Rng, repeats: int) -> Result:
    """Test the best match of components with unrelated networks."""
    for kind, draw in KINDS.items():
        components, references = (np.array([draw(rng) for _ in range(n)]) for n in (repeats, N_NETWORKS))
        seed = int(rng.integers(2**31))
        p = p_of_largest(components, references, MASK, BRAIN.affine, n_surrogates=N_PERMUTATIONS, random_state=seed)
        yield kind, list(p.min(axis=1, keepdims=True))


TESTS = {"terms": terms, "missing": missing, "labels": labels, "term_maps": term_maps, "networks": networks}


def main() -> None:
    """Print one line for each test and kind of map."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--repeats",
        type=int,
        default=40,
        help="number of sets of images for labels (a quarter for terms and missing weights), and of components for"
        " term_maps and networks",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tests", default=",".join(TESTS))
    options = parser.parse_args()
    print("test\tkind\tp <= 0.05\tstandard error\ttested\tq < 0.05\tseconds")
    for test in options.tests.split(","):
        start = time.perf_counter()
        for kind, units in TESTS[test](np.random.default_rng(options.seed), options.repeats):
            shares = [float((p <= 0.05).mean()) for p in units]
            error = np.std(shares, ddof=1) / np.sqrt(len(shares))
            n_significant = sum(int((false_discovery_rate(p) < 0.05).sum()) for p in units)
            seconds = time.perf_counter() - start
            n_tested = sum(p.size for p in units)
            print(
                f"{test}\t{kind}\t{np.mean(shares):.3f}\t{error:.3f}\t{n_tested}\t{n_significant}\t{seconds:.0f}",
                flush=True,
            )
            start = time.perf_counter()


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
