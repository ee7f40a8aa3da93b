"""Name the components: project the images' term weights and metadata labels through their loadings."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any, cast

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pandas as pd
from labels import label_matrix
from nibabel.spatialimages import SpatialImage
from outputs import read_table, replacing, write_table
from scipy.ndimage import affine_transform, gaussian_filter
from significance import MAP_FWHM_MM, Significance, associate
from stage_log import log_to
from threadpoolctl import threadpool_limits

Array = npt.NDArray[np.float64]
# The random maps are evaluated at every voxel of about this grid only: images and maps are smooth.
SAMPLING_MM = 4.0


def read_loadings(path: str) -> tuple[list[int], list[str], Array]:
    """Read a mixing or unmixing table.

    Returns
    -------
    image_ids : list of int
    labels : list of str
        Component names.
    loadings : array of shape (n_images, n_components)
    """
    rows = read_table(path)
    labels = [column for column in rows[0] if column != "image_id"]
    loadings = np.array([[row[label] for label in labels] for row in rows])
    return [row["image_id"] for row in rows], labels, loadings


def term_matrix(tables: Iterable[str], image_ids: list[int]) -> tuple[list[int], list[str], Array]:
    """Build the images x terms matrix of the images that have term weights.

    An image without weights has no row, it is not a row of zeros. A term that an image's answer lacks is 0, because
    Neurosynth leaves out no term that it knows.

    Returns
    -------
    rows : list of int
        Positions in `image_ids` of the images that have weights.
    terms : list of str
        Sorted.
    T : array of shape (n_images_with_terms, n_terms)
    """
    weights = pd.concat([pd.read_csv(table, sep="\t", keep_default_na=False, dtype={"term": str}) for table in tables])
    weights = weights[weights["image_id"].isin(set(image_ids))]
    position = {image_id: number for number, image_id in enumerate(image_ids)}
    rows = sorted(position[image_id] for image_id in weights["image_id"].unique())
    terms = sorted(weights["term"].unique())
    T = np.zeros((len(rows), len(terms)))
    row_of = {image_ids[number]: row for row, number in enumerate(rows)}
    column_of = {term: column for column, term in enumerate(terms)}
    places = weights["image_id"].map(row_of).to_numpy(int), weights["term"].map(column_of).to_numpy(int)
    T[places] = weights["weight"].to_numpy(float)
    return rows, terms, T


def project(T: Array, loadings: Array, *, center: bool) -> Array:
    """Weigh terms by the loadings of the images that carry them.

    Parameters
    ----------
    T : array of shape (n_images, n_terms)
    loadings : array of shape (n_images, n_components)
        The mixing matrix: loadings are the patterns to interpret (Haufe et al. 2014,
        doi:10.1016/j.neuroimage.2013.10.067). nilearn's example takes the unmixing weights.
    center : bool
        Subtract each term's mean over the images first.

    Returns
    -------
    array of shape (n_components, n_terms)
    """
    if center and len(T):
        T = T - T.mean(axis=0)
    return loadings.T @ T


def rank_terms(
    scores: Array, terms: list[str], labels: list[str], n_images: int, significance: Significance | None
) -> list[dict[str, Any]]:
    """Tabulate the terms of each component, strongest first."""
    rows = []
    for number, (label, component) in enumerate(zip(labels, scores, strict=True)):
        # Reversed, not negated: equal weights (synonyms) then fall as in nilearn's example.
        order = np.argsort(component)[::-1]
        rows += [
            {"component": label, "term": terms[column], "rank": rank, "weight": component[column], "images": n_images}
            | evidence(significance, number, column)
            for rank, column in enumerate(order, start=1)
        ]
    return rows


def evidence(significance: Significance | None, component: int, feature: int) -> dict[str, float | None]:
    """Give p and q of one component and feature, or nothing known."""
    if significance is None:
        return {"p": None, "q": None}
    return {"p": significance.p[component, feature], "q": significance.q[component, feature]}


def map_covariances(
    images: Iterable[npt.NDArray[np.float32]], mask: npt.NDArray[np.bool_], affine: Array
) -> list[Array]:
    """Compute how the images' weights in random smooth maps vary and covary over such maps.

    The weight of an image in a map is their correlation over voxels. For a Gaussian map with covariance K over
    voxels, the weights of the images X (centred, of length 1) have covariance ``X K X.T``, up to the length of the
    map, which is a factor common to all images and does not matter to correlations over images. K of smoothed white
    noise is a Gaussian wider by the square root of 2, so smoothing the images with it gives ``K X.T``.

    Parameters
    ----------
    images : iterable of arrays of shape (n_voxels,)
    mask : boolean array of 3 dimensions
        With n_voxels voxels.
    affine : array of shape (4, 4)
        Of the mask.

    Returns
    -------
    list of arrays of shape (n_images, n_images)
        For each of MAP_FWHM_MM, of maps as they come; then, for each, of maps that are the same left and right: brain
        maps are more or less symmetric, which leaves random maps fewer ways to differ.
    """
    size_mm = np.linalg.norm(affine[:3, :3], axis=0)
    steps = np.maximum(1, np.rint(SAMPLING_MM / size_mm)).astype(int)
    lattice = tuple(slice(None, None, step) for step in steps)
    sampled = np.zeros(mask.shape, dtype=bool)
    sampled[lattice] = mask[lattice]
    grid = affine @ np.diag([*steps, 1.0])
    mirror = np.linalg.inv(grid) @ np.diag([-1.0, 1.0, 1.0, 1.0]) @ grid
    inside = mask[lattice]
    either_side = inside | (affine_transform(inside.astype(np.float32), mirror, order=1) > 0)
    asymmetric, symmetric = [], []
    for image in images:
        volume = np.zeros(inside.shape, dtype=np.float32)
        values = image[sampled[mask]].astype(np.float64)
        values -= values.mean()
        volume[inside] = values / (np.linalg.norm(values) or 1)
        asymmetric.append(volume[inside])
        symmetric.append((volume + affine_transform(volume, mirror, order=1))[either_side])
    sigmas = [fwhm / np.sqrt(8 * np.log(2)) * np.sqrt(2) / (size_mm * steps) for fwhm in MAP_FWHM_MM]
    return [
        _smooth_covariance(np.array(values), support, sigma)
        for values, support in ((asymmetric, inside), (symmetric, either_side))
        for sigma in sigmas
    ]


def _smooth_covariance(X: npt.NDArray[np.float32], support: npt.NDArray[np.bool_], sigma: Array) -> Array:
    """Compute the inner products of images with smoothed images."""
    C = np.empty((len(X), len(X)))
    for column, values in enumerate(X):
        volume = np.zeros(support.shape, dtype=np.float32)
        volume[support] = values
        C[:, column] = X @ gaussian_filter(volume, sigma, mode="constant")[support]
    return (C + C.T) / 2


def enrich(
    images: list[dict[str, Any]],
    studies: Mapping[int, Mapping[str, Any]],
    loadings: Array,
    components: list[str],
    *,
    n_permutations: int,
    random_state: int,
) -> list[dict[str, Any]]:
    """Compare the mean loading of the images that share a metadata label or word with that of all other images.

    Parameters
    ----------
    images : list of mapping
        Rows of fetch_metadata/images.tsv, in the order of the loadings.
    studies : mapping of int to mapping
        Rows of fetch_metadata/collections.tsv by id.
    loadings : array of shape (n_images, n_components)
    components : list of str
        Their names.
    """
    labels, carries = label_matrix(images, studies)
    collections = [image["collection_id"] for image in images]
    significance = associate(
        loadings, carries.astype(float), collections, n_permutations=n_permutations, random_state=random_state
    )
    rows = []
    for column, (field, label) in enumerate(labels):
        with_label = carries[:, column]
        means, others = loadings[with_label].mean(axis=0), loadings[~with_label].mean(axis=0)
        n_collections = len({c for c, has in zip(collections, with_label, strict=True) if has})
        rows += [
            {
                "component": component,
                "field": field,
                "label": label,
                "images": int(with_label.sum()),
                "collections": n_collections,
                "mean_loading": means[number],
                "difference": means[number] - others[number],
            }
            | evidence(significance, number, column)
            for number, component in enumerate(components)
        ]
    return sorted(rows, key=lambda row: (row["component"], -row["difference"], row["field"], row["label"]))


def main(
    *,
    term_weights: list[str],
    images: str,
    selection: str,
    collections: str,
    voxels: str,
    mask: str,
    mixing: str,
    unmixing: str,
    terms: str,
    matrix: str,
    vocabulary: str,
    enrichment: str,
    projection: str,
    center_terms: bool,
    n_permutations: int,
    random_state: int,
) -> None:
    """Project terms and labels and write them, strongest first."""
    image_ids, labels, loadings = read_loadings(mixing if projection == "mixing" else unmixing)
    rows, known_terms, weights = term_matrix(term_weights, image_ids)
    with replacing(matrix) as temporary:
        np.savez_compressed(
            temporary,
            weights=weights,
            image_ids=np.array([image_ids[row] for row in rows], dtype=np.int64),
            terms=np.array(known_terms, dtype=str),
        )
    # As in nilearn's example: that a term does not go with a map names nothing.
    T = np.maximum(weights, 0)
    if not rows:
        logging.warning("no image has term weights: the components stay without terms")
    used = read_table(images)
    scores = project(T, loadings[rows], center=center_terms)
    _, _, mixing_loadings = read_loadings(mixing)
    # Tested are the loadings, whatever the terms are projected through: they are the patterns.
    with threadpool_limits(1):
        covariances: list[Array] = []
        if rows and n_permutations:
            brain = cast(SpatialImage, nib.load(mask))
            X = np.load(voxels, mmap_mode="r")
            covariances = map_covariances((X[row] for row in rows), np.asarray(brain.dataobj) > 0, brain.affine)
        significance = associate(
            mixing_loadings[rows],
            T,
            [used[row]["collection_id"] for row in rows],
            n_permutations=n_permutations,
            random_state=random_state,
            map_covariances=covariances,
        )
        selected = {row["image_id"]: row for row in read_table(selection)}
        enriched = enrich(
            [selected[image_id] for image_id in image_ids],
            {row["collection_id"]: row for row in read_table(collections)},
            mixing_loadings,
            labels,
            n_permutations=n_permutations,
            random_state=random_state,
        )
    write_table(terms, rank_terms(scores, known_terms, labels, len(rows), significance))
    means = T.mean(axis=0) if rows else np.zeros(0)
    order = np.argsort(-means, kind="stable")
    write_table(vocabulary, ({"term": known_terms[c], "mean_weight": means[c], "images": len(rows)} for c in order))
    write_table(enrichment, enriched)
    logging.info(
        "%d terms of %d of %d images projected through the %s matrix",
        len(known_terms),
        len(rows),
        len(image_ids),
        projection,
    )
    logging.info("highest mean weights: %s", ", ".join(known_terms[column] for column in order[:10]) or "none")


if __name__ == "__main__":
    log_to(snakemake.log[0])
    main(**snakemake.input, **snakemake.output, **snakemake.params)
