"""Test labels of images with surrogates in place of a component.

Images with the same label are alike, and load alike on any map that they resemble. Permuting collections finds that
significant, although it says nothing about the component.
"""

from collections.abc import Sequence

import numpy as np

from neurovault_ica.images.matrix import image_blocks
from neurovault_ica.images.signs import SCALE_COLUMNS, SIGNS, Halves
from neurovault_ica.naming.evidence import Inputs, SurrogateTest
from neurovault_ica.statistics.lattice import lattice_of
from neurovault_ica.statistics.p_values import p_of_best
from neurovault_ica.statistics.permuted_collections import fill_missing, group, image_scores
from neurovault_ica.types import Array, Real


def images_at_points(inputs: Inputs) -> list[Real]:
    """Read the images at the points of a grid of about 6 mm, each array of shape (n_images, n_points).

    With split signs, the first array has the activation of the images, and the second their deactivation.
    """
    lattice = lattice_of(inputs.maps.inside, inputs.maps.affine)
    blocks = image_blocks(np.load(inputs.matrix_file, mmap_mode="r"))
    images = np.concatenate([block.read()[:, lattice.points] for block in blocks])
    sides = [images]
    if inputs.is_split:
        scales = [[image[column] for column in SCALE_COLUMNS] for image in inputs.images]
        rows = Halves(images, scales).split(images, slice(None))
        sides = [rows[place :: len(SIGNS)] for place in range(len(SIGNS))]
    # Correlations do not depend on the unit. Squares of loadings must fit into single precision.
    for values in sides:
        values /= max(values.max(), -values.min()) or 1
    return sides


def label_test(r_images: Real, has_label: Real, collections: Sequence[str], images: Sequence[Real]) -> SurrogateTest:
    """Make a test of labels that corrects for choosing among all labels.

    Parameters
    ----------
    r_images : array of shape (n_sides * n_components, n_labels)
        Correlations of loadings and labels over images (`permuted_collections.associate`), sorted by side.
    has_label : array of shape (n_images, n_labels)
        NaN where it is not known.
    collections : sequence of str
    images : sequence of array
        For each side, the images at the points of the lattice, from `images_at_points`.

    Returns
    -------
    SurrogateTest
        Returns p, corrected by the largest z of each surrogate with any label (`p_values.p_of_best`), as an array of
        shape (n_sides, n_labels).
    """
    groups = group(collections)
    y = image_scores(fill_missing(has_label.astype(np.float64)), groups).astype(np.float32)
    r = r_images.reshape(len(images), -1, r_images.shape[1])

    def test(number: int, surrogates: Real) -> Array:
        nulls = (image_scores(side @ surrogates.T, groups).astype(np.float32).T @ y for side in images)
        return np.stack([p_of_best(observed, null)[1] for observed, null in zip(r[:, number], nulls, strict=True)])

    return test
