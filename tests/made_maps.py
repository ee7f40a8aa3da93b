"""Simulated maps with known values or smoothness."""

import nibabel as nib
import numpy as np
from neurovault_ica.images.matrix import standardize
from scipy import ndimage

AFFINE = np.array([[4.0, 0, 0, -90], [0, 4, 0, -126], [0, 0, 4, -72], [0, 0, 0, 1]])
SHAPE = (46, 55, 46)
MOTOR_MM, CEREBELLUM_MM = (-38, -22, 56), (22, -58, -24)


def blob(centre_mm, *, height=10.0, width_mm=8.0, affine=AFFINE):
    """Make a Gaussian blob of the given height, centred on a position in mm."""
    mm = nib.affines.apply_affine(affine, np.indices(SHAPE).reshape(3, -1).T)
    squared = np.square(mm - np.array(centre_mm)).sum(axis=1)
    return (height * np.exp(-squared / (2 * width_mm**2))).reshape(SHAPE).astype(np.float32)


BOX = np.ones((40, 48, 40), dtype=bool)


def noise_in_box(rng, *sigmas):
    """Make a flattened sum of smooth Gaussian fields that extend beyond the box; `sigmas` are in voxels."""
    noise = [ndimage.gaussian_filter(rng.standard_normal((56, 64, 56)), sigma, mode="wrap") for sigma in sigmas]
    return sum(smooth / smooth.std() for smooth in noise)[:40, :48, :40].ravel()


EGG_AFFINE = np.array([[8.0, 0, 0, -72], [0, 8, 0, -107], [0, 0, 8, -76], [0, 0, 0, 1]])
EGG_SHAPE = (19, 24, 20)


def egg(affine, shape):
    """Make a mask with the size and position of a brain."""
    mm = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    return (np.square((mm - [0, -15, 0]) / (70, 88, 68)).sum(axis=-1)) < 1


EGG = egg(EGG_AFFINE, EGG_SHAPE)


def smooth_noise(rng, fwhm_mm, *, symmetry=0.0):
    """Make smooth noise in the egg. `symmetry` adds its mirror image, which is exact on this grid."""
    noise = rng.standard_normal(np.array(EGG_SHAPE) + 12)
    smooth = ndimage.gaussian_filter(noise, np.array(fwhm_mm) / 2.3548 / 8, mode="wrap")[6:-6, 6:-6, 6:-6]
    return standardize((smooth + symmetry * smooth[::-1])[EGG])
