"""Decompose resampled collections, to estimate whether other studies would show the same components.

Collections are resampled, not images, because images of one study are similar.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from neurovault_ica.decomposition.algorithms import Settings, solve
from neurovault_ica.decomposition.axes import ImagesInAxes
from neurovault_ica.decomposition.consensus import align, index_quality, mean_correlation
from neurovault_ica.decomposition.interface import orthogonalize
from neurovault_ica.runtime.ids import number_groups
from neurovault_ica.runtime.log import progress
from neurovault_ica.runtime.threads import in_order
from neurovault_ica.runtime.wording import counted
from neurovault_ica.types import Real

# With fewer collections, a third of the bootstrap samples would contain the same two or three studies.
MIN_RESAMPLED_COLLECTIONS = 5
# The chance level is a percentile of the correlations over random rotations; see `random_rotations`.
N_ROTATIONS = 50
CHANCE_PERCENTILE = 95


class Stability(NamedTuple):
    """How well components are reproduced in resampled collections."""

    iq: Real | None  # (n_components,), ICASSO's index over bootstraps; None for halves
    correlation: Real  # (n_components,), mean |r| with the matches in bootstraps, or between two halves' matches
    chance: Real  # (n_components,), 95th percentile of this correlation for random axes in the same subspaces
    n_used: int  # number of bootstraps, or of splits, with enough different images
    n_converged: int  # number of converged runs; a bootstrap has one run, a split two


class Estimate(NamedTuple):
    """Components found in one resample."""

    E: Real  # (n_components, n_axes), coordinates in the white axes of all images; rows have length 1
    converged: bool


def draw_bootstraps(collections: Sequence[str], n_bootstraps: int, random_state: int) -> list[Real]:
    """Draw collections with replacement, `n_bootstraps` times.

    Parameters
    ----------
    collections : sequence of str
        The collection of each image.
    n_bootstraps : int
    random_state : int

    Returns
    -------
    list of arrays of shape (n_images,)
        How often each image was drawn.
    """
    names, member = number_groups(collections)
    rng = np.random.default_rng([random_state, 0])
    draws = [rng.integers(len(names), size=len(names)) for _ in range(n_bootstraps)]
    return [np.bincount(drawn, minlength=len(names))[member].astype(float) for drawn in draws]


def draw_halves(collections: Sequence[str], n_splits: int, random_state: int) -> list[Real]:
    """Split the collections at random into halves, `n_splits` times.

    Parameters
    ----------
    collections : sequence of str
        The collection of each image.
    n_splits : int
    random_state : int

    Returns
    -------
    list of arrays of shape (n_images,)
        Two for each split, with 1 for the images of the half and 0 for the others. With an odd number of collections,
        the first half has one collection fewer.
    """
    names, member = number_groups(collections)
    rng = np.random.default_rng([random_state, 1])
    halves = []
    for _ in range(n_splits):
        in_first = np.isin(member, rng.permutation(len(names))[: len(names) // 2])
        halves += [in_first.astype(float), (~in_first).astype(float)]
    return halves


def decompose_resample(
    images: ImagesInAxes, counts: Real, n_components: int, seed: int, settings: Settings
) -> Estimate | None:
    """Decompose one resample of the images.

    The images are ``B @ P``, so the principal axes of the resample follow from the eigenvectors of the small matrix
    ``B.T @ diag(counts) @ B`` (n_axes, n_axes).

    Parameters
    ----------
    images : ImagesInAxes
    counts : array of shape (n_images,)
        How often each image was drawn.
    n_components : int
    seed : int
        Seed of the random start.
    settings : Settings

    Returns
    -------
    Estimate or None
        None if the resample has fewer independent directions than `n_components`.
    """
    eigenvalues, V = np.linalg.eigh(images.B.T @ (counts[:, None] * images.B))
    eigenvalues, V = eigenvalues[::-1][:n_components], V[:, ::-1][:, :n_components]
    if eigenvalues[-1] <= eigenvalues[0] * len(counts) * np.finfo(np.float64).eps:
        return None
    solution = solve((V.T @ images.P).astype(np.float32), settings, seed=seed, on_sample=True)
    return Estimate(solution.R @ V.T, solution.converged)


def decompose_resamples(
    images: ImagesInAxes, resamples: Sequence[Real], n_components: int, settings: Settings, *, threads: int = 1
) -> list[Estimate | None]:
    """Decompose every resample from its own random start.

    Parameters
    ----------
    images : ImagesInAxes
    resamples : sequence of arrays of shape (n_images,)
        How often each image was drawn.
    n_components : int
    settings : Settings
    threads : int
        Number of threads among which the resamples are divided. The result does not depend on it.

    Returns
    -------
    list of Estimate or None
        None for a resample with too few different images.
    """

    def decompose(number_and_counts: tuple[int, Real]) -> Estimate | None:
        number, counts = number_and_counts
        return decompose_resample(images, counts, n_components, settings.random_state + number, settings)

    estimates = in_order(decompose, enumerate(resamples), threads)
    return list(progress(estimates, total=len(resamples), unit="resample"))


def judge_by_bootstraps(
    images: ImagesInAxes, reference: Real, n_bootstraps: int, settings: Settings, *, threads: int = 1
) -> Stability | None:
    """Compare components with those of bootstrap samples of the collections.

    Parameters
    ----------
    images : ImagesInAxes
    reference : array of shape (n_components, n_axes)
        Coordinates of the components in the axes of `images`.
    n_bootstraps : int
    settings : Settings
    threads : int

    Returns
    -------
    Stability or None
        None if fewer than two bootstraps had enough different images for this number of components.
    """
    bootstraps = draw_bootstraps(images.collections, n_bootstraps, settings.random_state)
    runs = decompose_resamples(images, bootstraps, len(reference), settings, threads=threads)
    found = [run for run in runs if run is not None]
    if len(found) < 2:
        return None
    estimates = [run.E for run in found]
    aligned = align(reference, estimates)
    rotated = (align(reference, rotation) for rotation in random_rotations(estimates, settings))
    chance = np.percentile([mean_correlation(reference, rotation) for rotation in rotated], CHANCE_PERCENTILE, axis=0)
    return Stability(
        index_quality(aligned), mean_correlation(reference, aligned), chance, len(found), _n_converged(found)
    )


def judge_by_halves(
    images: ImagesInAxes, reference: Real, n_splits: int, settings: Settings, *, threads: int = 1
) -> Stability | None:
    """Decompose two random halves of the collections separately, and compare them.

    The estimates of each half are matched one to one with the components. The two matches of a component are then
    correlated with each other. The halves have no collection in common. The parameters are those of
    `judge_by_bootstraps`, except for `n_splits`, the number of splits.

    Returns
    -------
    Stability or None
        None if no split had enough different images in both halves for this number of components.
    """
    halves = draw_halves(images.collections, n_splits, settings.random_state)
    found = decompose_resamples(images, halves, len(reference), settings, threads=threads)
    pairs = [(a, b) for a, b in zip(found[::2], found[1::2], strict=True) if a is not None and b is not None]
    if not pairs:
        return None
    used = [run for pair in pairs for run in pair]
    runs = [run.E for run in used]

    def between(runs: Sequence[Real]) -> Real:
        aligned = align(reference, runs)
        return mean_correlation(aligned[::2], aligned[1::2])

    chance = np.percentile(
        [between(rotation) for rotation in random_rotations(runs, settings)], CHANCE_PERCENTILE, axis=0
    )
    return Stability(None, between(runs), chance, len(pairs), _n_converged(used))


def judge_by_collections(
    images: ImagesInAxes, R: Real, *, n_bootstraps: int, n_splits: int, settings: Settings, threads: int = 1
) -> tuple[Stability | None, Stability | None]:
    """Measure the stability of components by bootstraps and by split halves, as far as requested and possible.

    Parameters
    ----------
    images : ImagesInAxes
    R : array of shape (n_components, n_components)
        Coordinates of the components in the leading axes.
    n_bootstraps, n_splits : int
    settings : Settings
    threads : int
        Number of threads among which the resamples are divided. The result does not depend on it.

    Returns
    -------
    bootstraps, halves : Stability or None
        None if not requested, or if there are too few collections or images; a warning then says so.
    """
    n_collections = len(set(images.collections))
    if n_collections < MIN_RESAMPLED_COLLECTIONS and n_bootstraps + n_splits:
        logging.warning(
            "stability across studies was not measured: %s found, but resampling needs at least %d",
            counted(n_collections, "collection"),
            MIN_RESAMPLED_COLLECTIONS,
        )
        return None, None
    reference = np.pad(R, ((0, 0), (0, len(images.P) - len(R))))
    bootstraps = judge_by_bootstraps(images, reference, n_bootstraps, settings, threads=threads)
    halves = judge_by_halves(images, reference, n_splits, settings, threads=threads)
    for kind, requested, found in (("bootstrap samples", n_bootstraps, bootstraps), ("halves", n_splits, halves)):
        if requested and not found:
            logging.warning(
                "too few %s of the collections have enough different images for %s, so this measure of stability is"
                " missing; lower run_ica.n_components, or add collections",
                kind,
                counted(len(R), "component"),
            )
    return bootstraps, halves


def random_rotations(runs: Sequence[Real], settings: Settings) -> Iterable[list[Real]]:
    """Rotate the estimates of each run at random within the subspace that they span, `N_ROTATIONS` times.

    The agreement that remains is due to chance. It has two causes: the subspaces are similar, and the best match is
    chosen. Components of Gaussian data agree no better, because their rotation is arbitrary.

    Parameters
    ----------
    runs : sequence of arrays of shape (n_components, n_axes)
        Rows of length 1.
    settings : Settings

    Yields
    ------
    list of arrays of shape (n_components, n_axes)
        Rows of length 1. Within a run, the estimates correlate with each other as before the rotation.
    """
    rng = np.random.default_rng([settings.random_state, 2])
    n_components = len(runs[0])
    # Polar decomposition: each run is a symmetric matrix times orthonormal rows. Only these rows are rotated.
    bases = runs if settings.is_orthogonal else [orthogonalize(run) for run in runs]
    for _ in range(N_ROTATIONS):
        rotated = [np.linalg.qr(rng.standard_normal((n_components, n_components)))[0] @ basis for basis in bases]
        if settings.is_orthogonal:
            yield rotated
        else:
            yield [run @ basis.T @ turned for run, basis, turned in zip(runs, bases, rotated, strict=True)]


def _n_converged(found: Iterable[Estimate]) -> int:
    return sum(estimate.converged for estimate in found)
