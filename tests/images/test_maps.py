"""Maps are read and written as by nibabel, one volume at a time."""

import gzip

import nibabel as nib
import numpy as np
from made_maps import AFFINE, SHAPE
from neurovault_ica.images.maps import place_maps, read_maps, write_maps


def test_maps_are_read_as_they_were_written(tmp_path):
    rng = np.random.default_rng(0)
    inside = rng.random(SHAPE) < 0.3
    volumes = np.where(inside[..., None], rng.standard_normal((*SHAPE, 3), dtype=np.float32), np.float32(0))
    nib.save(nib.Nifti1Image(volumes, AFFINE), tmp_path / "components.nii.gz")
    nib.save(nib.Nifti1Image(inside.astype(np.uint8), AFFINE), tmp_path / "mask.nii.gz")
    maps = read_maps(str(tmp_path / "components.nii.gz"), str(tmp_path / "mask.nii.gz"))
    np.testing.assert_array_equal(maps.values, volumes[inside].T)
    np.testing.assert_array_equal(maps.affine, AFFINE)
    np.testing.assert_array_equal(maps.volume(1).data, volumes[..., 1])

    write_maps(str(tmp_path / "again.nii.gz"), maps.header, map(maps.volume, range(3)))
    img = nib.load(tmp_path / "again.nii.gz")
    np.testing.assert_array_equal(np.asarray(img.dataobj), volumes)
    np.testing.assert_array_equal(img.affine, AFFINE)
    assert img.get_data_dtype() == np.float32
    # Once decompressed, the file equals nibabel's byte for byte.
    assert gzip.decompress((tmp_path / "again.nii.gz").read_bytes()) == nib.Nifti1Image(volumes, AFFINE).to_bytes()


def test_values_are_placed_on_the_grid_of_the_mask(tmp_path):
    inside = np.random.default_rng(0).random(SHAPE) < 0.3
    nib.save(nib.Nifti1Image(inside.astype(np.uint8), AFFINE), tmp_path / "mask.nii.gz")
    values = np.random.default_rng(1).standard_normal((2, inside.sum()), dtype=np.float32)
    maps = place_maps(values, str(tmp_path / "mask.nii.gz"))
    write_maps(str(tmp_path / "placed.nii.gz"), maps.header, map(maps.volume, range(2)))
    expected = np.zeros((*SHAPE, 2), dtype=np.float32)
    expected[inside] = values.T
    assert gzip.decompress((tmp_path / "placed.nii.gz").read_bytes()) == nib.Nifti1Image(expected, AFFINE).to_bytes()
