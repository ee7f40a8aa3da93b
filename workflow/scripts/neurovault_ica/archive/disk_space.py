"""Say how much disk space a run needs, stage by stage, before it starts.

Snakemake imports this module while it reads the Snakefile. So it may import only what Snakemake itself depends on.
"""

import gzip
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

# Volume inside nilearn's brain mask, rounded up. Its grey matter mask is smaller.
MASK_MM3 = 1_887_000
NIFTI_HEADER_BYTES = 352
BYTES_PER_VALUE = 4
# Bytes per component for figures, surfaces and the thresholded map. Its whitened data and its map are added separately.
COMPONENT_BYTES = 3_400_000
# Term maps, template, page and figures of the images.
FIXED_BYTES = 30_000_000
# Rows of one image in all tables, and in the arrays of reduce_images, which have two rows if signs are split.
IMAGE_BYTES = 15_000
# A run that needs less than this is mentioned only if the disk is too small for it.
WORTH_SAYING_BYTES = 1e9


class Need(NamedTuple):
    """Largest number of bytes that the stages write. Rejected images make the matrix smaller."""

    mask_images: int  # all batches
    stack_images: int
    others: int
    keeps_voxels: bool
    batches: int

    @property
    def largest(self) -> int:
        """Largest number of bytes on the disk at the same time."""
        images = self.mask_images + self.stack_images * self.keeps_voxels
        return images + self.others


def needed(config: Mapping[str, Any], n_images: int, results: str | Path = "results") -> Need | None:
    """Estimate the disk space of a run; None if the mask is a file whose number of voxels is not known yet.

    Parameters
    ----------
    config : mapping
        The configuration.
    n_images : int
        Number of selected images.
    results : path
        Where build_mask may have written the mask.
    """
    n_voxels = _count_voxels(config["mask_images"], Path(results))
    if n_voxels is None:
        return None
    images = n_images * n_voxels * BYTES_PER_VALUE
    maps = config["run_ica"]["n_components"] * (2 * n_voxels * BYTES_PER_VALUE + COMPONENT_BYTES)
    others = maps + FIXED_BYTES + n_images * IMAGE_BYTES
    return Need(images, images, others, config["mask_images"]["keep_voxels"], config["batches"])


def _count_voxels(settings: Mapping[str, Any], results: Path) -> int | None:
    """Return the number of voxels of the mask, from the mask itself if there is one."""
    mask = results / "build_mask/mask.nii.gz"
    try:
        # build_mask writes ones and zeros, in one byte each.
        return gzip.decompress(mask.read_bytes())[NIFTI_HEADER_BYTES:].count(1)
    except (OSError, EOFError):
        is_ours = settings["mask"] in ("brain", "gray_matter")
        return round(MASK_MM3 / settings["resolution_mm"] ** 3) if is_ours else None


def still_needed(need: Need, results: str | Path = "results") -> int:
    """Return the number of bytes that a run has still to write."""
    have = {name: used_bytes(Path(results) / name) for name in ("mask_images", "stack_images")}
    masked = max(0, need.mask_images - have["mask_images"])
    stacked = max(0, need.stack_images - have["stack_images"])
    if not need.keeps_voxels:
        # The matrix replaces the voxels.
        return (0 if have["stack_images"] else masked) + need.others
    return masked + stacked + to_replace(need, results) + need.others


def to_replace(need: Need, results: str | Path = "results") -> int:
    """Return the space for new voxels that are on the disk together with those of the last run.

    An update writes the voxels of a batch before it removes the old ones. At most one batch per processor is masked at
    the same time.
    """
    if not need.keeps_voxels:
        return 0
    old = min(used_bytes(Path(results) / "mask_images/kept"), need.mask_images)
    return old * min(need.batches, os.cpu_count() or 1) // need.batches


def used_bytes(folder: Path) -> int:
    """Return the space that the files of a folder take on the disk. A file with several names counts once."""
    found = [path.lstat() for path in folder.rglob("*")] if folder.is_dir() else []
    return 512 * sum({status.st_ino: status.st_blocks for status in found}.values())


def describe(need: Need, n_images: int | str, to_download: int = 0) -> str:
    """Describe what a run needs, stage by stage."""
    place = "" if need.keeps_voxels else ", which stack_images removes while it writes the matrix"
    stages = [
        f"mask_images {need.mask_images / 1e9:.1f} GB{place}",
        f"stack_images {need.stack_images / 1e9:.1f} GB",
        f"other stages {need.others / 1e9:.1f} GB",
    ]
    downloads = f"; {to_download / 1e9:.1f} GB are still to be downloaded" if to_download else ""
    return f"{n_images} images need at most {need.largest / 1e9:.1f} GB in results/: {', '.join(stages)}{downloads}"


def check(
    config: Mapping[str, Any], n_images: int, results: str | Path = "results", *, to_download: int = 0
) -> Iterator[str]:
    """Say how much disk space a run of `n_images` needs, and how much is free. Yield nothing if it needs little.

    Parameters
    ----------
    config, n_images, results
        As in `needed`.
    to_download : int
        Bytes that will be downloaded to the same disk.

    Raises
    ------
    RuntimeError
        If the disk is too small.
    """
    need = needed(config, n_images, results)
    if need is None:
        return
    free = shutil.disk_usage(existing_folder(results)).free
    more = still_needed(need, results) + to_download
    old = to_replace(need, results)
    replacing = f"; new voxels need {old / 1e9:.1f} GB until they replace those of the last run" if old else ""
    text = f"{describe(need, n_images, to_download)}{replacing}. {free / 1e9:.1f} GB are free"
    if more > free:
        less = need.largest - need._replace(keeps_voxels=False).largest
        advice = f"set mask_images.keep_voxels: false ({less / 1e9:.1f} GB less), " if less else ""
        raise RuntimeError(
            f"the disk of {Path(results).absolute()} is too small: {text}, so {(more - free) / 1e9:.1f} GB are missing."
            f" Make space, {advice}select fewer images, raise mask_images.resolution_mm, or run in a folder on a larger"
            " disk"
        )
    if more > WORTH_SAYING_BYTES:
        yield text


def count_selected(config: Mapping[str, Any], results: str | Path = "results") -> int | None:
    """Return the number of selected images.

    Before the selection, return `max_images`; None if there is no such limit, or the images come from a lock.
    """
    try:
        with (Path(results) / "fetch_metadata/images.tsv").open("rb") as table:
            return max(0, sum(1 for _ in table) - 1)
    except OSError:
        limit = config["fetch_metadata"]["max_images"]
        return None if limit is None or config["archive"]["lock"] else int(limit)


def notice(config: Mapping[str, Any], results: str | Path = "results") -> Iterator[str]:
    """Say before the first job what the run needs. Yield nothing if it needs little, or if the matrix exists."""
    n_images = count_selected(config, results)
    if n_images is None or (Path(results) / "stack_images/matrix.npy").exists():
        return
    try:
        yield from (f"Disk: {line}.\n" for line in check(config, n_images, results))
    except RuntimeError as error:
        yield f"Disk: {error}.\n"


def is_same_disk(one: str | Path, other: str | Path) -> bool:
    """Return whether two folders, which need not exist yet, are on the same file system."""
    return existing_folder(one).stat().st_dev == existing_folder(other).stat().st_dev


def existing_folder(folder: str | Path) -> Path:
    """Return the folder or, if it does not exist yet, the nearest existing folder above it."""
    place = Path(os.path.abspath(folder))  # noqa: PTH100  Path.resolve would follow links
    return next(parent for parent in (place, *place.parents) if parent.exists())
