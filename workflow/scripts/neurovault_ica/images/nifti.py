"""Read NIfTI files of one volume."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from nibabel.volumeutils import apply_read_scaling
from numpy.typing import NDArray

from neurovault_ica.images.nifti_file import CHUNK_BYTES, HEADER_BYTES, UnusableError, unpack
from neurovault_ica.images.nifti_header import read_header
from neurovault_ica.images.other_formats import describe_format
from neurovault_ica.runtime.wording import counted


class Image(NamedTuple):
    """One statistic map on the grid of its file."""

    data: NDArray[np.float32]  # (nx, ny, nz), Fortran order
    affine: NDArray[np.float64]  # (4, 4), voxel to mm
    dtype: str  # of the file
    step: float = 0.0  # difference of neighbouring values that the file can store; 0 for floating point numbers
    notes: tuple[str, ...] = ()  # what is unusual about the file, and how it was read


def read_image(path: Path, *, clip: bool = True) -> Image:
    """Read a NIfTI file of one volume, compressed or not.

    Parameters
    ----------
    path : Path
    clip : bool
        Whether values that are infinite, or too large for float32, become the strongest finite value. Otherwise they
        become infinite. NaN stays NaN.

    Raises
    ------
    UnusableError
        ``unreadable``, ``not_3d``, ``bad_affine``, ``too_large``, ``not_numeric`` or ``empty``.
    """
    content = _content(path)
    try:
        header = read_header(unpack(content[:CHUNK_BYTES], HEADER_BYTES, whole=False))
    except UnusableError as error:
        other = describe_format(path) if error.reason == "unreadable" else None
        raise UnusableError(error.reason, other or error.found) from error
    n_voxels = int(np.prod(header.shape))
    size = header.offset + n_voxels * header.dtype.itemsize
    raw = unpack(content, size, whole=True)
    if len(raw) < size:
        raise UnusableError("unreadable", f"the file has only {len(raw)} of {size} bytes; get the complete file")
    stored = np.frombuffer(raw, header.dtype, count=n_voxels, offset=header.offset).reshape(header.shape, order="F")
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        scaled = apply_read_scaling(stored, header.slope, header.intercept)
        data = np.asarray(scaled, dtype=np.float32, order="F")
    if scaled.dtype.itemsize > data.dtype.itemsize and not data.any() and scaled.any():
        largest = float(np.abs(scaled).max())
        raise UnusableError("empty", f"the largest |value| is {largest:.3g}, too small for float32; rescale the map")
    notes = header.notes
    if clip and np.isinf(data).any():
        data, found = _clip(data)
        notes += found
    step = 0.0 if header.dtype.kind == "f" else abs(1.0 if header.slope is None else header.slope)
    return Image(data, header.affine, header.dtype.name, step, notes)


def _clip(data: NDArray[np.float32]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Replace infinite values by the largest or smallest finite value, and those in the background by 0.

    The strongest peaks of a Z map are infinite where p values underflow. The background is infinite where a statistic
    was divided by zero.
    """
    infinite = np.isinf(data)
    finite = data[np.isfinite(data)]
    if not finite.any():
        raise UnusableError("empty", f"{_infinite_voxels(infinite)}, and no other voxel differs from 0")
    highest, lowest = float(finite.max()), float(finite.min())
    # Without a value of the same sign, take the strongest value of the other sign.
    highest, lowest = highest if highest > 0 else -lowest, lowest if lowest < 0 else -highest
    background = _in_background(data, infinite)
    clipped = np.where(infinite, np.where(data > 0, np.float32(highest), np.float32(lowest)), data)
    clipped[background] = 0
    n_background = int(np.count_nonzero(background))
    notes = []
    if np.count_nonzero(infinite) > n_background:
        ends = {f"{value:.4g}": None for value in (lowest, highest) if (clipped[infinite] == np.float32(value)).any()}
        strongest = " and ".join(ends)
        notes.append(f"{_infinite_voxels(infinite & ~background)}; set to the strongest finite value ({strongest})")
    if n_background:
        are = counted(n_background, "voxel of the background is", "voxels of the background are")
        notes.append(f"{are} infinite; set to 0")
    return np.asfortranarray(clipped), tuple(notes)


def _infinite_voxels(infinite: NDArray[np.bool_]) -> str:
    n_voxels = int(np.count_nonzero(infinite))
    return f"{counted(n_voxels, 'voxel is', 'voxels are')} infinite or too large for float32"


def _in_background(data: NDArray[np.float32], infinite: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which infinite voxels are in clusters that contain a corner of the volume or touch no data."""
    # Importing this takes as long as checking fifty files, and few images need it.
    from scipy import ndimage

    labels, n_clusters = ndimage.label(infinite)
    in_background = np.ones(n_clusters + 1, dtype=bool)
    beside_data = ndimage.binary_dilation(np.isfinite(data) & (data != 0)) & infinite
    in_background[labels[beside_data]] = False
    corners = np.ix_(*((0, length - 1) for length in data.shape))
    in_background[labels[corners]] = True
    in_background[0] = False
    return in_background[labels]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnusableError("unreadable", error.strerror or error) from error
