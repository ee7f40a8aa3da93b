"""Make the volumes of the demo: grids of common software, smooth noise, and NIfTI files with reproducible bytes."""

import gzip
from dataclasses import dataclass
from functools import cached_property

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from neurovault_ica.demo.networks import NETWORKS, render

# FWHM of a Gaussian with standard deviation 1: 2 sqrt(2 ln 2). More digits would change the simulated maps.
FWHM_PER_SD = 2.3548
# The fastest level, because noise hardly compresses at any level.
GZIP_LEVEL = 1


def _rotated(
    spacing_mm: float, degrees: float, centre: tuple[float, float, float], shape: tuple[int, int, int]
) -> NDArray[np.float64]:
    """Return the affine of a grid centred on `centre` (mm) and rotated about the x axis, as in a tilted acquisition."""
    turn = np.deg2rad(degrees)
    affine = np.eye(4)
    affine[:3, :3] = spacing_mm * np.array(
        [[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]]
    )
    affine[:3, 3] = np.array(centre) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def _aligned(steps_mm: tuple[float, float, float], origin_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    affine = np.diag([*steps_mm, 1.0])
    affine[:3, 3] = origin_mm
    return affine


# The voxel axes are y, z and x of world space. Software that ignores the affine misreads this grid.
_PERMUTED = np.array([[0, 0, 3.0, -81], [3.0, 0, 0, -115], [0, 3.0, 0, -69], [0, 0, 0, 1]])
GRIDS: dict[str, tuple[tuple[int, int, int], NDArray[np.float64]]] = {
    "FSL 2 mm": ((91, 109, 91), _aligned((-2, 2, 2), (90, -126, -72))),
    "FSL 4 mm": ((45, 54, 45), _aligned((-4, 4, 4), (90, -126, -72))),
    "SPM 2 mm": ((79, 95, 68), _aligned((-2, 2, 2), (78, -112, -50))),
    "SPM 3 mm radiological": ((53, 63, 46), _aligned((-3, 3, 3), (78, -112, -50))),
    "SPM 3 mm neurological": ((53, 63, 46), _aligned((3, 3, 3), (-78, -112, -50))),
    "fMRIPrep 2 mm": ((97, 115, 97), _aligned((2, 2, 2), (-96, -132, -78))),
    "3 x 3 x 4 mm": ((55, 65, 38), _aligned((3, 3, 4), (-81, -115, -66))),
    "2.5 mm": ((67, 79, 65), _aligned((2.5, 2.5, 2.5), (-82.5, -115, -70))),
    "3 mm permuted axes": ((65, 50, 55), _PERMUTED),
    "3.5 mm oblique": ((46, 60, 48), _rotated(3.5, 9.0, (0, -18, 8), (46, 60, 48))),
}
"""Shape and affine (voxel to mm) by name. FSL and SPM templates are stored radiologically, with negative x steps."""


@dataclass(frozen=True)
class SimulatedVolume:
    """Voxels of one image, (nx, ny, nz) or (nx, ny, nz, n_volumes), and its affine (4, 4), voxel to mm."""

    data: NDArray[np.floating]
    affine: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scene:
    """One grid with its brain mask and networks. Two scenes are equal only if they are the same object.

    Attributes
    ----------
    shape, affine
        As in `GRIDS`.
    mask : bool array of `shape`
        Brain mask.
    sd : array of shape (n_networks,)
        Standard deviation of each network in the template's brain mask. On every grid, networks are divided by it, so
        that a weight means the same on all grids.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    mask: NDArray[np.bool_]
    sd: NDArray[np.float32]

    @cached_property
    def networks(self) -> NDArray[np.float32]:
        """Networks in the voxels of the brain mask, (n_networks, n_voxels)."""
        return render_all(self.mask, self.affine) / self.sd[:, None]


def render_all(mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> NDArray[np.float32]:
    """Evaluate all networks in the voxels of a mask, (n_networks, n_voxels)."""
    xyz_mm = _to_mm(np.array(np.nonzero(mask)), affine)
    return np.stack([render(network, xyz_mm) for network in NETWORKS])


def make_scene(grid: str, brain: SimulatedVolume, sd: NDArray[np.float32]) -> Scene:
    """Resample the template's brain mask (`brain`, values 0 and 1) to a grid of `GRIDS`. For `sd`, see `Scene`."""
    shape, affine = GRIDS[grid]
    to_template = np.linalg.inv(brain.affine) @ affine
    voxels = np.indices(shape, dtype=np.float32).reshape(3, -1)
    inside = map_coordinates(brain.data, _to_mm(voxels, to_template), order=1, output=np.float32) > 0.5
    return Scene(shape, affine, inside.reshape(shape), sd)


def smooth_noise(scene: Scene, fwhm_mm: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw Gaussian noise (nx, ny, nz) with the given smoothness and a standard deviation of 1."""
    spacing_mm = np.linalg.norm(scene.affine[:3, :3], axis=0)
    white = rng.standard_normal(scene.shape, dtype=np.float32)
    noise = gaussian_filter(white, fwhm_mm / FWHM_PER_SD / spacing_mm, mode="wrap", truncate=3.0)
    return noise / noise.std()


def nifti_bytes(volume: SimulatedVolume, *, dtype: str = "float32", big_endian: bool = False) -> bytes:
    """Encode a volume as uncompressed NIfTI. Integers get a scale factor, as in files from FSL and SPM."""
    header = nibabel.Nifti1Header(endianness=">" if big_endian else "<")
    header.set_data_dtype(np.dtype(dtype))
    header.set_xyzt_units("mm", "sec")
    header["descrip"] = b"simulated statistic map"
    # A singular affine has no quaternion form, and nibabel refuses to write it. So set only the sform.
    singular = abs(np.linalg.det(volume.affine[:3, :3])) < 1e-9
    if singular:
        header.set_sform(volume.affine, code=4)
    data, slope = volume.data, 1.0
    if np.issubdtype(dtype, np.integer):
        # nibabel would also choose an intercept, which would make the background nonzero.
        slope = float(np.abs(data).max()) / np.iinfo(dtype).max or 1.0
        data = np.rint(data / slope).astype(dtype)
    image = nibabel.Nifti1Image(data, None if singular else volume.affine, header=header)
    image.header.set_slope_inter(slope, 0.0)
    if not singular:
        image.set_sform(volume.affine, code=4)
        image.set_qform(volume.affine, code=4)
    return image.to_bytes()


def compress(content: bytes) -> bytes:
    """Compress without a time stamp, so that the same voxels give the same file."""
    return gzip.compress(content, GZIP_LEVEL, mtime=0)


def _to_mm(voxels: NDArray, affine: NDArray[np.float64]) -> NDArray[np.float32]:
    # Not a matrix product, because its last bits would depend on the number of threads.
    linear, shift = affine[:3, :3].astype(np.float32), affine[:3, 3].astype(np.float32)
    x, y, z = voxels.astype(np.float32)
    return np.stack([row[0] * x + row[1] * y + row[2] * z + offset for row, offset in zip(linear, shift, strict=True)])
