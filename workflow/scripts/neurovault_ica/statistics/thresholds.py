"""Thresholds above which the values of a component are shown."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from neurovault_ica.statistics.mixture import Mixture, activation_thresholds
from neurovault_ica.types import Real


class Limits(NamedTuple):
    """From which absolute values on a map is shown; infinite where nothing of this sign is."""

    positive: float
    negative: float


def limits_of(values: Real, threshold: Mapping[str, float], fit: Mixture | None) -> Limits:
    """Turn the configured threshold into values.

    Parameters
    ----------
    values : array of shape (n_voxels,)
        One component over the mask.
    threshold : mapping
        ``{"percentile": 90}`` of the absolute values, as nilearn's example; ``{"z": 3}``, in standard deviations: the
        maps have unit variance; or ``{"mixture": 0.5}``, the probability of activation by `fit`.
    fit : Mixture or None
        Only for the last.
    """
    if fit is not None:
        lowest, highest = float(values.min()), float(values.max())
        return Limits(*activation_thresholds(fit, threshold["mixture"], lowest=lowest, highest=highest))
    if "percentile" in threshold:
        limit = float(np.percentile(np.abs(values), threshold["percentile"]))
        return Limits(limit, limit)
    return Limits(float(threshold["z"]), float(threshold["z"]))
