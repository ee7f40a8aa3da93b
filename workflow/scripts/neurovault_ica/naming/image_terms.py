"""Decode images: correlate each image with the term maps that build_term_maps made."""

from collections.abc import Iterator, Sequence

import nibabel as nib
import numpy as np

from neurovault_ica.archive.term_answers import CheckedTerms
from neurovault_ica.images.matrix import image_blocks, standardize
from neurovault_ica.naming.built_maps import coarse_grid, read_built_maps
from neurovault_ica.runtime.threads import one_blas_thread
from neurovault_ica.runtime.wording import counted
from neurovault_ica.types import Real, Row

# Digits after the point. More would only make the tables larger: differences in the fourth digit are already chance.
R_DECIMALS = 4


def decode_images(
    wanted: Sequence[Row], quality: Sequence[Row], voxels: str, mask: str, maps: str
) -> Iterator[CheckedTerms]:
    """Yield the term weights of each image: Pearson's r with the map of each term, over the voxels of the maps.

    Parameters
    ----------
    wanted : sequence of mappings
        Rows of images.tsv.
    quality : sequence of mappings
        Rows of quality-{batch}.tsv for the images of the batch.
    voxels : path
        Array of the batch's usable images x voxels.
    mask : path
        The mask of these voxels.
    maps : path
        The folder that build_term_maps writes.

    Yields
    ------
    CheckedTerms
        In the order of `wanted`. An image that could not be read has no weights, with a reason.
    """
    row_of = {row["image_id"]: row["row"] for row in quality if row["row"] is not None}
    terms, r = correlate(voxels, mask, maps)
    for image in wanted:
        image_id = image["image_id"]
        reason = "no_database" if not terms else None if image_id in row_of else "unusable_image"
        weights = {} if reason else dict(zip(terms, r[row_of[image_id]].tolist(), strict=True))
        status = {"image_id": image_id, "terms": len(weights), "reason": reason, "sha256": None}
        yield CheckedTerms(weights, status, [], 0)


def correlate(voxels: str, mask: str, maps: str) -> tuple[list[str], Real]:
    """Correlate all images of a batch with all maps. Return the terms, and r (n_images, n_terms), rounded."""
    built = read_built_maps(maps)
    mask_img = nib.load(mask)
    points = coarse_grid(np.asarray(mask_img.dataobj) > 0, np.asarray(mask_img.affine, dtype=np.float64)).points
    if np.count_nonzero(points) != built.maps.shape[1]:
        raise RuntimeError(
            f"the term maps in {maps} have {counted(built.maps.shape[1], 'voxel')}, but the mask {mask} has"
            f" {np.count_nonzero(points)} on their grid; run snakemake --forcerun build_term_maps"
        )
    X = np.load(voxels, mmap_mode="r")
    r = np.empty((len(X), len(built.terms)), dtype=np.float64)
    with one_blas_thread():
        y = standardize(np.asarray(built.maps))
        for block in image_blocks(X):
            r[block.where] = standardize(block.read()[:, points]) @ y.T
    return built.terms, r.round(R_DECIMALS)
