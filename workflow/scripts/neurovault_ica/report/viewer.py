"""Pack maps and template for the page's viewer, with few bits per voxel, so that the page stays small.

The page has its own viewer, viewer.js, for these reasons. nilearn's brainsprite cannot change colours and threshold,
and has no keyboard control. NiiVue takes 2.3 MB and needs WebGL2. Without a graphics card, as on many remote desktops,
one move of its crosshair took 1.8 s.
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
from neurovault_ica.types import Row

# Values are stored as signed bytes. The largest absolute value of a map is stored as 127.
LARGEST_CODE = 127
# Code of white, the last of 64 grey levels. With 256 levels the template would take 50 % more space.
LARGEST_GREY = 63
# Finer maps are packed at this resolution. At 1 mm they would take eight times the space.
FINEST_MM = 2.0


class Grid(NamedTuple):
    """A grid along the axes of MNI space: number of points, position of the first, spacing."""

    shape: tuple[int, ...]
    origin: tuple[float, ...]  # mm
    step: tuple[float, ...]  # mm

    def describe(self) -> dict[str, Any]:
        """Return the grid as values for JSON."""
        return {name: [round(value, 4) for value in values] for name, values in self._asdict().items()}


def grid_of(shape: Sequence[int], affine: npt.NDArray[np.floating[Any]], box: Box) -> Grid:
    """Choose the grid on which maps are shown: their own voxels, or a 2 mm grid if those are oblique or finer."""
    step = np.diag(affine)[:3]
    is_straight = np.allclose(affine[:3, :3], np.diag(step)) and (step > 0).all()
    if is_straight and (step >= FINEST_MM).all():
        return Grid(tuple(shape[:3]), tuple(map(float, affine[:3, 3])), tuple(map(float, step)))
    n_points = [int((high - low) // FINEST_MM) + 1 for low, high in zip(box.low, box.high, strict=True)]
    return Grid(tuple(n_points), tuple(map(float, box.low)), (FINEST_MM,) * 3)


def sample_grid(volume: Volume, grid: Grid, order: int) -> npt.NDArray[np.float32]:
    """Interpolate a volume on the grid, or return it unchanged if it is on this grid already.

    Parameters
    ----------
    volume : Volume
    grid : Grid
    order : int
        Order of the spline: 0 for nearest neighbour, 1 for linear interpolation.

    Returns
    -------
    array of shape ``grid.shape``
    """
    points = np.diag([*grid.step, 1.0])
    points[:3, 3] = grid.origin
    voxel = np.linalg.inv(volume.affine) @ points
    if grid.shape == volume.data.shape and np.allclose(voxel, np.eye(4), atol=1e-6):
        return volume.data
    return ndimage.affine_transform(volume.data, voxel, output_shape=grid.shape, order=order)


def pack(codes: npt.NDArray[np.integer[Any]] | npt.NDArray[np.bool_]) -> str:
    """Pack bytes as base64 of gzip. Differences of neighbours (modulo 256) need a fifth less space than values."""
    differences = np.diff(codes.astype(np.uint8).ravel(), prepend=np.uint8(0))
    # Level 9 would save 4 % of a map, and take nine times as long.
    return base64.b64encode(gzip.compress(differences.tobytes(), 6, mtime=0)).decode("ascii")


def pack_map(volume: Volume, grid: Grid, inside: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Pack the values inside the mask in C order; ``unit`` is the value of one code."""
    values = sample_grid(volume, grid, order=1)[inside]
    unit = float(np.abs(values).max()) / LARGEST_CODE or 1.0
    return {"unit": unit, "codes": pack(np.round(values / unit).astype(np.int8))}


def pack_template(template: Volume, box: Box) -> dict[str, Any]:
    """Pack the part of the template inside the box, at its own resolution of 1 mm."""
    x, y, z = (high - low + 1 for low, high in zip(box.low, box.high, strict=True))
    grid = Grid((x, y, z), tuple(map(float, box.low)), (1.0,) * 3)
    grey = sample_grid(template, grid, order=0)
    grey = np.where(grey > LEAST_BRAIN, grey, 0)
    return {**grid.describe(), "levels": LARGEST_GREY, "codes": pack(np.round(LARGEST_GREY * grey).astype(np.uint8))}


def colours_of(colours: Colormap) -> list[str]:
    """List 64 colours of a colour map, from the threshold to the end of the scale."""
    return [to_hex(colours(step)) for step in np.linspace(0, 1, 64)]


def pack_viewer(maps: Maps, template: Volume, box: Box) -> dict[str, Any]:
    """Pack everything that the viewer shows.

    Returns
    -------
    dict
        ``grid`` of the maps, ``mask``, ``maps`` in order, ``template``, ``positive`` and ``negative`` colours.
    """
    grid = grid_of(maps.inside.shape, maps.affine, box)
    inside = sample_grid(Volume(maps.inside.astype(np.float32), maps.affine), grid, order=0) > 0
    return {
        "grid": grid.describe(),
        "mask": pack(inside),
        "maps": [pack_map(maps.volume(number), grid, inside) for number in range(len(maps.values))],
        "template": pack_template(template, box),
        "positive": colours_of(POSITIVE),
        "negative": colours_of(NEGATIVE),
    }


def pack_components(
    components: Sequence[Row], maps: Maps, template: Volume, box: Box, min_cluster_mm3: float
) -> dict[str, Any]:
    """Pack the components' maps for the viewer, each with its initial thresholds and crosshair position.

    The packed map is added to the component as ``codes``, because the page stores each map in its own element.
    """
    packed = pack_viewer(maps, template, box) | {"min_cluster_mm3": min_cluster_mm3}
    for component, entry in zip(components, packed["maps"], strict=True):
        component["codes"] = entry.pop("codes")
        entry |= {key: component[key] for key in ("threshold", "negative_threshold", "brightest", "place")}
        entry["label"] = component["component"]
    return packed
