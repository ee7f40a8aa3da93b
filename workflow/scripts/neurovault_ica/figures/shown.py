"""Decide what is shown of a map. Figures, peaks and thresholded maps all use this module."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from neurovault_ica.figures.slices import Scale, scale_of
from neurovault_ica.images.clusters import drop_small_clusters
from neurovault_ica.images.maps import Maps, Volume
from neurovault_ica.statistics.mixture import Mixture, fit_mixture
from neurovault_ica.statistics.smoothness import count_resels
from neurovault_ica.statistics.thresholds import Thresholds, thresholds_of
from neurovault_ica.types import Real


class Display(NamedTuple):
    """What is shown of a component: section plot_components of the configuration."""

    threshold: Mapping[str, float]
    min_cluster_mm3: float


class Shown(NamedTuple):
    """A map with the scale that shows it. Small clusters are below the threshold."""

    volume: Volume
    scale: Scale
    limits: Thresholds
    fit: Mixture | None  # None unless the threshold comes from a mixture model


def show(maps: Maps, number: int, display: Display) -> Shown:
    """Apply threshold and cluster extent to one of the maps."""
    values = maps.values[number]
    fit = fit_mixture(values, count_resels(values, maps.inside)) if "mixture" in display.threshold else None
    limits = thresholds_of(values, display.threshold, fit)
    scale = scale_of(values, limits)
    return Shown(_large_clusters(maps.volume(number), scale, display.min_cluster_mm3), scale, limits, fit)


def show_beside(component: Shown, maps: Maps, number: int, display: Display) -> Shown:
    """Show as many voxels of a map as of the component beside it, because the map may have any unit.

    Parameters
    ----------
    component : Shown
    maps : Maps
        Reference networks or maps of the user, over the mask of the component.
    number : int
        Index of the map.
    display : Display
        How the component is shown.
    """
    share = min(np.count_nonzero(_is_shown(component.volume.data, component.scale)) / maps.values.shape[1], 1.0)
    return show(maps, number, Display({"percentile": 100 * (1 - share)}, display.min_cluster_mm3))


def threshold_volume(volume: Volume, scale: Scale, min_cluster_mm3: float) -> Volume:
    """Set all values that are not shown to 0."""
    shown = _large_clusters(volume, scale, min_cluster_mm3)
    return Volume(np.where(_is_shown(shown.data, scale), shown.data, np.float32(0)), volume.affine)


def _large_clusters(volume: Volume, scale: Scale, min_mm3: float) -> Volume:
    return drop_small_clusters(volume, scale.threshold, scale.negative_threshold, min_mm3)


def _is_shown(data: Real, scale: Scale) -> npt.NDArray[np.bool_]:
    return ((data >= scale.threshold) | (data <= -scale.negative_threshold)) & (data != 0)
