"""Draw the images: quality measures, coverage, correlations, and a glass brain of each image."""

import logging
from collections import Counter
from collections.abc import Sequence

import nibabel as nib
import numpy as np
from neurovault_ica.figures.glass_brains import glass_brains, glass_outline
from neurovault_ica.figures.images import draw_coverage, draw_image_correlations, draw_quality
from neurovault_ica.figures.sheet import save_figure
from neurovault_ica.figures.slices import read_template
from neurovault_ica.images.boxes import bounding_box
from neurovault_ica.images.criteria import Limits
from neurovault_ica.images.maps import Volume
from neurovault_ica.images.matrix import correlate_images, count_images
from neurovault_ica.runtime.files import replacing
from neurovault_ica.runtime.ids import as_numbers
from neurovault_ica.runtime.log import log_to
from neurovault_ica.runtime.tables import read_table, write_table
from neurovault_ica.runtime.wording import counted
from neurovault_ica.types import Real

# Pixel size of the glass brains. The report shows them as small thumbnails, and it contains one for each image.
GLASS_MM = 4.0
# With more images, the figure shows correlations of collections, at most as many. It has about one pixel for each.
MOST_CORRELATED = 1000


def tabulate_correlations(
    path: str, correlations: Real, collection_ids: Sequence[str], image_ids: Sequence[str]
) -> None:
    """Write a matrix of correlations, rounded to four digits.

    Parameters
    ----------
    path : path
    correlations : array of shape (n_rows, n_rows)
    collection_ids : sequence
        Collection of each row.
    image_ids : sequence
        Image of each row; empty if the rows are collections.
    """
    columns = [f"r_{name}" for name in image_ids or collection_ids]
    known: Sequence[str | None] = image_ids or [None] * len(collection_ids)
    rows = [
        {"collection_id": collection, "image_id": image} | dict(zip(columns, values, strict=True))
        for collection, image, values in zip(collection_ids, known, np.round(correlations, 4).tolist(), strict=True)
    ]
    write_table(path, rows, ["collection_id", "image_id", *columns])


def largest_collections(of_images: Sequence[str], n: int) -> frozenset[str]:
    """Return the `n` collections with most images, given the collection of each image."""
    sizes = Counter(of_images)
    if len(sizes) > n:
        logging.info("only the %d collections with most images are correlated, of %d", n, len(sizes))
    return frozenset(one for one, _ in sizes.most_common(n))


def main(
    *,
    matrix: str,
    mask: str,
    template: str,
    images: str,
    rejected: str,
    quality: str,
    qualities: list[str],
    voxels: list[str],
    quality_figure: str,
    coverage_figure: str,
    coverage: str,
    correlation_figure: str,
    correlation: str,
    glass: str,
    limits: Limits,
) -> None:
    """Draw the figures and write the numbers behind them."""
    used = read_table(images)
    reasons = {row["image_id"]: row["reason"] for row in read_table(rejected)}
    judged = read_table(quality)
    figure = draw_quality(judged, reasons, limits)
    save_figure(figure, quality_figure, title="Quality of the images")

    mask_img = nib.load(mask)
    inside = np.asarray(mask_img.dataobj) > 0
    counts = np.zeros(inside.shape, np.int32)
    X = np.load(matrix, mmap_mode="r")
    counts[inside] = count_images(X)
    with replacing(coverage) as temporary:
        nib.save(nib.Nifti1Image(counts, mask_img.affine), temporary)
    coverage_map, masked = (Volume(data.astype(np.float32), mask_img.affine) for data in (counts, inside))
    anatomy, box = read_template(template)
    sheet = draw_coverage(coverage_map, masked, anatomy, box, len(used))
    sheet.save(coverage_figure, title="Coverage of the images")

    collections = [(row["collection_id"], row["collection_name"] or str(row["collection_id"])) for row in used]
    image_ids = [row["image_id"] for row in used]
    if len(used) > MOST_CORRELATED:
        largest = largest_collections([collection_id for collection_id, _ in collections], MOST_CORRELATED)
        correlations = correlate_images(X, [one if one in largest else None for one, _ in collections])
        collections, image_ids = [one for one in dict(collections).items() if one[0] in largest], []
    else:
        correlations = correlate_images(X, range(len(used)))
        np.fill_diagonal(correlations, 1)
    tabulate_correlations(correlation, correlations, [collection_id for collection_id, _ in collections], image_ids)
    figure = draw_image_correlations(correlations, collections)
    save_figure(figure, correlation_figure, title="Correlation of the images")

    step = max(1, round(GLASS_MM / float(np.abs(np.linalg.det(mask_img.affine[:3, :3])) ** (1 / 3))))
    brain = inside[bounding_box(inside)]
    # Every readable image, used or rejected. Without mask_images.keep_voxels, only the used ones are left.
    place_of = {row["image_id"]: (X, number) for number, row in enumerate(used)}
    if voxels:
        batches = zip(qualities, (np.load(file, mmap_mode="r") for file in voxels), strict=True)
        place_of = {row["image_id"]: (batch, row["row"]) for table, batch in batches for row in read_table(table)}
    # In the order of the selection, because the order of the batches depends on their number.
    readable = [(row["image_id"], *place_of[row["image_id"]]) for row in judged if row["image_id"] in place_of]
    ids, pictures = glass_brains(
        [(image_id, X, row) for image_id, X, row in readable if row is not None], brain, mask_img.affine, step
    )
    outline = glass_outline(brain, mask_img.affine, step)
    with replacing(glass) as temporary:
        np.savez_compressed(temporary, image_ids=as_numbers(ids), pictures=pictures, outline=outline)
    n_rejected = sum(image_id in reasons for image_id in ids)
    logging.info("drew %s: %d used, %d rejected", counted(len(ids), "image"), len(ids) - n_rejected, n_rejected)


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    main(**snakemake.input, **snakemake.output, **snakemake.params)
