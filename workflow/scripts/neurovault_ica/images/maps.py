"""Read and write the maps of all components without a 4-D array in memory: only the voxels of the mask are kept."""

from collections.abc import Iterable
from typing import NamedTuple

import nibabel as nib
import numpy as np
import numpy.typing as npt
from isal import igzip

from neurovault_ica.runtime.files import replacing


class Volume(NamedTuple):
    """A 3-D map and where it is."""

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
        """Return the map of one component, 0 outside the mask."""
        # In the order of NIfTI files: then nothing is turned around where it is written.
        data = np.zeros(self.inside.shape, dtype=np.float32, order="F")
        data[self.inside] = self.values[number]
        return Volume(data, self.affine)


def place_maps(values: npt.NDArray[np.float32], mask: str) -> Maps:
    """Place values over a mask (n_components, n_voxels) on the grid of the mask."""
    mask_img = nib.load(mask)
    # Takes no memory: it only says what the header is about.
    nothing = np.broadcast_to(np.float32(0), (*mask_img.shape, len(values)))
    return Maps(values, np.asarray(mask_img.dataobj) > 0, nib.Nifti1Image(nothing, mask_img.affine).header)


def read_maps(components: str, mask: str) -> Maps:
    """Read a compressed 4-D image volume by volume."""
    inside = np.asarray(nib.load(mask).dataobj) > 0
    # Intel's library unpacks in a third of the time of zlib.
    with igzip.open(components) as stream:
        img = nib.Nifti1Image.from_stream(stream)
        values = np.empty((img.shape[3], np.count_nonzero(inside)), dtype=np.float32)
        for number, row in enumerate(values):
            row[:] = np.asarray(img.dataobj[..., number])[inside]
    return Maps(values, inside, img.header)


def write_maps(path: str, header: nib.Nifti1Header, volumes: Iterable[Volume]) -> None:
    """Write volumes of floating point numbers as a compressed 4-D image, one after the other.

    Parameters
    ----------
    path : path
    header : nib.Nifti1Header
        Of an image of the same shape and type.
    volumes : iterable of Volume
    """
    header = header.copy()
    header.set_data_offset(header.single_vox_offset)
    header.set_slope_inter(1, 0)
    with (
        replacing(path) as temporary,
        temporary.open("wb") as stream,
        igzip.IGzipFile("", "wb", compresslevel=1, fileobj=stream, mtime=0) as packed,
    ):
        packed.write(header.binaryblock.ljust(header.single_vox_offset, b"\0"))
        for volume in volumes:
            packed.write(volume.data.astype(header.get_data_dtype(), copy=False).tobytes(order="F"))
