"""Pack maps and template for the viewer of the page: small, and exact enough to look at.

The viewer is the page's own (workflow/report/viewer.js). nilearn's brainsprite has colours and threshold baked into its
pictures, and no keyboard; NiiVue needs 2.3 MB and WebGL2, which without a graphics card, as on many remote desktops,
took 1.8 s for one move of the crosshair.
"""

import base64
import gzip
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.colors import Colormap, to_hex
from scipy import ndimage

from neurovault_ica.figures.slices import LEAST_BRAIN, NEGATIVE, POSITIVE, Box
from neurovault_ica.images.maps import Maps, Volume

# The largest absolute value of a map becomes this code; the viewer shows values to one part in 127 of it.
LARGEST_CODE = 127
# 64 levels of grey; with all 256 the template would be half as large again.
LARGEST_GREY = 63
FINEST_MM = 2.0


class Grid(NamedTuple):
    """Points along the axes of MNI space: how many, where the first is, how far apart."""

    shape: tuple[int, int, int]
    origin: tuple[float, float, float]  # mm
    step: tuple[float, float, float]  # mm

    def describe(self) -> dict[str, Any]:
        """Give the grid as JSON can hold it."""
        return {name: [round(value, 4) for value in values] for name, values in self._asdict().items()}


def grid_of(shape: Sequence[int], affine: npt.NDArray[np.floating[Any]], box: Box) -> Grid:
    """Choose the points at which maps are shown: their own voxels, or every 2 mm where those are oblique or finer."""
    step = np.diag(affine)[:3]
    is_straight = np.allclose(affine[:3, :3], np.diag(step)) and (step > 0).all()
    if is_straight and (step >= FINEST_MM).all():
        return Grid(tuple(shape[:3]), tuple(map(float, affine[:3, 3])), tuple(map(float, step)))  # type: ignore[arg-type]
    n_points = [int((high - low) // FINEST_MM) + 1 for low, high in zip(box.low, box.high, strict=True)]
    return Grid(tuple(n_points), tuple(map(float, box.low)), (FINEST_MM,) * 3)  # type: ignore[arg-type]


def sample(volume: Volume, grid: Grid, order: int) -> npt.NDArray[np.float32]:
    """Read a volume at the points of the grid; nothing is interpolated where they are its own voxels."""
    points = np.diag([*grid.step, 1.0])
    points[:3, 3] = grid.origin
    voxel = np.linalg.inv(volume.affine) @ points
    if grid.shape == volume.data.shape and np.allclose(voxel, np.eye(4), atol=1e-6):
        return volume.data
    return ndimage.affine_transform(volume.data, voxel, output_shape=grid.shape, order=order)


def pack(codes: npt.NDArray[np.integer[Any]] | npt.NDArray[np.bool_]) -> str:
    """Pack bytes as base64 of gzip; differences of neighbours, modulo 256, take a fifth less than the values."""
    differences = np.diff(codes.astype(np.uint8).ravel(), prepend=np.uint8(0))
    return base64.b64encode(gzip.compress(differences.tobytes(), 9, mtime=0)).decode("ascii")


def pack_map(volume: Volume, grid: Grid, inside: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Pack the values inside the mask, in C order, with the value of one code."""
    values = sample(volume, grid, order=1)[inside]
    unit = float(np.abs(values).max()) / LARGEST_CODE or 1.0
    return {"unit": unit, "codes": pack(np.round(values / unit).astype(np.int8))}


def pack_template(template: Volume, box: Box) -> dict[str, Any]:
    """Pack the part of the template in the box, at its own 1 mm."""
    x, y, z = (high - low + 1 for low, high in zip(box.low, box.high, strict=True))
    grid = Grid((x, y, z), tuple(map(float, box.low)), (1.0,) * 3)  # type: ignore[arg-type]
    grey = sample(template, grid, order=0)
    grey = np.where(grey > LEAST_BRAIN, grey, 0)
    return {**grid.describe(), "levels": LARGEST_GREY, "codes": pack(np.round(LARGEST_GREY * grey).astype(np.uint8))}


def colours_of(colours: Colormap) -> list[str]:
    """List the colours of a map in 64 steps from threshold to brightest."""
    return [to_hex(colours(step)) for step in np.linspace(0, 1, 64)]


def pack_viewer(maps: Maps, template: Volume, box: Box) -> dict[str, Any]:
    """Pack everything that the viewer shows.

    Returns
    -------
    dict
        ``grid`` of the maps, ``mask``, ``maps`` in order, ``template``, ``positive`` and ``negative`` colours.
    """
    grid = grid_of(maps.inside.shape, maps.affine, box)
    inside = sample(Volume(maps.inside.astype(np.float32), maps.affine), grid, order=0) > 0
    return {
        "grid": grid.describe(),
        "mask": pack(inside),
        "maps": [pack_map(maps.volume(number), grid, inside) for number in range(len(maps.values))],
        "template": pack_template(template, box),
        "positive": colours_of(POSITIVE),
        "negative": colours_of(NEGATIVE),
    }
