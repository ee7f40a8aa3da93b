"""Compute the thresholds of a component, which figures, peak tables and thresholded maps use."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from neurovault_ica.statistics.mixture import Mixture, activation_thresholds
from neurovault_ica.types import Real


class Thresholds(NamedTuple):
    """Smallest absolute values that are shown; infinite if nothing of this sign is shown."""

    positive: float
    negative: float


def thresholds_of(values: Real, threshold: Mapping[str, float], fit: Mixture | None) -> Thresholds:
    """Compute the thresholds of one component from the configuration.

    Parameters
    ----------
    values : array of shape (n_voxels,)
        One component over the mask.
    threshold : mapping
        ``{"percentile": 90}``: percentile of the absolute values, as in nilearn's example. ``{"z": 3}``: number of
        standard deviations, which are 1. ``{"mixture": 0.5}``: probability of activation in the mixture `fit`.
    fit : Mixture or None
        Required with ``mixture``, otherwise None.
    """
    if fit is not None:
        lowest, highest = float(values.min()), float(values.max())
        return Thresholds(*activation_thresholds(fit, threshold["mixture"], lowest=lowest, highest=highest))
    if "percentile" in threshold:
        limit = float(np.percentile(np.abs(values), threshold["percentile"]))
        return Thresholds(limit, limit)
    return Thresholds(float(threshold["z"]), float(threshold["z"]))
