"""Loadings of the images on random maps that resemble a component. Labels are tested against them."""

import functools
from collections.abc import Callable
from typing import cast

import numpy as np
import numpy.typing as npt

from neurovault_ica.images.maps import read_maps
from neurovault_ica.images.matrix import image_blocks
from neurovault_ica.images.signs import SCALE_COLUMNS, SIGNS, Halves
from neurovault_ica.naming.evidence import Inputs
from neurovault_ica.types import Real

# Number of images that are multiplied at a time. It limits memory.
BLOCK_IMAGES = 1024


def surrogate_loadings(inputs: Inputs) -> Callable[[int], Real] | None:
    """Return a function that computes the loadings of the images on surrogates of a component; None without tests.

    With split signs, the numbers of components continue with the loadings of deactivation. The products are computed at
    the points of a grid of about 6 mm.
    """
    if not inputs.n_permutations:
        return None
    # These imports need scipy, which takes longer than all other sources of names without tests.
    from neurovault_ica.statistics.lattice import lattice_of
    from neurovault_ica.statistics.surrogates import MIN_SURROGATES, Surrogates

    maps = read_maps(inputs.maps_file, inputs.mask_file)
    lattice = lattice_of(maps.inside, maps.affine)
    n_maps = max(inputs.n_permutations, MIN_SURROGATES)
    # Read only when a label is tested.
    images_at_points = functools.cache(lambda: _read_images(inputs.matrix_file, lattice.points))

    def loadings_of(number: int) -> Real:
        side, component = divmod(number, len(maps.values))
        rng = np.random.default_rng([inputs.random_state, component])
        drawn = Surrogates(maps.values[component, lattice.points], lattice, rng, many=True).draw(n_maps).T
        images = images_at_points()
        blocks = [slice(start, start + BLOCK_IMAGES) for start in range(0, len(images), BLOCK_IMAGES)]
        if not inputs.is_split:
            return np.concatenate([images[block] @ drawn for block in blocks])
        halves = Halves(images, [[cast(float, image[column]) for column in SCALE_COLUMNS] for image in inputs.images])
        sides = (halves.split(images[block], block)[side :: len(SIGNS)] for block in blocks)
        return np.concatenate([half @ drawn for half in sides])

    return loadings_of


def _read_images(file: str, points: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Read the images at some voxels, scaled to a largest value of 1.

    Correlations do not depend on the unit, and squares of loadings must fit into single precision.
    """
    matrix = np.load(file, mmap_mode="r")
    images = np.empty((len(matrix), np.count_nonzero(points)), np.float32)
    for block in image_blocks(matrix):
        images[block.where] = block.read()[:, points]
    images /= max(images.max(), -images.min()) or 1
    return images
