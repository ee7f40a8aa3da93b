"""Test labels of images with surrogates in place of a component.

Images with the same label are alike, so they have similar loadings on any map that resembles them. A permutation of
collections finds this significant, although it says nothing about the component.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import numpy as np

from neurovault_ica.images.matrix import image_blocks
from neurovault_ica.images.signs import SCALE_COLUMNS, SIGNS, Halves
from neurovault_ica.naming.evidence import Inputs, SurrogateTest
from neurovault_ica.naming.label_fields import Field
from neurovault_ica.statistics.lattice import lattice_of
from neurovault_ica.statistics.p_values import p_of_best
from neurovault_ica.statistics.permuted_collections import group, image_scores
from neurovault_ica.types import Array, Real

# Loadings on surrogates, (n_images, n_surrogates). The argument has the shape (n_surrogates, n_points).
Multiply = Callable[[Real], Real]
# Number of images that are multiplied at a time, to limit the memory.
IMAGES_AT_ONCE = 1024


def products_with_images(inputs: Inputs) -> list[Multiply]:
    """Read the images at the points of a grid of about 6 mm. Return a function that multiplies maps by them.

    With split signs, return two functions: the first for the activation of the images, the second for deactivation.
    """
    lattice = lattice_of(inputs.maps.inside, inputs.maps.affine)
    matrix = np.load(inputs.matrix_file, mmap_mode="r")
    images = np.empty((len(matrix), np.count_nonzero(lattice.points)), np.float32)
    for block in image_blocks(matrix):
        images[block.where] = block.read()[:, lattice.points]
    # Squares of loadings must fit into single precision. The scale does not matter, because correlations ignore it.
    images /= max(images.max(), -images.min()) or 1
    blocks = [slice(start, start + IMAGES_AT_ONCE) for start in range(0, len(images), IMAGES_AT_ONCE)]
    if not inputs.is_split:
        return [lambda maps: np.concatenate([images[block] @ maps.T for block in blocks])]
    halves = Halves(images, [[cast(float, image[column]) for column in SCALE_COLUMNS] for image in inputs.images])

    def multiply(side: int, maps: Real) -> Real:
        # The halves are made again for each product, because together they are twice as large as the images.
        rows = (halves.split(images[block], block)[side :: len(SIGNS)] for block in blocks)
        return np.concatenate([half @ maps.T for half in rows])

    return [partial(multiply, side) for side in range(len(SIGNS))]


def label_test(
    r_images: Real,
    has_label: Real,
    collections: Sequence[str],
    fields: Sequence[Field],
    products: Sequence[Multiply],
) -> SurrogateTest:
    """Make a test of labels that corrects for choosing among all labels.

    Parameters
    ----------
    r_images : array of shape (n_sides * n_components, n_labels)
        Correlations of loadings and labels over images (`permuted_collections.associate`), sorted by side. NaN for
        labels that are not tested.
    has_label : array of shape (n_images, n_labels)
    collections : sequence of str
    fields : sequence of Field
        Each label is tested among the images that have its field.
    products : sequence of callable
        For each side, the loadings of the images on surrogates, from `products_with_images`.

    Returns
    -------
    SurrogateTest
        Returns p, corrected by the largest z of each surrogate with any label (`p_values.p_of_best`), as an array of
        shape (n_sides, n_labels). NaN for labels that are not tested.
    """
    is_tested = ~np.isnan(r_images[0])
    parts = []
    for rows, columns in fields:
        of_field = columns[is_tested[columns]]
        groups = group([collections[row] for row in rows])
        y = image_scores(has_label[np.ix_(rows, of_field)].astype(np.float64), groups).astype(np.float32)
        parts.append((rows, of_field, groups, y))
    r = r_images.reshape(len(products), -1, r_images.shape[1])

    def test(number: int, surrogates: Real) -> Array:
        p = np.full((len(products), len(is_tested)), np.nan)
        for side, loadings in enumerate(products):
            of_images = loadings(surrogates)
            null = np.empty((len(surrogates), len(is_tested)), np.float32)
            for rows, of_field, groups, y in parts:
                null[:, of_field] = image_scores(of_images[rows], groups).astype(np.float32).T @ y
            p[side, is_tested] = p_of_best(r[side, number, is_tested], null[:, is_tested])[1]
        return p

    return test
