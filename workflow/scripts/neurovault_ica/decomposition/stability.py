"""Decompose draws of the collections, to see whether other studies would show the same components.

Collections are drawn, not images: images of one study are alike, and a claim across studies must hold for others.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from neurovault_ica.decomposition.consensus import Settings, align, index_quality, mean_correlation, voxel_sample
from neurovault_ica.decomposition.fastica import rotate
from neurovault_ica.images.matrix import whiten
from neurovault_ica.runtime.ids import number_groups
from neurovault_ica.runtime.log import progress
from neurovault_ica.runtime.threads import in_order
from neurovault_ica.types import Real

# Of fewer, a third of the draws has the same two or three studies.
MIN_COLLECTIONS = 5
# So often the axes of all draws are turned at random, to know what correlations come by chance.
N_RANDOM = 50
CHANCE_PERCENTILE = 95
FLAGS = ("start_dependent", "not_reproduced", "one_collection")


class Images(NamedTuple):
    """The images in the leading principal axes of all of them: weighted images are ``B @ P``."""

    P: npt.NDArray[np.float32]  # (n_axes, n_sampled_voxels), uncorrelated maps of mean 0 and variance 1
    B: Real  # (n_images, n_axes)
    collections: Sequence[int]  # (n_images,)


class Stability(NamedTuple):
    """How well components are found again in draws of the collections."""

    iq: Real | None  # (n_components,), ICASSO's index over the draws; None for halves
    correlation: Real  # (n_components,), mean |r|: with the match in each bootstrap, or between those in two halves
    chance: Real  # (n_components,), what that stays below, in 95 % of cases, for random axes in the same subspaces
    n_used: int  # bootstraps, or splits, with enough different images
    n_converged: int  # FastICA runs: one for each bootstrap, two for each split


class Estimate(NamedTuple):
    """Components found in one draw."""

    E: Real  # (n_components, n_axes), coordinates in the white axes of all images: orthonormal rows
    converged: bool


def white_axes(
    matrix: str, reduced: Mapping[str, Real], voxels: npt.NDArray[np.intp] | slice, *, threads: int = 1
) -> npt.NDArray[np.float32]:
    """Compute the maps of the leading principal axes at some voxels.

    Parameters
    ----------
    matrix : path
        Images x voxels.
    reduced : mapping
        What reduce_images has written. As many axes are computed as `U` has columns.
    voxels : array of int, or slice
    threads : int

    Returns
    -------
    array of shape (n_axes, n_sampled_voxels)
        Uncorrelated, of mean 0 and variance 1 over all voxels.
    """
    U = reduced["U"]
    K = (U / np.sqrt(reduced["eigenvalues"][: U.shape[1]])).T * np.sqrt(reduced["weights"])
    return whiten(np.load(matrix, mmap_mode="r"), reduced["mean"], K, voxels, threads=threads)


def read_images(
    matrix: str, reduced: Mapping[str, Real], collections: Sequence[int], *, random_state: int, threads: int = 1
) -> Images:
    """Express the images in their leading axes, at a tenth of the voxels."""
    n_voxels = np.load(matrix, mmap_mode="r").shape[1]
    P = white_axes(matrix, reduced, voxel_sample(n_voxels, random_state), threads=threads)
    return Images(P, reduced["U"] * np.sqrt(reduced["eigenvalues"][: len(P)]), collections)


def draw_bootstraps(collections: Sequence[int], n_bootstraps: int, random_state: int) -> list[Real]:
    """Draw collections with replacement; each array (n_images,) says how often each image was drawn."""
    names, member = number_groups(collections)
    rng = np.random.default_rng([random_state, 0])
    draws = [rng.integers(len(names), size=len(names)) for _ in range(n_bootstraps)]
    return [np.bincount(drawn, minlength=len(names))[member].astype(float) for drawn in draws]


def draw_halves(collections: Sequence[int], n_splits: int, random_state: int) -> list[Real]:
    """Split the collections at random into halves; each two arrays (n_images,) are 1 for the images of a half, else 0.

    Where the number of collections is odd, the first half has one less.
    """
    names, member = number_groups(collections)
    rng = np.random.default_rng([random_state, 1])
    halves = []
    for _ in range(n_splits):
        in_first = np.isin(member, rng.permutation(len(names))[: len(names) // 2])
        halves += [in_first.astype(float), (~in_first).astype(float)]
    return halves


def decompose_draw(images: Images, counts: Real, n_components: int, seed: int, settings: Settings) -> Estimate | None:
    """Decompose the images with each counted as often as it was drawn.

    Nothing larger than the leading axes of all images is decomposed: with ``X = B @ P``, the axes of the drawn images
    are eigenvectors of ``B.T @ diag(counts) @ B``.

    Parameters
    ----------
    counts : array of shape (n_images,)
        How often each image was drawn.

    Returns
    -------
    Estimate or None
        None where the drawn images have fewer independent directions than components are wanted.
    """
    eigenvalues, V = np.linalg.eigh(images.B.T @ (counts[:, None] * images.B))
    eigenvalues, V = eigenvalues[::-1][:n_components], V[:, ::-1][:, :n_components]
    if eigenvalues[-1] <= eigenvalues[0] * len(counts) * np.finfo(np.float64).eps:
        return None
    rotation = rotate(
        (V.T @ images.P).astype(np.float32),
        seed=seed,
        max_iter=settings.max_sample_iter,
        tol=settings.tol,
    )
    return Estimate(rotation.R @ V.T, rotation.converged)


def decompose_draws(
    images: Images, draws: Sequence[Real], n_components: int, settings: Settings, *, threads: int = 1
) -> list[Estimate | None]:
    """Decompose every draw, each from a random start of its own."""

    def decompose(number_and_counts: tuple[int, Real]) -> Estimate | None:
        number, counts = number_and_counts
        return decompose_draw(images, counts, n_components, settings.random_state + number, settings)

    return list(progress(in_order(decompose, enumerate(draws), threads), total=len(draws), unit="draw"))


def judge_by_bootstraps(
    images: Images, reference: Real, n_bootstraps: int, settings: Settings, *, threads: int = 1
) -> Stability | None:
    """Compare components with those of collections drawn with replacement.

    Parameters
    ----------
    reference : array of shape (n_components, n_axes)
        The components to judge, as coordinates in the axes of `images`.

    Returns
    -------
    Stability or None
        None where fewer than two draws had enough different images for so many components.
    """
    draws = draw_bootstraps(images.collections, n_bootstraps, settings.random_state)
    runs = decompose_draws(images, draws, len(reference), settings, threads=threads)
    found = [run for run in runs if run is not None]
    if len(found) < 2:
        return None
    estimates = [run.E for run in found]
    aligned = align(reference, estimates)
    turned = (align(reference, turn) for turn in random_turns(estimates, settings.random_state))
    chance = np.percentile([mean_correlation(reference, turn) for turn in turned], CHANCE_PERCENTILE, axis=0)
    return Stability(
        index_quality(aligned), mean_correlation(reference, aligned), chance, len(found), _n_converged(found)
    )


def judge_by_halves(
    images: Images, reference: Real, n_splits: int, settings: Settings, *, threads: int = 1
) -> Stability | None:
    """Decompose random halves of the collections, each by itself, and compare the two.

    The estimates of each half are assigned to the components one to one; what is compared is one half's match of a
    component with that of the other, and these have no collection in common. Parameters are those of
    `judge_by_bootstraps`.

    Returns
    -------
    Stability or None
        None where no split had enough different images in both halves for so many components.
    """
    halves = draw_halves(images.collections, n_splits, settings.random_state)
    found = decompose_draws(images, halves, len(reference), settings, threads=threads)
    pairs = [(a, b) for a, b in zip(found[::2], found[1::2], strict=True) if a is not None and b is not None]
    if not pairs:
        return None
    used = [run for pair in pairs for run in pair]
    runs = [run.E for run in used]

    def between(runs: Sequence[Real]) -> Real:
        aligned = align(reference, runs)
        return mean_correlation(aligned[::2], aligned[1::2])

    chance = np.percentile(
        [between(turn) for turn in random_turns(runs, settings.random_state)], CHANCE_PERCENTILE, axis=0
    )
    return Stability(None, between(runs), chance, len(pairs), _n_converged(used))


def judge_by_collections(
    images: Images, R: Real, *, n_bootstraps: int, n_splits: int, settings: Settings, threads: int = 1
) -> tuple[Stability | None, Stability | None]:
    """Judge components by bootstraps and by halves of the collections, as far as that is wanted and possible.

    Parameters
    ----------
    images : Images
    R : array of shape (n_components, n_components)
        The components as coordinates in the leading axes.
    n_bootstraps, n_splits : int
    settings : Settings
    threads : int
        They share the draws; what comes out does not depend on their number.

    Returns
    -------
    bootstraps, halves : Stability or None
    """
    n_collections = len(set(images.collections))
    if n_collections < MIN_COLLECTIONS and n_bootstraps + n_splits:
        logging.warning("%d collections are too few to draw from: stability over studies stays unknown", n_collections)
        return None, None
    reference = np.pad(R, ((0, 0), (0, len(images.P) - len(R))))
    bootstraps = judge_by_bootstraps(images, reference, n_bootstraps, settings, threads=threads)
    halves = judge_by_halves(images, reference, n_splits, settings, threads=threads)
    for draw, wanted, found in (("draw", n_bootstraps, bootstraps), ("half", n_splits, halves)):
        if wanted and not found:
            logging.warning(
                "hardly a %s of the collections has images enough for %d components: it stays unknown whether other"
                " studies would show them; lower run_ica.n_components",
                draw,
                len(R),
            )
    return bootstraps, halves


def collect_measures(
    restarts: tuple[Real, Real] | None, bootstraps: Stability | None, halves: Stability | None
) -> dict[str, Real | None]:
    """Give what is known of the stability of components, each an array (n_components,), by the names of its columns."""
    return {
        "iq_restarts": restarts and restarts[0],
        "r_restarts": restarts and restarts[1],
        "iq_bootstraps": bootstraps and bootstraps.iq,
        "r_bootstraps": bootstraps and bootstraps.correlation,
        "chance_r_bootstraps": bootstraps and bootstraps.chance,
        "r_split_half": halves and halves.correlation,
        "chance_r_split_half": halves and halves.chance,
    }


def find_flags(
    measures: Mapping[str, Real | None], largest_share: Real, limits: Mapping[str, float | None]
) -> list[list[str]]:
    """Say of each component what speaks against it.

    Parameters
    ----------
    measures : mapping
        From `collect_measures`. What was not measured speaks against nothing.
    largest_share : array of shape (n_components,)
        The largest share that one collection has of the squared loadings.
    limits : mapping
        Section ``run_ica.flags``; None switches a criterion off.

    Returns
    -------
    list of list of str
        ``start_dependent``: the restarts do not agree. ``not_reproduced``: draws of the collections do not show it, or
        not more than chance would. ``one_collection``: it is carried by a single one.
    """

    def below(name: str) -> npt.NDArray[np.bool_]:
        values, limit, chance = measures[name], limits[f"min_{name}"], measures.get(f"chance_{name}")
        if values is None or limit is None:
            return np.zeros(len(largest_share), dtype=bool)
        return values < (limit if chance is None else np.maximum(limit, chance))

    most = limits["max_collection_share"]
    raised = (
        below("iq_restarts") | below("r_restarts"),
        below("r_bootstraps") | below("r_split_half"),
        largest_share > (np.inf if most is None else most),
    )
    return [[flag for flag, bad in zip(FLAGS, raised, strict=True) if bad[k]] for k in range(len(largest_share))]


def random_turns(runs: Sequence[Real], random_state: int) -> Iterable[list[Real]]:
    """Turn the estimates of each run at random within the subspace that they span, `N_RANDOM` times.

    What remains of their agreement comes from the subspaces being alike, and from choosing the best match: components
    of Gaussian data, where all directions are as good as any other, agree as much and no more.
    """
    rng = np.random.default_rng([random_state, 2])
    n_components = len(runs[0])
    for _ in range(N_RANDOM):
        yield [np.linalg.qr(rng.standard_normal((n_components, n_components)))[0] @ run for run in runs]


def _n_converged(found: Iterable[Estimate]) -> int:
    return sum(estimate.converged for estimate in found)
