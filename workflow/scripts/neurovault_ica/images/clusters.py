"""Hide the small clusters of a map."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from neurovault_ica.images.boxes import bounding_box
from neurovault_ica.images.maps import Volume

# Voxels of small clusters get this share of the threshold. Slices interpolate between voxels, so such a voxel must stay
# below the threshold after rounding, too.
JUST_BELOW = 0.9999


def drop_small_clusters(volume: Volume, positive: float, negative: float, min_mm3: float) -> Volume:
    """Lower the values of small clusters to just below the threshold, so that they are not shown.

    Zeros would also shrink neighbouring larger clusters in interpolated slices.

    Voxels that share a face belong to one cluster, as in nilearn's ``threshold_img``. Positive and negative values
    never share a cluster. The cluster with the highest peak stays, however small. So no map with values above the
    threshold looks empty. If no positive value reaches the threshold, the cluster of the lowest value stays.

    Parameters
    ----------
    volume : Volume
    positive : float
        Smallest positive value that is shown.
    negative : float
        Smallest absolute value that is shown of the negative values.
    min_mm3 : float
        Smallest volume of a cluster that is shown. With 0, all clusters are shown.
    """
    if min_mm3 <= 0:
        return volume
    # The determinant is rounded. A cluster of exactly the smallest volume must be shown.
    least_voxels = min_mm3 / abs(np.linalg.det(volume.affine[:3, :3])) - 1e-6
    data, has_peak = volume.data.copy(), False
    for sign, limit in ((1, positive), (-1, negative)):
        sizes = sign * volume.data
        above = (sizes >= limit) & (sizes > 0)
        if not above.any():
            continue
        box = bounding_box(above)
        labels, n_clusters = ndimage.label(above[box])
        small = np.bincount(labels.ravel(), minlength=n_clusters + 1) < least_voxels
        small[0] = False
        if not has_peak:
            small[labels.flat[sizes[box].argmax()]] = False
            has_peak = True
        dropped: npt.NDArray[np.bool_] = small[labels]
        data[box][dropped] = sign * JUST_BELOW * limit
    return Volume(data, volume.affine)
