"""Pack the cortical surface for the page's second viewer (surface.js), in which it can be turned.

nilearn's ``view_surf`` adds 3.5 MB of plotly, which creates code at run time. The page's security policy forbids that.
Here the meshes are stored once. The browser samples each map on them as `images.cortex.sample_map` does, from the
volume that the slices show. So components need no additional data, and the surface follows the thresholds.
"""

import base64
import gzip
from typing import Any

import numpy as np
import numpy.typing as npt

from neurovault_ica.figures.surface_colours import BELOW, GYRUS, LEAST_NOTED, LEAST_ON_CORTEX, NO_DATA, SULCUS
from neurovault_ica.images.cortex import LEAST_SHARE, N_DEPTHS, Cortex
from neurovault_ica.report.viewer import LARGEST_CODE, pack
from neurovault_ica.types import Real

# Precision of the coordinates: a fortieth of a voxel of 2 mm.
UNIT_MM = 0.05


def pack_words(codes: npt.NDArray[np.integer[Any]]) -> str:
    """Pack 16-bit integers as base64 of gzip: differences (modulo 65536), all low bytes before all high bytes."""
    differences = np.diff(codes.ravel().astype(np.uint16), prepend=np.uint16(0)).astype("<u2")
    halves = differences.view(np.uint8).reshape(-1, 2).T
    return base64.b64encode(gzip.compress(halves.tobytes(), 6, mtime=0)).decode("ascii")


def pack_points(points: Real) -> str:
    """Pack coordinates (n_vertices, 3) in mm: all x, then all y, then all z, in units of `UNIT_MM`."""
    return pack_words(np.round(points.T / UNIT_MM).astype(np.int16))


def pack_surface(cortex: Cortex) -> dict[str, Any]:
    """Pack the meshes of both hemispheres, and the constants by which the surface figures sample and colour maps.

    Returns
    -------
    dict
        ``n_vertices`` of both hemispheres; ``faces`` of one hemisphere row by row, which are the same for both;
        ``inflated``, ``pial`` and ``white`` coordinates in units of ``unit`` mm; ``sulcal_depth`` in arbitrary units;
        ``cortex``, 0 on the medial wall; and constants of `images.cortex` and `figures.surface_colours`.
    """
    depth = LARGEST_CODE * cortex.sulcal_depth / np.abs(cortex.sulcal_depth).max()
    return {
        "n_vertices": len(cortex.pial),
        "faces": pack_words(cortex.faces),
        "unit": UNIT_MM,
        "inflated": pack_points(cortex.inflated),
        "pial": pack_points(cortex.pial),
        "white": pack_points(cortex.white),
        "sulcal_depth": pack(np.round(depth).astype(np.int8)),
        "cortex": pack(cortex.is_cortex),
        "n_depths": N_DEPTHS,
        "least_share": LEAST_SHARE,
        "below": BELOW,
        "least_on_cortex": LEAST_ON_CORTEX,
        "least_noted": LEAST_NOTED,
        "greys": {"gyrus": GYRUS, "sulcus": SULCUS, "no_data": NO_DATA},
    }
