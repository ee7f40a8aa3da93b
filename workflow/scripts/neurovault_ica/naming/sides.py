"""Tell components with the same name apart by their side, or their part, of the brain."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from neurovault_ica.images.maps import Maps
from neurovault_ica.types import Array, Row

# The position of a component is that of its largest values, in this share of the mask's voxels.
PEAK_SHARE = 0.05
# A component is on one side if that side has at least this share of the sum of its largest values. The midline counts
# half for each side.
ONE_SIDED_SHARE = 0.75
# Two components are told apart along an axis only if their centres are at least this far apart.
MIN_DISTANCE_MM = 8.0
LEFT, RIGHT, BOTH = SIDES = ("left", "right", "both sides")
# The ends of the axes: from the midline outwards, back to front, bottom to top.
ENDS = (("medial", "lateral"), ("posterior", "anterior"), ("ventral", "dorsal"))
# Before the coordinates of a peak, if no words for the place are left.
AT_PEAK = "peak "


def tell_apart(rows: Sequence[Row], maps: Maps) -> list[Row]:
    """Add a side or a part of the brain to names that several components have.

    Parameters
    ----------
    rows : sequence of dict
        Rows of desc-ICA_names.tsv, in the order of the maps. Components without a significant name keep theirs.
    maps : Maps
        The components, positive where their name applies.

    Returns
    -------
    list of dict
        The rows. Names that were equal are different: ``motor (left)`` and ``motor (right)``.
    """
    groups: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        if row["source"] and not row["mark"]:
            groups.setdefault(row["name"].casefold(), []).append(number)
    named = [dict(row) for row in rows]
    for numbers in groups.values():
        if len(numbers) > 1:
            for number, where in zip(numbers, describe_places([_voxels_of(maps, n) for n in numbers]), strict=True):
                named[number]["name"] += f" ({where})"
    return named


def describe_places(voxels: Sequence[tuple[Array, Array]]) -> list[str]:
    """Describe where maps are, relative to each other, in different words for each.

    Parameters
    ----------
    voxels : sequence of (array of shape (n, 3), array of shape (n,))
        For each map, the coordinates of its largest values in mm (x from left to right), and these values.
    """
    sides = [_side_of(*one) for one in voxels]
    if len(set(sides)) == len(sides):
        return sides
    centres = np.array([_centre_of(*one) for one in voxels])
    # Maps on the same side are told apart along the axis on which they differ most.
    texts = list(sides)
    for side, count in Counter(sides).items():
        if count == 1:
            continue
        members = [number for number, one in enumerate(sides) if one == side]
        spread = np.ptp(centres[members], axis=0)
        axis = int(spread.argmax())
        order = sorted(members, key=lambda number: centres[number][axis])
        if count == 2 and spread[axis] >= MIN_DISTANCE_MM:
            words = dict(zip(order, ENDS[axis], strict=True))
        else:
            words = {number: _peak_of(*voxels[number]) for number in members}
        for number, word in words.items():
            texts[number] = word if len(set(sides)) == 1 else f"{side}, {word}"
    repeated = {text for text, count in Counter(texts).items() if count > 1}
    # Maps with the same peak are numbered.
    return [f"{text}, {texts[: n + 1].count(text)}" if text in repeated else text for n, text in enumerate(texts)]


def _voxels_of(maps: Maps, number: int) -> tuple[Array, Array]:
    """Return the coordinates in mm and the values of the voxels where a component has its largest values."""
    values = maps.values[number]
    largest = np.sort(np.argsort(-values, kind="stable")[: max(1, int(PEAK_SHARE * len(values)))])
    places = np.argwhere(maps.inside)[largest]
    return places @ maps.affine[:3, :3].T + maps.affine[:3, 3], np.maximum(values[largest].astype(float), 0)


def _side_of(places_mm: Array, values: Array) -> str:
    total = values.sum() or 1.0
    left = (values * (0.5 - 0.5 * np.sign(places_mm[:, 0]))).sum() / total
    if left >= ONE_SIDED_SHARE:
        return LEFT
    return RIGHT if left <= 1 - ONE_SIDED_SHARE else BOTH


def _centre_of(places_mm: Array, values: Array) -> Array:
    """Return the centre of mass in mm: distance from the midline, y, z."""
    folded = np.abs(places_mm) * [1, 0, 0] + places_mm * [0, 1, 1]
    centre: Array = (folded * values[:, None]).sum(axis=0) / (values.sum() or 1.0)
    return centre


def _peak_of(places_mm: Array, values: Array) -> str:
    x, y, z = places_mm[values.argmax()]
    return f"{AT_PEAK}{x:.0f} {y:.0f} {z:.0f} mm"
