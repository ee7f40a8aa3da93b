"""Draw the cortical surface in four views, and glass brains, with nilearn's functions.

nilearn needs a quarter of a second for each view of a hemisphere, and half a second for the outlines of a glass brain.
Both are the same for all components, so they are drawn once. A view is drawn with the number of its triangle as the
colour of each pixel. Colouring the pixels of a component then takes a hundredth of a second.
"""

from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import proj3d
from nilearn.plotting import plot_glass_brain, plot_surf
from nilearn.surface import InMemoryMesh

from neurovault_ica.figures.sheet import blend
from neurovault_ica.figures.slices import Scale, paint
from neurovault_ica.figures.style import MM_PER_INCH, use_style
from neurovault_ica.figures.surface_colours import BELOW, GYRUS, LEAST_NOTED, LEAST_ON_CORTEX, NO_DATA, SULCUS
from neurovault_ica.images.cortex import LEAST_SHARE, Cortex, is_near, sample_map
from neurovault_ica.images.maps import Volume
from neurovault_ica.types import Real

# Views from left to right: hemisphere, and the side from which it is seen.
VIEWS = (("left", "lateral"), ("left", "medial"), ("right", "medial"), ("right", "lateral"))
# Views of the glass brain: from the left, from behind, from the right, from above.
GLASS_VIEWS = "lyrz"
# Length and height of an inflated hemisphere with a margin, in mm. All views have this size.
LENGTH_MM, HEIGHT_MM = 222.0, 152.0
# Views are drawn this much larger than shown, and averaged, so that their edges are smooth.
SUPERSAMPLED = 2
# Number of colours of a glass brain.
N_COLOURS = 512


class View(NamedTuple):
    """One view of a hemisphere: what each pixel shows. Only pixels of the hemisphere are kept."""

    shape: tuple[int, int]  # height and width of the picture as shown
    place: npt.NDArray[np.intp]  # (n_pixels,), place of each pixel in the flat picture as shown
    vertices: npt.NDArray[np.int32]  # (n_pixels, 3), corners of its triangle, among the vertices of both hemispheres
    weights: npt.NDArray[np.float32]  # (n_pixels, 3), barycentric

    def at(self, values: Real) -> Real:
        """Interpolate values of the vertices (n_vertices,) at the pixels."""
        return np.einsum("pc,pc->p", self.weights, values[self.vertices])

    def average(self, pixels: Real) -> Real:
        """Average pixels (n_pixels, ...) in the picture as shown (height, width); the first row is the lowest."""
        summed = np.bincount(self.place, pixels, minlength=self.shape[0] * self.shape[1])
        return summed.reshape(self.shape) / SUPERSAMPLED**2


def draw_view(cortex: Cortex, hemisphere: str, side: str, width: int) -> View:
    """Draw a view of an inflated hemisphere with nilearn, and find the triangle of each pixel.

    Parameters
    ----------
    cortex : Cortex
    hemisphere : {"left", "right"}
    side : {"lateral", "medial"}
    width : int
        In pixels. The view is drawn `SUPERSAMPLED` times as large.
    """
    use_style()
    shape = round(width * HEIGHT_MM / LENGTH_MM), width
    n_rows, n_columns = (SUPERSAMPLED * length for length in shape)
    figure = Figure(figsize=(n_columns / 100, n_rows / 100), dpi=100, facecolor="black")
    canvas = FigureCanvasAgg(figure)
    # A square that is larger than the picture, because matplotlib clips at the edges of the axes.
    sides = (1.5, 1.5 * n_columns / n_rows)
    axes: Any = figure.add_axes((0, 0, *sides), projection="3d")
    axes.set_facecolor("none")
    points = cortex.inflated[cortex.part(hemisphere)]
    # Draw only the triangles that face the viewer, who looks along the first axis.
    first, second, third = points[cortex.faces].transpose(1, 0, 2)
    towards = 1 if (hemisphere == "right") == (side == "lateral") else -1
    faces = cortex.faces[towards * np.cross(second - first, third - first)[:, 0] > 0]
    mesh = InMemoryMesh(points.copy(), faces)
    plot_surf(mesh, hemi=hemisphere, view=side, colorbar=False, axes=axes, figure=figure)
    # nilearn centres the mesh and stretches it to the axes. Here all directions have the same scale.
    points = points - points.mean(axis=0)
    axes.set(**{f"{axis}lim": (-LENGTH_MM / 2, LENGTH_MM / 2) for axis in "xyz"})
    axes.set_proj_type("ortho")
    axes.set_box_aspect((1, 1, 1), zoom=1)
    found = np.ptp(_flatten(axes, points)[:, 0]) / np.ptp(points[:, 1])
    axes.set_box_aspect((1, 1, 1), zoom=n_columns / LENGTH_MM / found)
    flat = _flatten(axes, points)
    off_centre = (flat.min(axis=0) + flat.max(axis=0)) / 2 / (n_columns, n_rows) - 0.5
    axes.set_position((-off_centre[0], -off_centre[1], *sides))
    _number_triangles(axes.collections[0], len(faces))
    canvas.draw()
    red, green, blue = np.asarray(canvas.buffer_rgba())[::-1, :, :3].astype(np.int32).transpose(2, 0, 1)
    number = (red << 16) + (green << 8) + blue
    rows, columns = np.nonzero(number)
    vertices = faces[number[rows, columns] - 1]
    weights = _barycentric(np.column_stack([columns, rows]) + 0.5, _flatten(axes, points)[vertices])
    place = rows // SUPERSAMPLED * width + columns // SUPERSAMPLED
    return View(shape, place, vertices + cortex.part(hemisphere).start, weights)


def _flatten(axes: Any, points: Real) -> Real:
    """Project points (n, 3) to pixels (n, 2) of the canvas."""
    axes.apply_aspect()
    x, y, _ = proj3d.proj_transform(*points.T, axes.get_proj())
    return axes.transData.transform(np.column_stack([x, y]))


def _number_triangles(triangles: Any, n_triangles: int) -> None:
    """Give each triangle its number, from 1, as its colour."""
    numbers = np.arange(1, n_triangles + 1)
    colours = np.stack([numbers >> 16, numbers >> 8 & 255, numbers & 255, np.full_like(numbers, 255)], axis=1) / 255
    triangles.set_facecolors(colours)
    # Without edges, single pixels between triangles would stay empty.
    triangles.set_edgecolors(colours)


def _barycentric(pixels: Real, triangles: Real) -> npt.NDArray[np.float32]:
    """Return the weights of the corners of triangles (n, 3, 2) at pixels (n, 2); none is below 0."""
    first, second, third = triangles.transpose(1, 2, 0)
    (ax, ay), (bx, by), (px, py) = second - first, third - first, pixels.T - first
    area = ax * by - ay * bx
    # Triangles that are seen from the edge have no area.
    area[np.abs(area) < 1e-6] = 1e-6
    weights = np.empty((len(pixels), 3), np.float32)
    weights[:, 1] = (px * by - py * bx) / area
    weights[:, 2] = (ax * py - ay * px) / area
    weights[:, 0] = 1 - weights[:, 1] - weights[:, 2]
    weights = np.clip(weights, 0, 1)
    return weights / weights.sum(axis=1, keepdims=True)


class Canvas(NamedTuple):
    """A view with its anatomy, on which maps are painted."""

    view: View
    grey: npt.NDArray[np.uint8]  # (n_pixels,)
    base: Real  # (height, width), the grey as shown, 0 outside the hemisphere
    opacity: Real  # (height, width), 0 to 1

    def paint(self, values: Real, scale: Scale) -> npt.NDArray[np.uint8]:
        """Paint the values of the vertices (n_vertices,) in the colours of the slices; NaN is not shown.

        Returns
        -------
        array of shape (height, width, 4)
            Colour and opacity; the first row is the lowest.
        """
        found = self.view.at(np.nan_to_num(values))
        shown = np.flatnonzero((found >= scale.threshold) | (found <= -scale.negative_threshold))
        colours = paint(found[shown, None], np.ones((len(shown), 1)), scale)[:, 0]
        view = self.view._replace(place=self.view.place[shown])
        added = [view.average(colours[:, channel] - self.grey[shown].astype(float)) for channel in range(3)]
        summed = self.base[..., None] + np.stack(added, axis=-1)
        colour = summed / np.maximum(self.opacity, 1 / 255)[..., None]
        return np.round(np.dstack([np.clip(colour, 0, 255), 255 * self.opacity])).astype(np.uint8)


def draw_canvas(cortex: Cortex, share: Real, hemisphere: str, side: str, width: int) -> Canvas:
    """Draw a view with light gyri, dark sulci, and almost white on the medial wall and outside the mask.

    Parameters
    ----------
    cortex, hemisphere, side, width
        As in `draw_view`.
    share : array of shape (n_vertices,)
        From `share_in_mask`.
    """
    view = draw_view(cortex, hemisphere, side, width)
    grey = np.where(view.at(cortex.sulcal_depth) > 0, SULCUS, GYRUS)
    grey[view.at(share) < LEAST_SHARE] = NO_DATA
    return Canvas(view, grey.astype(np.uint8), view.average(grey), view.average(np.ones(len(grey))))


class OnCortex(NamedTuple):
    """A map on the cortex, and where it is shown."""

    values: Real  # (n_vertices,), NaN outside the mask and on the medial wall
    is_shown: npt.NDArray[np.bool_]  # (n_vertices,)

    def drawn(self, scale: Scale) -> Real:
        """Return the values as they are drawn: those of clusters that are not shown stay below the threshold."""
        hidden = np.clip(self.values, -BELOW * scale.negative_threshold, BELOW * scale.threshold)
        return np.where(self.is_shown, self.values, hidden)

    @property
    def is_on_cortex(self) -> bool:
        """Whether more is shown than a few vertices, which may be out of sight."""
        return float(self.is_shown.mean()) >= LEAST_ON_CORTEX

    def note(self, cortex: Cortex) -> str:
        """Say what the surfaces cannot show; empty if there is nothing to say."""
        outside = float(np.isnan(self.values[cortex.is_cortex]).mean())
        shown = "hardly any" if self.is_shown.any() else "no"
        notes = [] if self.is_on_cortex else [f"{shown} part of the cortex reaches the threshold; see the glass brain"]
        notes += [f"{100 * outside:.0f} % of the cortex is outside the mask (pale)"] if outside >= LEAST_NOTED else []
        return "; ".join(notes)


def show_on_cortex(data: Real, thresholded: Real, scale: Scale, share: Real, places: Real) -> OnCortex:
    """Sample a map on the cortex, and find the vertices that are shown.

    Parameters
    ----------
    data : array of shape (nx, ny, nz)
    thresholded : array of shape (nx, ny, nz)
        The same map, 0 where it is not shown: below the threshold, and in small clusters.
    scale : Scale
    share : array of shape (n_vertices,)
        From `share_in_mask`.
    places : array of shape (3, n_places)
        From `places_of`.
    """
    values = sample_map(data, share, places)
    is_shown = (values >= scale.threshold) | (values <= -scale.negative_threshold)
    is_shown[is_shown] = is_near(thresholded != 0, places, np.flatnonzero(is_shown))
    return OnCortex(values, is_shown)


class GlassBrain:
    """nilearn's glass brain. Its outlines are drawn once, and laid over all maps."""

    def __init__(self, height_mm: float, dpi: int) -> None:
        """Draw the outlines. `height_mm` is the height of a view."""
        use_style()
        # Twice as large with half the resolution, so that the lines are half as thick. Wide enough for all views.
        inches = 2 * height_mm / MM_PER_INCH
        figure = Figure(figsize=(4.5 * inches, inches), dpi=dpi / 2, facecolor="none")
        self.canvas = FigureCanvasAgg(figure)
        self.display = plot_glass_brain(None, display_mode=GLASS_VIEWS, figure=figure, plot_abs=False, annotate=False)
        self.outlines = self._pixels()
        for panel in self.display.axes.values():
            for patch in list(panel.ax.patches):
                patch.remove()

    def draw(self, volume: Volume, scale: Scale) -> dict[str, npt.NDArray[np.uint8]]:
        """Draw a map; values that are not shown are 0.

        Returns
        -------
        dict of str to array of shape (height, width, 3)
            The picture of each of `GLASS_VIEWS`; the first row is the lowest.
        """
        end = scale.brightest
        levels = np.linspace(-end, end, N_COLOURS)
        colours = ListedColormap(paint(levels[:, None], np.ones((N_COLOURS, 1)), scale)[:, 0] / 255)
        if volume.data.any():
            img = nib.Nifti1Image(volume.data, volume.affine)
            self.display.add_overlay(img, threshold=1e-6, vmin=-end, vmax=end, cmap=colours)
        pixels = blend(self.outlines, on_white(self._pixels()))
        pictures = {}
        for name, panel in self.display.axes.items():
            box = panel.ax.get_window_extent()
            pictures[name] = pixels[round(box.y0) : round(box.y1), round(box.x0) : round(box.x1)]
            for picture in list(panel.ax.images):
                picture.remove()
        return pictures

    def _pixels(self) -> npt.NDArray[np.uint8]:
        self.canvas.draw()
        return np.asarray(self.canvas.buffer_rgba())[::-1].copy()


def on_white(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Lay a picture with opacity (height, width, 4) on white."""
    return blend(picture, np.full((*picture.shape[:2], 3), 255, np.uint8))
