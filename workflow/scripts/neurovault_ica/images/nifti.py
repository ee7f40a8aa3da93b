"""Read NIfTI files without trusting what their headers claim."""

import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from isal import isal_zlib
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError
from nibabel.volumeutils import apply_read_scaling
from numpy.typing import NDArray

GZIP_MAGIC = b"\x1f\x8b"
# Bytes of a file that are read at once. The first piece contains the whole header, even if it is compressed.
CHUNK_BYTES = 1 << 16
# `find_fault` decompresses at most this much of a file. Statistic maps have about a hundredth of it, but a small file
# from a server can decompress to any size.
MAX_UNPACKED_BYTES = 1_000_000_000
# Limits on what a header may claim, so that a wrong one cannot exhaust the memory. MNI152 at 0.5 mm has 58 million
# voxels; statistic maps have voxels of 1 to 5 mm.
MAX_VOXELS = 64_000_000
MAX_LENGTH = 2000  # voxels along an axis; the resampling matrices grow with its square
MAX_OFFSET = 16_000_000  # bytes before the voxels, which hold header extensions
MIN_VOXEL_MM, MAX_VOXEL_MM = 0.2, 30.0
# An affine is singular if the unit vectors of its axes span less than this volume; orthogonal axes span 1.
MIN_RELATIVE_VOLUME = 1e-3


class _Format(NamedTuple):
    """A version of the NIfTI format."""

    header: type[Nifti1Header]
    magic: bytes  # of a file that holds both header and voxels; the byte after it is ignored
    place: slice  # where the magic is in the header


# By the size of the header, which its first four bytes state.
FORMATS = {
    348: _Format(Nifti1Header, b"n+1", slice(344, 348)),
    540: _Format(Nifti2Header, b"n+2", slice(4, 8)),
}


class UnusableError(Exception):
    """An image that cannot be used.

    Attributes
    ----------
    reason : str
        A key of `rejections.REASONS`.
    found : str
        What is wrong with this image.
    """

    def __init__(self, reason: str, found: object) -> None:
        super().__init__(f"{reason}: {found}")
        self.reason, self.found = reason, str(found)


class Image(NamedTuple):
    """One statistic map on the grid of its file."""

    data: NDArray[np.float32]  # (nx, ny, nz), Fortran order
    affine: NDArray[np.float64]  # (4, 4), voxel to mm
    dtype: str  # of the file
    is_unsigned: bool  # unsigned integers without a scale factor; nilearn's resampling keeps them integers
    step: float = 0.0  # difference of neighbouring values that the file can store; 0 for floating point numbers


def find_fault(path: Path, *, whole: bool = False) -> str | None:
    """Explain why a file cannot be a NIfTI image, compressed or not; None if there is no fault.

    Parameters
    ----------
    path : Path
    whole : bool
        Whether to decompress the whole file to check that it is complete. Otherwise only the beginning is checked.
    """
    with path.open("rb") as stream:
        start = stream.read(CHUNK_BYTES)
    try:
        _format_of(_unpack(start, max(FORMATS), whole=False))
    except UnusableError as error:
        return error.found
    return _fault_in_gzip(path) if whole and start.startswith(GZIP_MAGIC) else None


def _fault_in_gzip(path: Path) -> str | None:
    """Decompress a file in pieces to check that it is complete."""
    unpacking, size = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16), 0
    with path.open("rb") as stream:
        chunk = stream.read(CHUNK_BYTES)
        try:
            while chunk and not unpacking.eof and size < MAX_UNPACKED_BYTES:
                size += len(unpacking.decompress(chunk, 16 * CHUNK_BYTES))
                chunk = unpacking.unconsumed_tail or stream.read(CHUNK_BYTES)
        except zlib.error as error:
            return f"gzip: {error}"
    return None if unpacking.eof or size >= MAX_UNPACKED_BYTES else "gzip: the file ends too early"


def is_packed(path: Path) -> bool:
    """Return whether a file is compressed with gzip, by its first bytes."""
    with path.open("rb") as stream:
        return stream.read(2) == GZIP_MAGIC


def read_image(path: Path) -> Image:
    """Read a NIfTI file of one volume, compressed or not.

    Raises
    ------
    UnusableError
        ``unreadable``, ``not_3d``, ``bad_affine``, ``too_large`` or ``not_numeric``.
    """
    content = _content(path)
    header = _read_header(_unpack(content, max(FORMATS), whole=False))
    shape = _volume_shape(header)
    affine = _checked_affine(header)
    dtype, offset, slope, intercept = _storage(header)
    n_voxels = int(np.prod(shape))
    size = offset + n_voxels * dtype.itemsize
    raw = _unpack(content, size, whole=True)
    if len(raw) < size:
        raise UnusableError("unreadable", f"{len(raw)} bytes of {size}")
    stored = np.frombuffer(raw, dtype, count=n_voxels, offset=offset).reshape(shape, order="F")
    # Values too large for float32 become infinite here and are later set to 0 like any infinite value.
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = apply_read_scaling(stored, slope, intercept)
        data = np.asarray(scaled, dtype=np.float32, order="F")
    step = 0.0 if dtype.kind == "f" else abs(1.0 if slope is None else slope)
    return Image(data, affine, dtype.name, scaled.dtype.kind == "u", step)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnusableError("unreadable", error.strerror or error) from error


def _unpack(content: bytes, size: int, *, whole: bool) -> bytes:
    """Decompress up to `size` bytes. With `whole`, also check the rest, so that a wrong checksum is noticed.

    Intel's library takes half the time of zlib, and decompression takes most of the time of mask_images.
    """
    if not content.startswith(GZIP_MAGIC):
        return content[:size]
    parts: list[bytes] = []
    missing = size
    try:
        while content.startswith(GZIP_MAGIC) and missing > 0:
            member = isal_zlib.decompressobj(wbits=isal_zlib.MAX_WBITS | 16)
            parts.append(member.decompress(content, missing))
            missing -= len(parts[-1])
            if whole and not member.eof:
                member.decompress(member.unconsumed_tail, 1 << 20)
            content = member.unused_data
    except isal_zlib.error as error:  # type: ignore[misc]  # a class, but its stub says otherwise
        raise UnusableError("unreadable", f"gzip: {error}") from error
    if whole and not member.eof and not member.unconsumed_tail:
        raise UnusableError("unreadable", "gzip: the file ends too early")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _format_of(raw: bytes) -> _Format:
    """Return the NIfTI version of a file that begins with the bytes `raw`, in either byte order."""
    if not raw:
        raise UnusableError("unreadable", "empty file")
    sizes = {int.from_bytes(raw[:4], "little"), int.from_bytes(raw[:4], "big")}
    found = next((found for size, found in FORMATS.items() if size in sizes and len(raw) >= size), None)
    if found is None:
        start = raw[:15].decode("latin-1")
        raise UnusableError("unreadable", f"no NIfTI header, the file begins with {start!r}")
    magic = raw[found.place]
    if not magic.startswith(found.magic):
        raise UnusableError("unreadable", f"not a NIfTI file in one piece, magic {magic!r}")
    return found


def _read_header(raw: bytes) -> Nifti1Header:
    """Read a NIfTI-1 or NIfTI-2 header in either byte order."""
    kind = _format_of(raw).header
    try:
        return kind(raw[: kind.template_dtype.itemsize])
    except (HeaderDataError, ValueError, KeyError, OverflowError) as error:
        raise UnusableError("unreadable", f"header: {error}") from error


def _volume_shape(header: Nifti1Header) -> tuple[int, int, int]:
    shape = tuple(int(length) for length in header.get_data_shape())
    text = "x".join(str(length) for length in shape)
    if len(shape) < 3 or any(length != 1 for length in shape[3:]):
        raise UnusableError("not_3d", text)
    if min(shape) < 1:
        raise UnusableError("unreadable", f"header: shape {text}")
    n_voxels = shape[0] * shape[1] * shape[2]
    if n_voxels > MAX_VOXELS or max(shape) > MAX_LENGTH:
        raise UnusableError("too_large", f"{text}: {n_voxels} voxels")
    return shape[0], shape[1], shape[2]


def _storage(header: Nifti1Header) -> tuple[np.dtype, int, float | None, float | None]:
    """Return how the voxels are stored: type, first byte, slope and intercept (None: not scaled)."""
    try:
        dtype, offset = header.get_data_dtype(), header.get_data_offset()
        slope, intercept = header.get_slope_inter()
    except (HeaderDataError, ValueError, OverflowError) as error:
        raise UnusableError("unreadable", f"header: {error}") from error
    if dtype.kind not in "iuf":
        raise UnusableError("not_numeric", dtype)
    if not 0 <= offset <= MAX_OFFSET:
        raise UnusableError("unreadable", f"header: the data begin at byte {offset}")
    return dtype, offset, slope, intercept


def _checked_affine(header: Nifti1Header) -> NDArray[np.float64]:
    try:
        affine = np.asarray(header.get_best_affine(), dtype=float)
    except (HeaderDataError, ValueError) as error:
        raise UnusableError("bad_affine", error) from error
    if not np.isfinite(affine).all():
        raise UnusableError("bad_affine", "not finite")
    voxel_mm = np.linalg.norm(affine[:3, :3], axis=0)
    if voxel_mm.min() < MIN_VOXEL_MM or voxel_mm.max() > MAX_VOXEL_MM:
        raise UnusableError("bad_affine", f"voxels of {'x'.join(f'{length:.3g}' for length in voxel_mm)} mm")
    if abs(np.linalg.det(affine[:3, :3] / voxel_mm)) < MIN_RELATIVE_VOLUME:
        raise UnusableError("bad_affine", "singular")
    return affine
