"""Read the user's masks, atlases and networks, and measure how much of them lies in the MNI152 brain."""

import logging
import zlib
from pathlib import Path
from typing import Any, cast

import numpy as np
from isal import isal_zlib
from nibabel.affines import apply_affine
from nibabel.filebasedimages import ImageFileError
from nibabel.loadsave import load
from nibabel.nifti1 import Nifti1Header
from nibabel.spatialimages import HeaderDataError, SpatialImage
from numpy.typing import NDArray

from neurovault_ica.images.nifti_file import UnusableError, find_fault
from neurovault_ica.images.nifti_header import checked_affine
from neurovault_ica.images.templates import mni152_mask

# Errors that nibabel, zlib and Intel's library raise for damaged files. The stub of Intel's library calls its error an
# instance, but it is a class.
READ_ERRORS: tuple[type[Exception], ...] = (
    ImageFileError, HeaderDataError, zlib.error, cast(type[Exception], isal_zlib.error),
    OSError, EOFError, ValueError, KeyError, OverflowError,
)  # fmt: skip
# The brain mask is dilated by this, because the brains of other MNI templates extend some millimetres beyond nilearn's.
BRAIN_MARGIN_MM = 6
# Voxel size of that mask. The margin must be a multiple of it.
RESOLUTION_MM = 2
# Largest difference between a label and a whole number, after calculations in float32.
LABEL_TOLERANCE = 1e-4
# Approximate number of voxels that are checked first.
N_SAMPLED = 1000
# float32 cannot hold all larger whole numbers, so larger values are not taken for labels.
MAX_LABEL = 2.0**24


def read_volumes(path: str, *, is_published: bool = False) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Read a 3-D or 4-D image. Further dimensions are accepted if their length is 1.

    Parameters
    ----------
    path : str
    is_published : bool
        Whether the file is a published atlas, which is trusted. Otherwise the header must say where the voxels are.

    Returns
    -------
    data : array of shape (nx, ny, nz) or (nx, ny, nz, n_volumes)
        Integer or floating point. Labels are whole numbers, even if the file stores them rounded; see `round_labels`.
    affine : array of shape (4, 4)
        Voxel to mm; invertible.

    Raises
    ------
    ValueError
        If the file is not such an image.
    """
    image = open_image(path)
    try:
        data = np.asarray(image.dataobj)
    except READ_ERRORS as error:
        raise ValueError(f"cannot be read as an image ({error}); give a sound NIfTI file") from error
    shape = data.shape
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    if data.ndim not in (3, 4) or 0 in shape:
        raise ValueError(f"its shape is {shape}; give a 3-D or 4-D image")
    if data.dtype.kind not in "iuf":
        raise ValueError(f"its data type is {data.dtype}; give an image of real numbers")
    check_position(path, image, is_published=is_published)
    return round_labels(data, _step(image)), np.asarray(image.affine, dtype=np.float64)


def open_image(path: str, **options: Any) -> SpatialImage:
    """Open an image file without reading its voxels. A compressed file is decompressed once to check it.

    Parameters
    ----------
    path : str
    **options
        Arguments of `nibabel.load`.

    Raises
    ------
    ValueError
        If the file is missing, damaged, or no image.
    """
    if not Path(path).is_file():
        raise ValueError("no such file; give the path of a NIfTI file")
    # nibabel checks neither the checksum nor the end of a compressed file.
    if path.lower().endswith((".nii", ".nii.gz")) and (fault := find_fault(Path(path), whole=True)):
        raise ValueError(f"cannot be read as an image ({fault}); give a sound NIfTI file")
    try:
        image = load(path, **options)
        if not isinstance(image, SpatialImage):
            raise ValueError(f"it has no voxels, but is a {type(image).__name__}")
        header = image.header
        if isinstance(header, Nifti1Header) and header.is_single and image.dataobj.offset < header.single_vox_offset:
            raise ValueError(f"its voxels begin at byte {image.dataobj.offset}, within the header")
    except READ_ERRORS as error:
        raise ValueError(f"cannot be read as an image ({error}); give a sound NIfTI file") from error
    return image


def check_position(path: str, image: SpatialImage, *, is_published: bool = False) -> None:
    """Check that the header of an image says where its voxels are, and log what is unusual.

    Raises
    ------
    ValueError
        If it does not, or if the affine cannot be inverted.
    """
    if isinstance(image.header, Nifti1Header) and not is_published:
        notes: list[str] = []
        try:
            checked_affine(image.header, notes)
        except UnusableError as error:
            raise ValueError(f"its position is not usable: {error.found}") from error
        for note in notes:
            logging.warning("%s: %s", path, note)
    if not np.isfinite(image.affine).all() or not np.linalg.det(image.affine[:3, :3]):
        raise ValueError("its affine is singular or not finite; correct the header")


def _step(image: SpatialImage) -> float:
    """Return the step between the values that a file can hold: its slope if it stores scaled integers, otherwise 0."""
    is_integer = image.get_data_dtype().kind in "iu"
    slope = getattr(image.dataobj, "slope", 1)
    return abs(float(slope)) if is_integer and np.isfinite(slope) else 0.0


def round_labels(data: NDArray[Any], step: float) -> NDArray[Any]:
    """Round the values of a mask or label image, if all are whole numbers up to the rounding error of the file.

    nibabel saves floats as scaled integers, and then 1 is read as 1.00005 and 0 as 0.00002.

    Parameters
    ----------
    data : array
        Values that are NaN stay NaN.
    step : float
        Step between the values that the file can hold; 0 for floating point.

    Returns
    -------
    array
        Whole numbers; or `data` itself if a value is not whole, or all are below 0.5.
    """
    if data.dtype.kind != "f":
        return data
    largest = float(np.nanmax(np.abs(data), initial=0))
    # With a step of 1 or more, the file cannot tell neighbouring labels apart.
    if not 0.5 < largest < MAX_LABEL or step >= 1:
        return data
    # The slope in the header is a float32, so it is rounded, too.
    tolerance = step / 2 + LABEL_TOLERANCE + largest * float(np.finfo(np.float32).eps)
    # For most maps, a few voxels are enough to see that the values are no labels.
    for part in (data.ravel(order="K")[:: max(data.size // N_SAMPLED, 1)], data):
        if (np.abs(part - np.rint(part)) > tolerance).any():
            return data
    return np.rint(data)


def share_in_brain(volume: NDArray[Any], affine: NDArray[np.float64]) -> float:
    """Return the share of a volume's sum that lies in nilearn's MNI152 brain mask, dilated by 6 mm.

    Parameters
    ----------
    volume : array of shape (nx, ny, nz)
        Not negative, with a positive sum.
    affine : array of shape (4, 4)
        Voxel to mm.
    """
    # Imported here because most runs have no atlas, mask file or reference to check.
    from scipy import ndimage

    brain_img = mni152_mask("brain", RESOLUTION_MM)
    brain = ndimage.binary_dilation(np.asarray(brain_img.dataobj), iterations=BRAIN_MARGIN_MM // RESOLUTION_MM)
    places = np.argwhere(volume)
    values = volume[tuple(places.T)].astype(np.float64)
    voxels = np.rint(apply_affine(np.linalg.inv(brain_img.affine) @ affine, places)).astype(int)
    on_grid = np.all((voxels >= 0) & (voxels < brain.shape), axis=1)
    return float(values[on_grid] @ brain[tuple(voxels[on_grid].T)] / values.sum())
