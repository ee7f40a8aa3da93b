"""Write and read values on the cortical surface, and their meshes."""

from collections.abc import Sequence

import nibabel as nib
import numpy as np

from neurovault_ica.images.cortex import Cortex
from neurovault_ica.runtime.files import replacing
from neurovault_ica.types import Real


def write_surface_maps(path: str, values: Real, labels: Sequence[str], hemisphere: str) -> None:
    """Write the maps on one hemisphere as GIFTI, one data array for each component.

    Parameters
    ----------
    path : path
    values : array of shape (n_components, n_vertices)
    labels : sequence of str
        Names of the components, such as ICA_03.
    hemisphere : {"left", "right"}
    """
    meta = nib.gifti.GiftiMetaData({"AnatomicalStructurePrimary": f"Cortex{hemisphere.capitalize()}"})
    img = nib.gifti.GiftiImage(meta=meta)
    for row, label in zip(values, labels, strict=True):
        name = nib.gifti.GiftiMetaData({"Name": label})
        img.add_gifti_data_array(nib.gifti.GiftiDataArray(row.astype(np.float32), meta=name, datatype="float32"))
    with replacing(path) as temporary:
        nib.save(img, temporary)


def write_mesh(path: str, cortex: Cortex) -> None:
    """Write the meshes to one compressed file."""
    with replacing(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **cortex._asdict())


def read_mesh(path: str) -> Cortex:
    """Read what `write_mesh` wrote."""
    with np.load(path) as parts:
        return Cortex(**parts)
