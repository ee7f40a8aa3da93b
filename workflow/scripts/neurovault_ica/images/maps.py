"""Read and write the maps of all components. Only the voxels of the mask are in memory, not the 4-D array."""

import gzip
from collections.abc import Iterable
from typing import NamedTuple

import nibabel as nib
import numpy as np
import numpy.typing as npt
from isal import igzip

from neurovault_ica.runtime.files import replacing


class Volume(NamedTuple):
    """A 3-D map and its affine."""

    data: npt.NDArray[np.float32]  # (nx, ny, nz)
    affine: npt.NDArray[np.float64]  # (4, 4), voxel to mm


class Maps(NamedTuple):
    """The maps of the components over the mask."""

    values: npt.NDArray[np.float32]  # (n_components, n_voxels)
    inside: npt.NDArray[np.bool_]  # (nx, ny, nz), the mask
    header: nib.Nifti1Header  # of the 4-D image

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """Return the affine, voxel to mm."""
        return self.header.get_best_affine()

    def volume(self, number: int) -> Volume:
        """Return the map of one component (nx, ny, nz), 0 outside the mask."""
        # Fortran order is that of NIfTI files, so writing needs no copy.
        data = np.zeros(self.inside.shape, dtype=np.float32, order="F")
        data[self.inside] = self.values[number]
        return Volume(data, self.affine)


def place_maps(values: npt.NDArray[np.float32], mask: str) -> Maps:
    """Make `Maps` from the values at the voxels of a mask.

    Parameters
    ----------
    values : array of shape (n_components, n_voxels)
        In C order of the mask's voxels.
    mask : path
        3-D image, above 0 inside.
    """
    mask_img = nib.load(mask)
    # nibabel needs an array of the full shape to make the header. A broadcast array takes no memory.
    nothing = np.broadcast_to(np.float32(0), (*mask_img.shape, len(values)))
    return Maps(values, np.asarray(mask_img.dataobj) > 0, nib.Nifti1Image(nothing, mask_img.affine).header)


def read_maps(components: str, mask: str) -> Maps:
    """Read a compressed 4-D image of components at the voxels of a mask, one volume at a time."""
    inside = np.asarray(nib.load(mask).dataobj) > 0
    # Intel's library takes a third of the time of zlib.
    with igzip.open(components) as stream:
        img = nib.Nifti1Image.from_stream(stream)
        values = np.empty((img.shape[3], np.count_nonzero(inside)), dtype=np.float32)
        for number, row in enumerate(values):
            row[:] = np.asarray(img.dataobj[..., number])[inside]
    return Maps(values, inside, img.header)


def peaks_mm(maps: Maps) -> list[tuple[float, ...]]:
    """Return the coordinates of the largest value of each map, in mm."""
    places = np.argwhere(maps.inside)[maps.values.argmax(axis=1)]
    return [tuple(map(float, place)) for place in places @ maps.affine[:3, :3].T + maps.affine[:3, 3]]


def write_maps(path: str, header: nib.Nifti1Header, volumes: Iterable[Volume]) -> None:
    """Write volumes to a compressed 4-D image, one at a time.

    Parameters
    ----------
    path : path
    header : nib.Nifti1Header
        The header of an image with the shape and the floating point type to write.
    volumes : iterable of Volume
    """
    header = header.copy()
    header.set_data_offset(header.single_vox_offset)
    header.set_slope_inter(1, 0)
    with (
        replacing(path) as temporary,
        temporary.open("wb") as stream,
        # Written with zlib, because Intel's library does not always compress the same bytes to the same file.
        gzip.GzipFile("", "wb", compresslevel=1, fileobj=stream, mtime=0) as packed,
    ):
        packed.write(header.binaryblock.ljust(header.single_vox_offset, b"\0"))
        for volume in volumes:
            packed.write(volume.data.astype(header.get_data_dtype(), copy=False).tobytes(order="F"))
