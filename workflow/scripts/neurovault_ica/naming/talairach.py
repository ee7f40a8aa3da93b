"""Convert coordinates between MNI and Talairach space (Lancaster et al. 2007, doi:10.1002/hbm.20345)."""

import numpy as np

from neurovault_ica.types import Array

# The transform icbm2tal for data that were normalised by unknown software, or by software other than FSL and SPM.
ICBM_TO_TALAIRACH = np.array(
    [
        [0.9357, 0.0029, -0.0072, -1.0423],
        [-0.0065, 0.9396, -0.0726, -1.3940],
        [0.0103, 0.0752, 0.8967, 3.6475],
        [0.0, 0.0, 0.0, 1.0],
    ]
)


def mni_to_talairach(mm: Array) -> Array:
    """Bring MNI coordinates (n, 3), in mm, to Talairach space."""
    return mm @ ICBM_TO_TALAIRACH[:3, :3].T + ICBM_TO_TALAIRACH[:3, 3]


def talairach_to_mni(mm: Array) -> Array:
    """Bring Talairach coordinates (n, 3), in mm, to MNI space, by the inverse of icbm2tal."""
    back = np.linalg.inv(ICBM_TO_TALAIRACH)
    return mm @ back[:3, :3].T + back[:3, 3]
