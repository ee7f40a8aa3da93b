"""Read NIfTI headers, and check what they state."""

import logging
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from neurovault_ica.images.nifti_file import Format, UnusableError, format_of

# Limits on what a header may state, so that a wrong one cannot exhaust the memory. MNI152 at 0.5 mm has 58 million
# voxels; statistic maps have voxels of 1 to 5 mm.
MAX_VOXELS = 64_000_000
MAX_LENGTH = 2000  # voxels along an axis; the size of the resampling matrices grows with its square
MAX_OFFSET = 16_000_000  # bytes before the voxels: header and extensions
MIN_VOXEL_MM, MAX_VOXEL_MM = 0.2, 30.0
# An affine is singular if the unit vectors along its axes span less than this volume. Orthogonal axes span 1.
MIN_RELATIVE_VOLUME = 1e-3
# Code of a unit in the header -> name and length in mm, for units other than mm.
UNITS = {1: ("metres", 1000.0), 3: ("micrometres", 0.001)}
# Data types that are no real numbers, or that nibabel can read only on some machines.
UNUSABLE_TYPES = {
    1: "single bits; a statistic map has real numbers",
    32: "complex64 numbers; save their real part or magnitude, whichever is the statistic",
    128: "RGB colours; save the statistic map, not its picture",
    1536: "float128 numbers; save them as float64 or float32",
    1792: "complex128 numbers; save their real part or magnitude, whichever is the statistic",
    2048: "complex256 numbers; save their real part or magnitude, whichever is the statistic",
    2304: "RGBA colours; save the statistic map, not its picture",
}
# Intent codes of CIFTI files, whose values belong to vertices of a surface.
CIFTI_INTENTS = range(3000, 3013)
# Larger codes of header extensions are implausible. Those in use are below 50.
MAX_EXTENSION_CODE = 100
# Length of a header -> class that reads it.
HEADERS: dict[int, type[Nifti1Header]] = {348: Nifti1Header, 540: Nifti2Header}
# Discards nibabel's log of the faults that it repairs. Faults that matter become notes of the image.
_SILENT = logging.Logger("silent")
_SILENT.addHandler(logging.NullHandler())


class Header(NamedTuple):
    """What a header says about one volume."""

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]  # (4, 4), voxel to mm
    dtype: np.dtype  # as stored
    offset: int  # first byte of the voxels
    slope: float | None  # None: the values are not scaled
    intercept: float | None
    notes: tuple[str, ...]  # what is unusual, and how it was read


def read_header(raw: bytes) -> Header:
    """Read a NIfTI-1 or NIfTI-2 header in either byte order.

    Parameters
    ----------
    raw : bytes
        The first `HEADER_BYTES` bytes of the file.

    Raises
    ------
    UnusableError
        ``unreadable``, ``not_3d``, ``bad_affine``, ``too_large`` or ``not_numeric``.
    """
    found, notes = format_of(raw), list[str]()
    try:
        header = HEADERS[found.n_bytes](raw[: found.n_bytes], check=False)
        _refuse_type(header)
        shape = _volume_shape(header, notes)
        offset = _first_voxel(header, found, raw, notes)
        _compare_bits(header, notes)
        header.check_fix(logger=_SILENT)
        affine = checked_affine(header, notes)
        dtype = header.get_data_dtype()
        slope, intercept = _scaling(header, notes)
    except (HeaderDataError, ValueError, KeyError, OverflowError) as error:
        raise UnusableError("unreadable", f"header: {error}") from error
    return Header(shape, affine, dtype, offset, slope, intercept, tuple(notes))


def _refuse_type(header: Nifti1Header) -> None:
    code = int(header["datatype"])
    if code in UNUSABLE_TYPES:
        raise UnusableError("not_numeric", f"the voxels are {UNUSABLE_TYPES[code]}")


def _compare_bits(header: Nifti1Header, notes: list[str]) -> None:
    """Note a data type that contradicts the stated number of bits per voxel, because either may be wrong."""
    dtype, n_bits = header.get_data_dtype(), int(header["bitpix"])
    if n_bits and n_bits != 8 * dtype.itemsize:
        notes.append(f"the header states {n_bits} bits per voxel and the data type {dtype.name}; read as {dtype.name}")


def _volume_shape(header: Nifti1Header, notes: list[str]) -> tuple[int, int, int]:
    # Some programs write 0 for the number of volumes of a 3-D image.
    if 0 in (missing := header["dim"][4 : int(header["dim"][0]) + 1]):
        header["dim"][4 : int(header["dim"][0]) + 1] = np.where(missing == 0, 1, missing)
        notes.append("the header states 0 volumes; read as 1")
    shape = tuple(int(length) for length in header.get_data_shape())
    text = "x".join(str(length) for length in shape)
    if len(shape) < 3:
        raise UnusableError("not_3d", f"{text or 'no dimensions'}: not a volume; give a 3-D map")
    if any(length != 1 for length in shape[3:]):
        if int(header["intent_code"]) in CIFTI_INTENTS:
            raise UnusableError("not_3d", f"{text}: a CIFTI file, whose values belong to a surface; give a volume")
        n_volumes = int(np.prod(shape[3:], dtype=object))
        raise UnusableError("not_3d", f"{text}: {n_volumes} volumes; save the statistic map as a file of its own")
    if min(shape) < 1:
        raise UnusableError("unreadable", f"header: the shape is {text}, but an axis needs at least one voxel")
    n_voxels = shape[0] * shape[1] * shape[2]
    if n_voxels > MAX_VOXELS or max(shape) > MAX_LENGTH:
        raise UnusableError(
            "too_large",
            f"{text}: {n_voxels} voxels, but at most {MAX_VOXELS} are read, and {MAX_LENGTH} along an axis; resample"
            " the map",
        )
    return shape[0], shape[1], shape[2]


def _first_voxel(header: Nifti1Header, found: Format, raw: bytes, notes: list[str]) -> int:
    """Return the position of the first voxel in bytes. If the header states one inside itself, correct it."""
    stated = float(header["vox_offset"])
    if not 0 <= stated <= MAX_OFFSET:
        raise UnusableError(
            "unreadable",
            f"header: the voxels begin at byte {stated:g} (vox_offset), which is not possible; save the file again with"
            " another program",
        )
    if stated >= found.first_voxel:
        if int(stated) == found.first_voxel and (length := _extension_length(header, found, raw)):
            raise UnusableError(
                "unreadable",
                f"header: the voxels begin at byte {stated:g} (vox_offset), but an extension of {length} bytes begins"
                " there, too; save the file again with another program",
            )
        return int(stated)
    if raw[found.n_bytes :][:1] not in (b"", b"\0"):
        raise UnusableError(
            "unreadable",
            f"header: the voxels begin at byte {stated:g} (vox_offset), which is within the header, and the header has"
            " extensions of unknown length; save the file again with another program",
        )
    notes.append(
        f"the header states that the voxels begin at byte {stated:g}, within the header; read from byte"
        f" {found.first_voxel}"
    )
    header["vox_offset"] = found.first_voxel
    return found.first_voxel


def _extension_length(header: Nifti1Header, found: Format, raw: bytes) -> int:
    """Return the length in bytes of a header extension at the first possible position of the voxels; 0 without one.

    The byte after the header announces extensions, but some programs set it without writing one. So the extension
    itself must be plausible, too: its length must be a multiple of 16, and its code an even number.
    """
    if raw[found.n_bytes :][:1] in (b"", b"\0"):
        return 0
    start = found.first_voxel
    order: Literal["little", "big"] = "big" if header.endianness == ">" else "little"
    length = int.from_bytes(raw[start : start + 4], order)
    code = int.from_bytes(raw[start + 4 : start + 8], order)
    is_plausible = length % 16 == 0 and 0 < length <= MAX_OFFSET and code % 2 == 0 and code <= MAX_EXTENSION_CODE
    return length if is_plausible else 0


def _scaling(header: Nifti1Header, notes: list[str]) -> tuple[float | None, float | None]:
    """Return slope and intercept. As in nibabel, a slope that is 0 or not finite means that there is no scaling."""
    stated, shift = float(header["scl_slope"]), float(header["scl_inter"])
    if np.isinf(stated):
        notes.append(f"the header scales the values by {stated:g}; read without scaling")
    if np.isfinite(stated) and stated and not np.isfinite(shift):
        raise UnusableError(
            "unreadable", f"header: the slope is {stated:g}, but the intercept is {shift:g}; correct scl_inter"
        )
    slope, intercept = header.get_slope_inter()
    return slope, intercept


def checked_affine(header: Nifti1Header, notes: list[str]) -> NDArray[np.float64]:
    """Return the affine (4, 4) in mm as nibabel chooses it: the sform if its code is set, otherwise the qform.

    Parameters
    ----------
    header : Nifti1Header
    notes : list of str
        What is unusual is appended to it.

    Raises
    ------
    UnusableError
        ``bad_affine``.
    """
    has_qform, has_sform = int(header["qform_code"]) > 0, int(header["sform_code"]) > 0
    if not has_qform and not has_sform:
        # nibabel would put the middle of the grid at 0 mm. In FSL's and SPM's MNI grids, the middle is 18 mm or more
        # away from there.
        stored = "; an sform is stored, so if it is right, set its code" if header["srow_x"].any() else ""
        raise UnusableError(
            "bad_affine",
            "neither qform nor sform is set (both codes are 0), so the position of the voxels is unknown; copy the"
            f" geometry from an image on the same grid, such as with fslcpgeom{stored}",
        )
    try:
        affine = np.asarray(header.get_best_affine(), dtype=float)
    except (HeaderDataError, ValueError) as error:
        raise UnusableError("bad_affine", f"{error}; correct qform and sform") from error
    qform = _compared_qform(header, affine, notes) if has_qform and has_sform else affine
    if not np.isfinite(affine).all():
        raise UnusableError("bad_affine", "the affine has values that are not finite; correct qform and sform")
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    _check_lengths(lengths, int(header["xyzt_units"]) & 7, notes)
    volume = float(np.linalg.det(affine[:3, :3] / lengths))
    if abs(volume) < MIN_RELATIVE_VOLUME:
        raise UnusableError("bad_affine", "the affine is singular; correct qform and sform")
    if np.linalg.det(qform[:3, :3]) * volume < 0:
        notes.append("qform and sform put left and right on opposite sides; the sform is used, check which is right")
    return affine


def _compared_qform(header: Nifti1Header, affine: NDArray[np.float64], notes: list[str]) -> NDArray[np.float64]:
    """Return the qform, to be compared with the sform `affine`.

    A faulty qform makes no file unusable, because the sform is used. In this case, return `affine` itself.
    """
    try:
        return np.asarray(header.get_qform(), dtype=float)
    except (HeaderDataError, ValueError) as error:
        notes.append(f"the qform is faulty ({error}); the sform is used")
        return affine


def _check_lengths(lengths: NDArray[np.float64], unit: int, notes: list[str]) -> None:
    """Refuse voxels that cannot be those of a statistic map in mm, and name the unit that the header states."""
    name, _ = UNITS.get(unit, ("mm", 1.0))
    text = f"voxels of {'x'.join(f'{length:.3g}' for length in lengths)}"
    if _are_plausible(lengths):
        if unit in UNITS:
            notes.append(f"the header states {text} {name}; read as mm")
        return
    likely = next((other for other, mm in UNITS.values() if _are_plausible(lengths * mm)), None)
    if likely is None:
        advice = "correct the affine in the header"
    elif unit in UNITS:
        advice = "write the affine of the header in mm"
    else:
        advice = f"the affine seems to be in {likely}; write it in mm"
    raise UnusableError("bad_affine", f"{text} {name}; {advice}")


def _are_plausible(lengths: Sequence[float] | NDArray[np.float64]) -> bool:
    return min(lengths) >= MIN_VOXEL_MM and max(lengths) <= MAX_VOXEL_MM
