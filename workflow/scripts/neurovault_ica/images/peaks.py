"""Find the clusters and peaks of a map."""

from itertools import product
from string import ascii_lowercase
from typing import Any

import numpy as np
import numpy.typing as npt
from nibabel.affines import apply_affine

from neurovault_ica.images.boxes import bounding_box
from neurovault_ica.images.maps import Volume
from neurovault_ica.types import Real

Point = tuple[float, float, float]  # MNI coordinates in mm
# Smaller clusters are not listed: ten voxels of 2 mm.
MIN_CLUSTER_MM3 = 80.0
# Minimum distance and number of subpeaks as in nilearn's get_clusters_table.
MIN_PEAK_DISTANCE_MM = 8.0
MOST_SUBPEAKS = 3


def peak_of(volume: Volume) -> Point:
    """Return the MNI coordinates of the largest value, which is the largest |value| by run_ica's sign rule."""
    index = np.unravel_index(volume.data.argmax(), volume.data.shape)
    x, y, z = apply_affine(volume.affine, index)
    return float(x), float(y), float(z)


def find_peaks(volume: Volume, threshold: float, negative_threshold: float) -> list[dict[str, Any]]:
    """List the clusters of a map and their peaks, as nilearn's ``get_clusters_table(two_sided=True)`` does.

    nilearn's function is not used, because it scans the volume once per cluster: 15 s for a map with 250 clusters.

    Voxels that share a face belong to one cluster. Clusters are numbered by the height of their peaks, positive ones
    first. A cluster has its highest peak and up to three subpeaks, all more than 8 mm apart. Clusters below 80 mm3 are
    left out, except the first one, so that every map with values above the threshold has a peak.

    Parameters
    ----------
    volume : Volume
    threshold : float
        Smallest positive value in a cluster.
    negative_threshold : float
        Smallest absolute value in a cluster of negative values.

    Returns
    -------
    list of dict
        Rows of peaks.tsv without component and region.
    """
    voxel_mm3 = abs(np.linalg.det(volume.affine[:3, :3]))
    rows: list[dict[str, Any]] = []
    number = 0
    for sign, limit in ((1, threshold), (-1, negative_threshold)):
        for voxels, peaks in _clusters(sign * volume.data, volume.affine, limit):
            volume_mm3 = round(voxels * voxel_mm3, 3)
            if volume_mm3 < MIN_CLUSTER_MM3 and rows:
                continue
            number += 1
            for order, (value, point) in enumerate(peaks):
                rows.append(
                    {
                        "peak": f"{number}{ascii_lowercase[order - 1] if order else ''}",
                        **dict(zip("xyz", point, strict=True)),
                        "value": round(sign * value, 4),
                        "volume_mm3": None if order else volume_mm3,
                    }
                )
    return rows


def _clusters(data: Real, affine: Real, threshold: float) -> list[tuple[int, list[tuple[float, Point]]]]:
    """Return the number of voxels and the peaks of each cluster of positive values, highest peak first.

    `data` has shape (nx, ny, nz). `affine` has shape (4, 4), voxel to mm.
    """
    above = (data >= threshold) & (data > 0)
    if not above.any():
        return []
    # Values outside the box are below the threshold, so they cannot be higher than a maximum inside.
    box = bounding_box(above)
    # Imported here because it takes half a second, and the methods text needs only the limits above.
    from scipy import ndimage

    labels, n_clusters = ndimage.label(above[box])
    voxels = np.argwhere(labels)
    label_of, value_of = labels[tuple(voxels.T)], data[box][tuple(voxels.T)]
    sizes = np.bincount(label_of, minlength=n_clusters + 1)
    is_maximum = _are_maxima(data[box], voxels)
    # The highest voxel of a cluster is a peak even if its edge or corner touches a higher voxel of another cluster.
    by_label = np.lexsort((-value_of, label_of))
    _, first = np.unique(label_of[by_label], return_index=True)
    is_maximum[by_label[first]] = True
    maxima, values, label_of = voxels[is_maximum], value_of[is_maximum], label_of[is_maximum]
    points = apply_affine(affine, maxima + [side.start for side in box])
    order = np.lexsort((*maxima.T, -values))
    peaks: dict[int, list[tuple[float, Point]]] = {}
    for index in order:
        found = peaks.setdefault(int(label_of[index]), [])
        point = points[index]
        if len(found) > MOST_SUBPEAKS:
            continue
        if all(np.linalg.norm(point - other) > MIN_PEAK_DISTANCE_MM for _, other in found):
            x, y, z = (round(float(mm), 3) + 0.0 for mm in point)
            found.append((float(values[index]), (x, y, z)))
    return [(int(sizes[label]), found) for label, found in peaks.items()]


def _are_maxima(data: Real, voxels: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Return which voxels (n_voxels, 3) have no higher value among their 26 neighbours."""
    padded = np.pad(data, 1, mode="edge")
    strides = np.array([padded.shape[1] * padded.shape[2], padded.shape[2], 1])
    flat, places = padded.ravel(), (voxels + 1) @ strides
    values, are_maxima = flat[places], np.ones(len(voxels), dtype=bool)
    for step in product((-1, 0, 1), repeat=3):
        are_maxima &= values >= flat[places + np.dot(step, strides)]
    return are_maxima
