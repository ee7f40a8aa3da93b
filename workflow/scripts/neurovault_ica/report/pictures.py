"""Convert pictures to data URIs, so that the page needs no other file."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from neurovault_ica.figures.slices import NEGATIVE, POSITIVE
from neurovault_ica.types import Row

# Glass brains show absolute values from this share of the end of the image's colour scale on.
GLASS_THRESHOLD = 0.3
# Number of colours of each sign. With 16, a picture has 34 colours and a small PNG.
GLASS_LEVELS = 16
# Largest width and height of a component's figure on the page, in pixels. The files for print have more than a screen
# shows.
MOST_PIXELS = 1650
GLASS_GREY = (0.5, 0.53, 0.57, 0.27)  # RGBA of the outline


def data_uri(image: Image.Image, kind: str, **options: Any) -> str:
    """Convert a picture to a data URI."""
    packed = io.BytesIO()
    image.save(packed, kind, **options)
    return f"data:image/{kind.lower()};base64," + base64.b64encode(packed.getvalue()).decode("ascii")


def read_figure(figure: str) -> str:
    """Convert a figure to WebP, which is a fifth of the PNG's size and half of a JPEG's, with sharp text."""
    with Image.open(figure) as image:
        shown = image.convert("RGB")
    shown.thumbnail((MOST_PIXELS, MOST_PIXELS), Image.Resampling.LANCZOS)
    # Method 4 would save 4 % of the size, and take twice as long.
    return data_uri(shown, "WEBP", quality=90, method=2)


def read_chart(figure: str) -> str:
    """Convert a chart or heat map to lossless WebP. For few colours it is sharper and smaller than lossy WebP."""
    with Image.open(figure) as image:
        return data_uri(image.convert("RGB"), "WEBP", lossless=True, method=4)


def read_scan(files: Sequence[str], images: str) -> Row | None:
    """Read the figure and the advice of scan_components.

    Parameters
    ----------
    files : sequence of path
        orders.tsv, orders.png and advice.txt; empty if no scan was run.
    images : path
        stack_images/images.tsv. If the scan is older, it was run on other images, and the result is None.
    """
    if len(files) < 3 or min(Path(file).stat().st_mtime for file in files) < Path(images).stat().st_mtime:
        return None
    return {"figure": read_chart(files[1]), "advice": Path(files[2]).read_text(encoding="utf-8").splitlines()}


def embed_thumbnail(file: str) -> Row:
    """Read a thumbnail, which is transparent around the brain, and its size in pixels."""
    with Image.open(file) as image:
        return {"picture": data_uri(image.convert("RGBA"), "WEBP", quality=80, method=2), "size": image.size}


def embed_views(file: str) -> Row:
    """Read a picture with four views side by side (plot_surfaces), and put lateral views above, medial ones below."""
    with Image.open(file) as image:
        width = image.width // 4
        views = [image.crop((k * width, 0, (k + 1) * width, image.height)) for k in range(4)]
        both = Image.new("RGBA", (2 * width, 2 * image.height))
        for k, place in enumerate(((0, 0), (0, image.height), (width, image.height), (width, 0))):
            both.paste(views[k], place)
        return {"picture": data_uri(both, "WEBP", quality=80, method=2), "size": both.size}


def add_surface_pictures(
    components: Sequence[Row], figures: Sequence[str], surfaces: Sequence[str], glass: Sequence[str]
) -> None:
    """Add to each component the pictures of plot_surfaces. All three arguments are empty if it did not run."""
    none = [""] * len(components)
    rows = zip(components, figures or none, surfaces or none, glass or none, strict=True)
    for component, figure, surface, brain in rows:
        component["surface_figure"] = figure and read_figure(figure)
        if figure:
            component |= {"surface_views": embed_views(surface), "glass_brain": embed_thumbnail(brain)}


def add_pictures(
    components: Sequence[Row],
    *,
    figures: Sequence[str],
    thumbnails: Sequence[str],
    networks: Sequence[str],
    charts: Mapping[str, Sequence[str]],
) -> None:
    """Add to each component its pictures. All files are in the order of the components.

    `charts` has the files of each chart by its name. Without `networks`, or without files of a chart, the picture is an
    empty text.
    """
    none = [""] * len(components)
    rows = zip(components, figures, thumbnails, networks or none, strict=True)
    for place, (component, figure, thumbnail, network) in enumerate(rows):
        component |= {"figure": read_figure(figure), "thumbnail": embed_thumbnail(thumbnail)}
        component["network_figure"] = network and read_figure(network)
        component["charts"] = {name: files and read_chart(files[place]) for name, files in charts.items()}


def draw_glass(codes: npt.NDArray[np.int8], outline: npt.NDArray[np.bool_]) -> str:
    """Colour a glass brain from plot_images on a grey outline; the rest is transparent."""
    size = np.abs(codes.astype(np.int16))
    levels = np.arange(GLASS_LEVELS)
    steps = np.minimum(size * GLASS_LEVELS // 128, GLASS_LEVELS - 1)
    chosen = np.where(size >= GLASS_THRESHOLD * 127, 2 + steps + GLASS_LEVELS * (codes < 0), outline)
    colours = [POSITIVE(levels / GLASS_LEVELS), NEGATIVE(levels / GLASS_LEVELS)]
    palette = np.vstack([[(1, 1, 1, 0), GLASS_GREY], *colours])
    image = Image.fromarray(chosen.astype(np.uint8), "P")
    image.putpalette(np.round(255 * palette).astype(np.uint8).tobytes(), "RGBA")
    return data_uri(image, "PNG", optimize=True)


def read_glass(file: str) -> dict[str, str]:
    """Read the glass brains of all images, by image id."""
    with np.load(file) as glass:
        outline = glass["outline"]
        return {
            str(number): draw_glass(codes, outline)
            for number, codes in zip(glass["image_ids"], glass["pictures"], strict=True)
        }
