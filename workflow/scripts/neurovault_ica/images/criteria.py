"""The table of quality criteria. The configuration's schema, quality control, the figure and the report read it.

To add a criterion, add a row to `CRITERIA`, and its keys to config.yaml and docs/methods.md. A new measure also needs
its computation in quality.py and its column in workflow/schemas/tables.json.

Snakemake imports this module at each start, so it and the modules that it imports use only the standard library.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from neurovault_ica.images.map_types import known_type

# Map types (`map_types.SPELLINGS`) whose unit is known. Only their values can be compared with fixed limits.
Z_AND_T_MAPS = ("Z map", "T map")


class Quantity(NamedTuple):
    """The kind of number that a limit is."""

    description: str  # what the configuration expects, as part of a message
    schema: Mapping[str, Any]  # what the configuration expects, as JSON schema
    divisor: int = 1  # converts a limit to the unit of the measure: 100 if the limit is in percent


SHARE = Quantity("a share, 0 to 1", {"type": "number", "minimum": 0, "maximum": 1})
COUNT = Quantity("a whole number of at least 2", {"type": "integer", "minimum": 2})
PERCENTILE = Quantity(
    "a percentile above 0 and below 50", {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 50}, divisor=100
)
POSITIVE_NUMBER = Quantity("a positive number", {"type": "number", "exclusiveMinimum": 0})
CORRELATION = Quantity("a correlation above 0 and at most 1", {"type": "number", "exclusiveMinimum": 0, "maximum": 1})


class Criterion(NamedTuple):
    """A limit on a measure of an image. An image that does not meet it is rejected."""

    reason: str  # as in rejected.tsv
    sentence: str  # explains the reason in the report
    columns: tuple[str, ...]  # of quality.tsv; their smallest value is compared with the limits
    quantity: Quantity
    lower: str | None = None  # key of the lower limit in stack_images.quality
    upper: str | None = None  # key of the upper limit
    map_types: tuple[str, ...] | None = None  # map types that are judged; None: all
    words: str | None = None  # what follows a number of rejected images in a sentence; None: the reason
    label: str | None = None  # title of its panel in the figure; None: no panel
    panel: int = 100  # position of the panel; equal numbers keep the order of the table
    is_log: bool = False  # whether the axis of the panel is logarithmic

    @property
    def keys(self) -> tuple[str, ...]:
        """Return the keys of the limits in ``stack_images.quality``."""
        return tuple(key for key in (self.lower, self.upper) if key)


# Reason and sentence that two criteria share.
MISPLACED = ("misplaced", "The data do not lie where the brain is, so the map is probably in another space.")
ONE_SIGNED = ("one_signed", "Almost all values have the same sign, as in a one-sided contrast or a mask.")
# The first criterion that an image fails gives the reason, so the simplest explanations come first.
CRITERIA = (
    Criterion(
        "coverage",
        "The data cover too little of the brain.",
        ("coverage",),
        SHARE,
        lower="min_coverage",
        words="with data in too little of the brain",
        label="share of the brain inside the data's box",
        panel=1,
    ),
    Criterion(
        "background",
        "A constant background that is not zero reaches into the brain.",
        ("background_fraction",),
        SHARE,
        upper="max_background_fraction",
        words="with a background that is not zero",
        label="constant background in the brain",
        panel=5,
    ),
    Criterion(
        "few_values",
        "The image has only a few different values, like a mask or a parcellation.",
        ("distinct_values",),
        COUNT,
        lower="min_distinct_values",
        words="with few different values",
        label="different values, counted up to 100",
        panel=7,
    ),
    Criterion(
        "thresholded",
        "Too much of the brain is zero, so the map was probably thresholded.",
        ("zero_fraction",),
        SHARE,
        upper="max_zero_fraction",
        label="share of the brain that is zero",
        panel=2,
    ),
    Criterion(
        "outside_brain",
        "Too much of the signal lies outside the brain.",
        ("outside_fraction",),
        SHARE,
        upper="max_outside_fraction",
        words="with much signal outside the brain",
        label="share of the signal outside the brain",
        panel=3,
    ),
    # The first of these two criteria finds wrong orientations and sizes, the second shifts of less than 2 cm.
    Criterion(
        *MISPLACED,
        ("misplaced_fraction",),
        SHARE,
        upper="max_misplaced_fraction",
        label="outside the brain, and holes in it",
        panel=4,
    ),
    Criterion(
        *MISPLACED,
        ("displaced_fraction",),
        SHARE,
        upper="max_displaced_fraction",
        label="overlap with the brain that a shift gains",
        panel=4,
    ),
    Criterion(
        *ONE_SIGNED,
        ("sign_share",),
        SHARE,
        lower="min_sign_share",
        words="with values of almost only one sign",
        label="share of the rarer sign",
        panel=6,
    ),
    # With a limit of 15, each sign must have at least 15 % of the voxels: the 15th percentile is negative and the 85th
    # positive.
    Criterion(
        *ONE_SIGNED,
        ("negative_share", "positive_share"),
        PERCENTILE,
        lower="sign_percentile",
    ),
    Criterion(
        "magnitude",
        "The largest value is too small or too large for a Z or T map, so the map type is probably wrong.",
        ("max_abs",),
        POSITIVE_NUMBER,
        lower="min_peak",
        upper="max_peak",
        words="with an implausible maximum for their map type",
        map_types=Z_AND_T_MAPS,
        label="largest |value|, judged in Z and T maps",
        panel=8,
        is_log=True,
    ),
    Criterion(
        "unit",
        "The values are too small for a Z or T map, so the map type is probably wrong.",
        ("rms",),
        POSITIVE_NUMBER,
        lower="min_rms",
        words="with values too small for their map type",
        map_types=Z_AND_T_MAPS,
        label="root mean square, judged in Z and T maps",
        panel=9,
        is_log=True,
    ),
)
# This limit is not in the table, because it applies to pairs of images; see duplicates.py.
DUPLICATE_LIMIT = "max_duplicate_correlation"

Limits = Mapping[str, float | None]  # section stack_images.quality; a key that is absent or None sets no limit


def quantities() -> Iterator[tuple[str, Quantity]]:
    """Yield each key of ``stack_images.quality`` and the kind of number that it takes."""
    for criterion in CRITERIA:
        for key in criterion.keys:
            yield key, criterion.quantity
    yield DUPLICATE_LIMIT, CORRELATION


def quality_schema() -> dict[str, Any]:
    """Return the JSON schema of ``stack_images.quality``."""
    keys = {
        key: {
            **quantity.schema,
            "description": f"{quantity.description}, or null to switch the criterion off",
            "type": [quantity.schema["type"], "null"],
        }
        for key, quantity in quantities()
    }
    return {
        "description": "a mapping of criteria, each with a value or null; or null to switch all off",
        "type": ["object", "null"],
        "additionalProperties": False,
        "required": list(keys),
        "properties": keys,
    }


def panels() -> list[Criterion]:
    """Return the criteria that the quality figure shows, in the order of their panels."""
    return sorted((criterion for criterion in CRITERIA if criterion.label), key=lambda criterion: criterion.panel)


def judge(measured: Mapping[str, Any], *, map_type: str | None, limits: Limits) -> tuple[str, float, float] | None:
    """Find the first criterion that an image does not meet.

    Parameters
    ----------
    measured : mapping
        Measures by column of quality.tsv, as returned by `quality.measure`.
    map_type : str or None
        Map type in NeuroVault's metadata.
    limits : mapping
        Section ``stack_images.quality``.

    Returns
    -------
    (reason, value, threshold) or None
        None if the image meets all criteria.
    """
    kind = known_type(map_type)
    for criterion in CRITERIA:
        if criterion.map_types is not None and kind not in criterion.map_types:
            continue
        if all(limits.get(key) is None for key in criterion.keys):
            continue
        value = min(measured[column] for column in criterion.columns)
        limit = broken_limit(criterion, value, limits)
        if limit is not None:
            return criterion.reason, value, limit
    return None


def broken_limit(criterion: Criterion, value: float, limits: Limits) -> float | None:
    """Return the limit of a criterion that a value does not meet, in the unit of the value; None if it meets all."""
    lowest, highest = limit_of(criterion, criterion.lower, limits), limit_of(criterion, criterion.upper, limits)
    if lowest is not None and value < lowest:
        return lowest
    if highest is not None and value > highest:
        return highest
    return None


def limit_of(criterion: Criterion, key: str | None, limits: Limits) -> float | None:
    """Return a limit in the unit of the measure, or None if it is not set."""
    limit = None if key is None else limits.get(key)
    divisor = criterion.quantity.divisor
    # Dividing would turn whole numbers into floats in rejected.tsv.
    return limit if limit is None or divisor == 1 else limit / divisor
