"""Clean, resample and mask the images of one batch, and measure their quality."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import nibabel as nib
import numpy as np
from isal import isal_zlib
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError, SpatialImage
from nibabel.volumeutils import apply_read_scaling
from numpy.typing import NDArray
from outputs import column_names, read_table, replacing, write_table
from quality import measure
from resampling import Plan, Target, extrapolate, plan_resampling, resample, target_of
from stage_log import log_to, progress
from threadpoolctl import threadpool_limits

# What a header may claim. MNI152 at 0.5 mm has 58 million voxels; statistic maps have 1 to 5 mm.
MAX_VOXELS = 64_000_000
MAX_LENGTH = 2000
MAX_OFFSET = 16_000_000
MIN_VOXEL_MM, MAX_VOXEL_MM = 0.2, 30.0
# Axes this close to one plane (sine of the angle between them and it) span no volume.
MIN_RELATIVE_VOLUME = 1e-3
HEADERS = {348: Nifti1Header, 540: Nifti2Header}
MAGIC = (b"n+1", b"n+2")
GZIP_MAGIC = b"\x1f\x8b"
N_PLANS = 16


class UnusableError(Exception):
    """An image that cannot take part, with the reason to report and what was found."""

    def __init__(self, reason: str, found: object) -> None:
        super().__init__(f"{reason}: {found}")
        self.reason, self.found = reason, str(found)


class Image(NamedTuple):
    """One statistic map as read, not yet cleaned."""

    data: NDArray[np.float32]  # (nx, ny, nz), Fortran order
    affine: NDArray[np.float64]  # (4, 4), voxel to mm
    dtype: str  # of the file
    is_unsigned: bool  # unsigned integers without a scale factor, which nilearn leaves integers


def main(
    status: str,
    mask: str,
    voxels: str,
    quality: str,
    *,
    data_dir: str,
    interpolation: str,
    extrapolate_background: bool,
) -> None:
    """Write the voxels and the quality table of the downloaded images in `status`, in its order.

    A failed download has no row: `status` has its reason. An image that cannot be used has a reason, and no voxels.
    """
    target = target_of(cast(SpatialImage, nib.load(mask)))
    images = [row for row in read_table(status) if row["status"] == "ok"]
    _check_cache(images, Path(data_dir))
    masked = _masker(target, interpolation, extrapolate_background)
    empty_row = dict.fromkeys(column_names(quality))
    rows: list[dict[str, Any]] = []
    n_usable = 0
    # The number of BLAS threads must not change the last bit of a voxel.
    with replacing(voxels) as temporary, temporary.open("wb") as stream, threadpool_limits(limits=1):
        _write_npy_header(stream, (0, target.n_voxels))
        for image in progress(images, total=len(images), unit="image"):
            row = {**empty_row, "image_id": image["image_id"]}
            try:
                values, measured = masked(read_image(Path(data_dir) / image["file"]))
            except UnusableError as error:
                rows.append({**row, "reason": error.reason, "value": error.found})
                continue
            stream.write(values.data)
            rows.append({**row, **measured, "row": n_usable})
            n_usable += 1
        stream.seek(0)
        _write_npy_header(stream, (n_usable, target.n_voxels))
    write_table(quality, rows)
    _report(rows, n_usable, target)


def _check_cache(images: Sequence[Mapping[str, Any]], data_dir: Path) -> None:
    """Refuse to go on without images that were there: they would be missing from the result, and nobody would see why.

    Raises
    ------
    RuntimeError
        If a file is not there any more, or has another size than download_images saw. A resampled copy has no size
        in the table.
    """
    changed = []
    for row in images:
        path = data_dir / row["file"]
        is_copy = path.name.endswith("_resampled.nii.gz")
        if not path.is_file() or (path.stat().st_size != row["bytes"] and not is_copy):
            changed.append(row["file"])
    if changed:
        raise RuntimeError(
            f"{len(changed)} of {len(images)} images are not in {data_dir} as download_images found them, such as"
            f" {changed[0]}: the cache was deleted or changed in between. Look again with"
            " snakemake --forcerun download_images"
        )


def read_image(path: Path) -> Image:
    """Read a NIfTI file of one volume, packed or not, and trust nothing that it claims.

    Raises
    ------
    UnusableError
        ``unreadable``, ``not_3d``, ``bad_affine``, ``too_large`` or ``not_numeric``.
    """
    content = _content(path)
    header = _read_header(_unpack(content, max(HEADERS), whole=False))
    shape = _volume_shape(header)
    affine = _checked_affine(header)
    dtype, offset, slope, intercept = _storage(header)
    n_voxels = int(np.prod(shape))
    size = offset + n_voxels * dtype.itemsize
    raw = _unpack(content, size, whole=True)
    if len(raw) < size:
        raise UnusableError("unreadable", f"{len(raw)} bytes of {size}")
    stored = np.frombuffer(raw, dtype, count=n_voxels, offset=offset).reshape(shape, order="F")
    # What float32 cannot hold becomes infinite here and is cleaned like any other infinite value.
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = apply_read_scaling(stored, slope, intercept)
        data = np.asarray(scaled, dtype=np.float32, order="F")
    return Image(data, affine, dtype.name, scaled.dtype.kind == "u")


def mask_image(
    image: Image,
    target: Target,
    plan: Plan,
    nearest: Plan,
    *,
    extrapolate_background: bool,
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Return the voxels of one image within the mask, float32 (n_voxels,), and its measured quality.

    Raises
    ------
    UnusableError
        ``empty`` or ``outside_template``.
    """
    data, finite = image.data, np.isfinite(image.data)
    is_sound = finite.all()
    if not is_sound:
        data = np.where(finite, data, np.float32(0))
    measured = measure(data, None if is_sound else finite, image.affine, target, nearest)
    if measured["max_abs"] == 0:
        raise _nothing_in_mask(data)
    if extrapolate_background:
        data = extrapolate(data, data != 0)
    values = resample(data, plan, target, round_to_integers=image.is_unsigned)
    return values, {**measured, "dtype": image.dtype}


def _nothing_in_mask(data: NDArray[np.float32]) -> UnusableError:
    if not data.any():
        return UnusableError("empty", "no voxel that is finite and not zero")
    if data.min() == data.max():
        return UnusableError("empty", f"every voxel is {data.flat[0]:.6g}")
    return UnusableError("outside_template", "no data within the mask")


def _masker(
    target: Target, interpolation: str, extrapolate_background: bool
) -> Callable[[Image], tuple[NDArray[np.float32], dict[str, Any]]]:
    """Return `mask_image` for this target; the plans of the last grids are kept, as studies share their grid."""
    plans: dict[tuple, tuple[Plan, Plan]] = {}

    def masked(image: Image) -> tuple[NDArray[np.float32], dict[str, Any]]:
        grid = (image.data.shape, image.affine.tobytes())
        if grid not in plans:
            if len(plans) >= N_PLANS:
                plans.pop(next(iter(plans)))
            plan = plan_resampling(image.data.shape, image.affine, target, interpolation)
            # A plan that only chooses voxels chooses the nearest ones.
            nearest = plan if plan.planes else plan_resampling(image.data.shape, image.affine, target, "nearest")
            plans[grid] = (plan, nearest)
        plan, nearest = plans[grid]
        return mask_image(image, target, plan, nearest, extrapolate_background=extrapolate_background)

    return masked


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnusableError("unreadable", error.strerror or error) from error


def _unpack(content: bytes, size: int, *, whole: bool) -> bytes:
    """Unpack up to `size` bytes; `whole`: the rest must be sound too, so that a checksum that fails is noticed.

    Intel's library takes half the time of zlib, which would be half the time of this stage.
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
    except isal_zlib.error as error:  # type: ignore[misc]  # a class, whatever its stub says
        raise UnusableError("unreadable", f"gzip: {error}") from error
    if whole and not member.eof and not member.unconsumed_tail:
        raise UnusableError("unreadable", "gzip: the file ends too early")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _read_header(raw: bytes) -> Nifti1Header:
    """Read a NIfTI-1 or NIfTI-2 header of either byte order."""
    sizes = {int.from_bytes(raw[:4], "little"), int.from_bytes(raw[:4], "big")}
    kinds = [kind for size, kind in HEADERS.items() if size in sizes and len(raw) >= size]
    if not kinds:
        start = raw[:15].decode("latin-1")
        raise UnusableError("unreadable", f"no NIfTI header, the file begins with {start!r}" if raw else "empty file")
    kind = kinds[0]
    try:
        header = kind(raw[: kind.template_dtype.itemsize])
    except (HeaderDataError, ValueError, KeyError, OverflowError) as error:
        raise UnusableError("unreadable", f"header: {error}") from error
    if bytes(header["magic"])[:3] not in MAGIC:
        raise UnusableError("unreadable", f"not a NIfTI file in one piece, magic {bytes(header['magic'])!r}")
    return header


def _volume_shape(header: Nifti1Header) -> tuple[int, int, int]:
    shape = tuple(int(length) for length in header.get_data_shape())
    text = "x".join(str(length) for length in shape)
    if len(shape) < 3 or any(length != 1 for length in shape[3:]):
        raise UnusableError("not_3d", text)
    if min(shape) < 1:
        raise UnusableError("unreadable", f"header: shape {text}")
    n_voxels = shape[0] * shape[1] * shape[2]
    # The matrices of the resampling grow with the square of a length.
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


def _write_npy_header(stream: IO[bytes], shape: tuple[int, int]) -> None:
    """Write the header of a float32 .npy file; numpy leaves room in it for a growing first axis."""
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})


def _report(rows: Sequence[Mapping[str, Any]], n_usable: int, target: Target) -> None:
    logging.info("%d of %d images masked, %d voxels each", n_usable, len(rows), target.n_voxels)
    for row in rows:
        if row["reason"]:
            logging.warning("image %s cannot be used: %s (%s)", row["image_id"], row["reason"], row["value"])


if __name__ == "__main__":
    log_to(snakemake.log[0])
    main(**snakemake.input, **snakemake.output, **snakemake.params)
