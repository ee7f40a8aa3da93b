"""Maps are sampled on the cortex as by nilearn, and zeros outside the mask do not lower the values at its edge."""

import nibabel as nib
import numpy as np
import pytest
from neurovault_ica.images.cortex import (
    HEMISPHERES,
    N_DEPTHS,
    is_near,
    load_cortex,
    places_of,
    sample,
    sample_map,
    share_in_mask,
)
from nilearn.surface import InMemoryMesh, vol_to_surf
from scipy.ndimage import gaussian_filter

# Grid of 4 mm around the whole cortex.
AFFINE = np.diag([4.0, 4, 4, 1])
AFFINE[:3, 3] = -92, -128, -72
SHAPE = (47, 55, 47)


@pytest.fixture(scope="module")
def cortex():
    return load_cortex()


def test_samples_are_those_of_nilearn(cortex):
    data = gaussian_filter(np.random.default_rng(0).standard_normal(SHAPE), 1).astype(np.float32)
    found = sample(data, places_of(AFFINE, cortex))
    for hemisphere in HEMISPHERES:
        part = cortex.part(hemisphere)
        pial, white = (InMemoryMesh(points[part], cortex.faces) for points in (cortex.pial, cortex.white))
        expected = vol_to_surf(nib.Nifti1Image(data, AFFINE), pial, inner_mesh=white)
        np.testing.assert_allclose(found[part], expected, atol=1e-5)


@pytest.mark.parametrize("step", [2, 8])
def test_a_constant_map_stays_constant_up_to_the_edge_of_the_mask(cortex, step):
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = -90, -126, -72
    x, y, z = np.indices([180 // step, 216 // step, 180 // step]) * step + affine[:3, 3, None, None, None]
    inside = (x < -10) & (z > 0) & (np.hypot(y + 20, z - 10) < 70)
    places = places_of(affine, cortex)
    share = share_in_mask(inside, places, cortex)
    values = sample_map(3 * inside.astype(np.float32), share, places)
    has_value = np.isfinite(values)
    np.testing.assert_allclose(values[has_value], 3, rtol=1e-5)
    assert is_near(inside, places, np.flatnonzero(has_value)).all()
    assert not is_near(inside, places, np.arange(len(share))[cortex.part("right")]).any()
    assert not has_value[cortex.part("right")].any()
    # Vertices of the medial wall, and vertices whose samples are mostly outside the mask, have no value.
    assert not has_value[~cortex.is_cortex].any()
    deep = cortex.is_cortex & (share > 0.99)
    assert has_value[deep].all()
    assert 0.1 < has_value[cortex.part("left")].mean() < 0.8


def test_a_vertex_needs_half_of_its_samples_in_the_mask():
    places = np.ones((3, N_DEPTHS * 4))
    found = sample_map(np.full((3, 3, 3), 2.0), np.array([0, 0.49, 0.5, 1]), places)
    np.testing.assert_array_equal(found, [np.nan, np.nan, 4, 2])
