"""Components of one name are told apart by side, or by their place along an axis of the brain."""

import nibabel as nib
import numpy as np
import pytest
from neurovault_ica.images.maps import Maps
from neurovault_ica.naming.sides import tell_apart

AFFINE = np.diag([4.0, 4, 4, 1])
AFFINE[:3, 3] = [-70, -100, -60]
INSIDE = np.ones((36, 44, 36), dtype=bool)
MM = np.argwhere(INSIDE) @ AFFINE[:3, :3].T + AFFINE[:3, 3]


def blob(*centres):
    """Make a map with blobs of 10 mm at these places, and a negative side elsewhere."""
    return sum(np.exp(-np.square(MM - centre).sum(axis=1) / 200) for centre in centres) - 0.1


def names_of(*maps, names=None, marks=None):
    values = np.array(maps, dtype=np.float32)
    header = nib.Nifti1Image(np.zeros((*INSIDE.shape, len(maps)), np.float32), AFFINE).header
    names = names or ["motor; hand"] * len(maps)
    rows = [
        {"component": f"ICA_{k}", "name": name, "words": name, "source": "terms", "mark": mark}
        for k, (name, mark) in enumerate(zip(names, marks or [""] * len(maps), strict=True))
    ]
    return [row["name"] for row in tell_apart(rows, Maps(values, INSIDE, header))]


LEFT, RIGHT = (-42, -20, 50), (42, -20, 50)


def test_sides_tell_components_apart():
    assert names_of(blob(LEFT), blob(RIGHT)) == ["motor; hand (left)", "motor; hand (right)"]
    three = names_of(blob(RIGHT), blob(LEFT, RIGHT), blob(LEFT), names=["Motor", "motor", "motor"])
    assert three == ["Motor (right)", "motor (both sides)", "motor (left)"]


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ([(-6, 50, 0), (6, 50, 0)], [(-6, -60, 30), (6, -60, 30)], ("anterior", "posterior")),
        ([(-30, 0, 50), (30, 0, 50)], [(-30, 0, -30), (30, 0, -30)], ("dorsal", "ventral")),
        ([(-8, 0, 50), (8, 0, 50)], [(-50, 0, 50), (50, 0, 50)], ("medial", "lateral")),
    ],
)
def test_components_of_both_sides_are_told_apart_along_an_axis(one, other, words):
    assert names_of(blob(*one), blob(*other)) == [f"motor; hand ({word})" for word in words]


def test_components_of_one_side_are_told_apart_along_an_axis():
    assert names_of(blob(LEFT), blob(RIGHT), blob((-42, 40, 50))) == [
        "motor; hand (left, posterior)", "motor; hand (right)", "motor; hand (left, anterior)",
    ]  # fmt: skip


def test_every_name_differs_even_if_the_maps_are_equal():
    found = names_of(*[blob(LEFT)] * 3, blob((-42, 20, 0)))
    assert len(set(found)) == 4
    assert found[0] == "motor; hand (peak -42 -20 48 mm, 1)"


def test_other_names_stay_as_they_are():
    same = blob(LEFT)
    assert names_of(same, same, names=["pain", "motor"]) == ["pain", "motor"]
    unnamed = ["unnamed (closest: pain)"] * 2
    assert names_of(same, same, names=unnamed, marks=["n.s."] * 2) == unnamed
