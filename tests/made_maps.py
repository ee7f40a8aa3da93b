"""Maps made with known values, for the tests of peaks and figures."""

import nibabel as nib
import numpy as np

AFFINE = np.array([[4.0, 0, 0, -90], [0, 4, 0, -126], [0, 0, 4, -72], [0, 0, 0, 1]])
SHAPE = (46, 55, 46)
MOTOR_MM, CEREBELLUM_MM = (-38, -22, 56), (22, -58, -24)


def blob(centre_mm, *, height=10.0, width_mm=8.0, affine=AFFINE):
    """Make a Gaussian of the given height at a place in mm."""
    mm = nib.affines.apply_affine(affine, np.indices(SHAPE).reshape(3, -1).T)
    squared = np.square(mm - np.array(centre_mm)).sum(axis=1)
    return (height * np.exp(-squared / (2 * width_mm**2))).reshape(SHAPE).astype(np.float32)
