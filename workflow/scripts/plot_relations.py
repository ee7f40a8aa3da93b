"""Draw loadings of collections, and similarity of components in space and in terms."""

import logging
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
from neurovault_ica.decomposition.algorithms import ALGORITHMS
from neurovault_ica.decomposition.loadings import image_covariances, join_signs, mean_correlations, read_loadings
from neurovault_ica.figures.relations import axis_labels, draw_loadings, draw_similarity
from neurovault_ica.figures.sheet import save_figure
from neurovault_ica.images.maps import read_maps
from neurovault_ica.images.signs import join_moments, scales_of
from neurovault_ica.naming.names import read_names
from neurovault_ica.naming.terms import term_profiles
from neurovault_ica.runtime.log import log_to
from neurovault_ica.runtime.tables import read_table, write_table
from neurovault_ica.runtime.wording import counted
from neurovault_ica.types import Real, Row


def overlaps(shown: npt.NDArray[np.bool_]) -> Real:
    """Compute Dice's coefficient of the voxels above threshold, for each pair of components.

    Components may overlap where they are strong, even if they are uncorrelated over all voxels.

    Parameters
    ----------
    shown : array of shape (n_components, n_voxels)

    Returns
    -------
    array of shape (n_components, n_components)
    """
    sets = shown.astype(np.float32)
    sizes = sets.sum(axis=1)
    return 2 * (sets @ sets.T) / np.maximum(sizes[:, None] + sizes, 1)


def pairs_of(labels: Sequence[str], overlap: Real, likeness: Real | None) -> list[Row]:
    """Tabulate the overlap and the correlation of terms of each pair of components."""
    return [
        {
            "component": labels[one],
            "other": labels[other],
            "overlap": float(overlap[one, other]),
            "r_terms": None if likeness is None else float(likeness[one, other]),
        }
        for one, other in combinations(range(len(labels)), 2)
    ]


def main(
    *,
    components: str,
    thresholded: str,
    mask: str,
    mixing: str,
    reduction: str,
    images: str,
    terms: str,
    names: str,
    loadings_figure: str,
    loadings: str,
    similarity_figure: str,
    similarity: str,
    algorithm: str,
) -> None:
    """Draw both figures, and write their numbers as tables."""
    used = {row["image_id"]: row for row in read_table(images)}
    image_ids, labels, A, is_split = read_loadings(mixing)
    of_images = [used[image_id] for image_id in image_ids]
    axis = axis_labels(labels, read_names(names))

    reduced = np.load(reduction)
    variance: Real = reduced["image_variance"]
    covariances: Real = A
    if not ALGORITHMS[algorithm].is_orthogonal:
        covariances = image_covariances(A, read_maps(components, mask).values)
    if is_split:
        scales = scales_of(of_images)
        covariances, variance = join_signs(covariances, scales), join_moments(reduced["mean"], variance, scales)
    ids, means = mean_correlations(covariances, np.sqrt(variance), [row["collection_id"] for row in of_images])
    known = {row["collection_id"]: row["collection_name"] for row in of_images}
    n_images = Counter(row["collection_id"] for row in of_images)
    write_table(
        loadings,
        [
            {"collection_id": number, "name": known[number], "images": n_images[number]}
            | dict(zip(labels, row.tolist(), strict=True))
            for number, row in zip(ids, means, strict=True)
        ],
        ["collection_id", "name", "images", *labels],
    )
    figure = draw_loadings(means, [known[number] or f"collection {number}" for number in ids], axis, ids)
    save_figure(figure, loadings_figure, title="Loadings of the collections")

    profiles = term_profiles(read_table(terms), labels)
    likeness = None if profiles is None else np.atleast_2d(np.corrcoef(profiles))
    overlap = overlaps(read_maps(thresholded, mask).values != 0)
    write_table(similarity, pairs_of(labels, overlap, likeness))
    save_figure(draw_similarity(overlap, likeness, axis), similarity_figure, title="Similarity of components")
    n_collections, n_components = counted(len(ids), "collection"), counted(len(labels), "component")
    logging.info("drew the loadings of %s on %s, and the components' similarity", n_collections, n_components)


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    main(**snakemake.input, **snakemake.output, **snakemake.params)
