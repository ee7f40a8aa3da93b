"""Find the images and collections that contribute most to a component, by their loadings."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from neurovault_ica.images.signs import SIGNS
from neurovault_ica.runtime.ids import number_groups
from neurovault_ica.runtime.tables import read_table
from neurovault_ica.types import Array, Real, Row

# Number of collections listed for each component, and number of images listed for each of its signs.
LISTED = 10


class Shares(NamedTuple):
    """Share of each collection in the squared loadings of each component."""

    collections: list[str]  # (n_collections,), ids, ascending
    share: Real  # (n_collections, n_components), columns sum to 1


def share_of_images(A: Real, weights: Real) -> Real:
    """Compute the share of each image in the weighted squared loadings of each component.

    Parameters
    ----------
    A : array of shape (n_images, n_components)
        Loadings.
    weights : array of shape (n_images,)
        Weights of the images in the whitening.

    Returns
    -------
    array of shape (n_images, n_components)
        Columns sum to 1.
    """
    squared = weights[:, None] * np.square(A)
    return squared / squared.sum(axis=0)


def share_of_collections(share: Real, collections: Sequence[str]) -> Shares:
    """Sum the shares of the images of each collection.

    Parameters
    ----------
    share : array of shape (n_images, n_components)
    collections : sequence of str
        The collection of each image.
    """
    names, member = number_groups(collections)
    sums = np.zeros((len(names), share.shape[1]))
    np.add.at(sums, member, share)
    return Shares(names, sums)


def effective_number(share: Real) -> Real:
    """Compute the effective number of contributors: one over the sum of squared shares, along the first axis.

    This is Hill's number of order 2 (Hill 1973, doi:10.2307/1934352). It is n for n equal shares, and 1 for a
    single share.
    """
    return 1 / np.square(share).sum(axis=0)


def rank_images(labels: Sequence[str], A: Real, share: Real, images: Sequence[Row]) -> Iterator[Row]:
    """List the images with the largest positive and negative loadings of each component, strongest first.

    With split signs, only positive loadings are listed: first of the images' activation, then of their deactivation.

    Parameters
    ----------
    labels : sequence of str
        Names of the components.
    A : array of shape (n_images, n_components)
        Loadings.
    share : array of shape (n_images, n_components)
        From `share_of_images`.
    images : sequence of mappings
        From `signs.rows_of`.
    """
    if "sign" in images[0]:
        sides = [(name, np.array([image["sign"] == name for image in images], dtype=float)) for name in SIGNS]
    else:
        sides = [("positive", np.ones(len(images))), ("negative", -np.ones(len(images)))]
    for number, label in enumerate(labels):
        loadings = A[:, number]
        for name, factors in sides:
            strongest = np.argsort(-factors * loadings, kind="stable")[:LISTED]
            for rank, row in enumerate(strongest[(factors * loadings)[strongest] > 0], 1):
                yield {
                    "component": label,
                    "sign": name,
                    "rank": rank,
                    "loading": loadings[row],
                    "share": share[row, number],
                } | {key: images[row][key] for key in ("image_id", "name", "collection_id", "collection_name", "url")}


def rank_collections(
    labels: Sequence[str], A: Real, shares: Shares, images: Sequence[Row], studies: Mapping[str, Row]
) -> Iterator[Row]:
    """List the collections with the largest shares of each component, largest first.

    Parameters
    ----------
    labels, A, images
        As for `rank_images`.
    shares : Shares
    studies : mapping of str to mapping
        Rows of collections.tsv by collection id.
    """
    member = np.array([image["collection_id"] for image in images])
    n_sides = 2 if "sign" in images[0] else 1
    for number, label in enumerate(labels):
        for rank, place in enumerate(np.argsort(-shares.share[:, number], kind="stable")[:LISTED], 1):
            collection_id = shares.collections[place]
            loadings = A[member == collection_id, number].reshape(-1, n_sides)
            means = loadings.mean(axis=0)
            yield (
                {
                    "component": label,
                    "rank": rank,
                    "collection_id": collection_id,
                    "share": shares.share[place, number],
                    "images": len(loadings),
                    "mean_loading": means[0],
                }
                | ({"mean_deactivation_loading": means[1]} if n_sides == 2 else {})
                | {key: studies.get(collection_id, {}).get(key) for key in ("name", "url")}
            )


def image_covariances(loadings: Real, S: Real) -> Real:
    """Compute the covariances of images with components that may correlate with each other.

    Parameters
    ----------
    loadings : array of shape (n_images, n_components)
    S : array of shape (n_components, n_voxels)
        Maps of variance 1.

    Returns
    -------
    array of shape (n_images, n_components)
    """
    return loadings @ np.corrcoef(S)


def mean_correlations(covariances: Real, sd: Real, collections: Sequence[str]) -> tuple[list[str], Real]:
    """Average the correlations of images with components over each collection.

    Parameters
    ----------
    covariances : array of shape (n_images, n_components)
        Covariances of images with components of variance 1. If the components are uncorrelated, these are the
        loadings. Otherwise they come from `image_covariances`.
    sd : array of shape (n_images,)
        Standard deviations of the images in the matrix.
    collections : sequence of str
        The collection of each image.

    Returns
    -------
    ids : list of str
        The collections, in order of first appearance.
    means : array of shape (n_collections, n_components)
    """
    ids = list(dict.fromkeys(collections))
    member = np.equal.outer(ids, np.asarray(collections)).astype(float)
    return ids, member @ (covariances / sd[:, None]) / member.sum(axis=1)[:, None]


class Loadings(NamedTuple):
    """A mixing or unmixing table."""

    image_ids: list[str]  # (n_images,)
    labels: list[str]  # (n_components,), names of the components
    values: Array  # (n_images, n_components); with split signs (2 * n_images, n_components)
    is_split: bool  # whether each image has two successive rows: activation, then deactivation


def read_loadings(path: str) -> Loadings:
    """Read a mixing or unmixing table."""
    rows = read_table(path)
    labels = [column for column in rows[0] if column not in ("image_id", "sign")]
    values = np.array([[row[label] for label in labels] for row in rows])
    return Loadings(list(dict.fromkeys(row["image_id"] for row in rows)), labels, values, "sign" in rows[0])


def join_signs(values: Real, scales: Real) -> Real:
    """Combine the covariances of activation and deactivation with components into those of whole images.

    Parameters
    ----------
    values : array of shape (2 * n_images, n_components)
        Covariances of activation and deactivation of each image, in successive rows.
    scales : array of shape (n_images, 2)
        Factors that scaled the two halves, from `signs.scales_of`. An empty half has 0 and adds nothing.

    Returns
    -------
    array of shape (n_images, n_components)
        In the unit of the images before splitting.
    """
    unscaled = np.divide(1, scales, out=np.zeros_like(scales), where=scales > 0)
    return unscaled[:, :1] * values[0::2] - unscaled[:, 1:] * values[1::2]


def rows_by_image(
    labels: Sequence[str], values: Real, images: Sequence[Mapping[str, Any]], keys: Sequence[str] = ("image_id",)
) -> Iterator[dict[str, Any]]:
    """Yield `values` (n_rows, n_components) as rows of a table: the `keys` of each image, then a column per label."""
    for image, row in zip(images, values, strict=True):
        yield {key: image[key] for key in keys} | dict(zip(labels, row, strict=True))
