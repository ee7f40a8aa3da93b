"""Reuse the masked voxels of unchanged images from the last run, so that an update masks only new images.

Snakemake deletes the outputs of a job before it runs. So each job keeps a list of its images, and hard links to its
voxels, which take no space on the disk. The next job reuses the voxels of an image under two conditions. Its file, the
mask, the settings, the code and the libraries are the same. The voxels still have their checksum.
"""

import hashlib
import inspect
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from neurovault_ica.images.matrix import read_rows
from neurovault_ica.runtime.files import sha256_of, temporary_path, write_json
from neurovault_ica.runtime.tables import read_table
from neurovault_ica.types import Row

FOLDER = "kept"
# Columns of status-{batch}.tsv that are equal if the file of an image is unchanged.
IDENTITY = ("sha256", "file")
# Libraries whose versions may change the last digit of a voxel.
LIBRARIES = ("numpy", "scipy", "nibabel", "nilearn")


class Kept(NamedTuple):
    """The images of an earlier run of the same job."""

    images: dict[str, Row]  # by image id: sha256, file, and crc32 of the voxels (None without voxels)
    quality: dict[str, Row]  # by image id: the row of the quality table
    voxels: npt.NDArray[np.float32]  # (n_usable, n_voxels), mapped

    def find(self, image: Mapping[str, Any]) -> tuple[Row, npt.NDArray[np.float32] | None] | None:
        """Return the quality row and the voxels of an unchanged image; None if it has to be masked.

        Parameters
        ----------
        image : mapping
            Its row in status-{batch}.tsv.
        """
        known, row = self.images.get(image["image_id"]), self.quality.get(image["image_id"])
        if not known or not row or image["sha256"] is None or any(known[key] != image[key] for key in IDENTITY):
            return None
        if known["crc32"] is None and row["row"] is None:  # the image is unusable
            return row, None
        if known["crc32"] is None or row["row"] is None or row["row"] >= len(self.voxels):
            return None
        values = read_rows(self.voxels, slice(row["row"], row["row"] + 1))[0]
        return (row, values) if isal_zlib.crc32(values.data) == known["crc32"] else None


def fingerprint(settings: Mapping[str, Any], files: Sequence[str | Path], main: Callable[..., Any]) -> str:
    """Return a checksum of everything that the voxels depend on, except the image.

    Parameters
    ----------
    settings : mapping
    files : sequence of path
        The mask of the analysis, and the brain mask.
    main : function
        Main function of the script. All functions of the script are included, and all loaded modules of the package.
    """
    script = vars(sys.modules[main.__module__]).values()
    functions = [one for one in script if inspect.isfunction(one) and one.__module__ == main.__module__]
    loaded = [module for name, module in sys.modules.items() if name.startswith("neurovault_ica")]
    modules = {module.__name__: sha256_of(module.__file__) for module in loaded if module.__file__}
    content = [
        dict(settings),
        [sha256_of(file) for file in files],
        [inspect.getsource(one) for one in functions],
        sorted(modules.items()),
        [version(library) for library in LIBRARIES],
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_kept(voxels: str | Path, quality: str | Path, code: str) -> Kept | None:
    """Read what an earlier run of this job has kept. None if there is nothing, or if its fingerprint differs.

    Parameters
    ----------
    voxels, quality : path
        The job's outputs, voxels-{batch}.npy and quality-{batch}.tsv.
    code : str
        From `fingerprint`.
    """
    try:
        content = json.loads(_list_of(voxels).read_text(encoding="utf-8"))
        if content["fingerprint"] != code:
            return None
        rows = read_table(_kept(quality), described_as="mask_images/quality.tsv")
        mapped = np.load(_kept(voxels), mmap_mode="r")
        return Kept(content["images"], {row["image_id"]: row for row in rows}, mapped)
    except (OSError, ValueError, LookupError, TypeError):
        # The files are missing, damaged or of another version, so the images are masked again.
        return None


def keep(voxels: str | Path, quality: str | Path, code: str, images: Mapping[str, Row]) -> None:
    """Keep the outputs of a finished job for the next one.

    Parameters
    ----------
    voxels, quality, code
        As in `read_kept`.
    images : mapping
        As in `Kept`.
    """
    try:
        for file in (voxels, quality):
            link = temporary_path(_kept(file))
            link.unlink(missing_ok=True)
            os.link(file, link)
            link.replace(_kept(file))
    except OSError as error:
        # Some network file systems have no hard links. A copy would double the space, so nothing is kept.
        logging.debug("the voxels are not kept for the next run: %s", error)
        return
    write_json(_list_of(voxels), {"fingerprint": code, "images": images})


def forget(voxels: str | Path, quality: str | Path) -> None:
    """Remove what `keep` has kept of these outputs, if anything."""
    for file in (_kept(voxels), _kept(quality), _list_of(voxels)):
        file.unlink(missing_ok=True)


def forget_other_batches(voxels: Sequence[str | Path]) -> None:
    """Remove what batches other than these have left, because a run with more batches may have left many GB.

    Parameters
    ----------
    voxels : sequence of path
        Files voxels-{batch}.npy of all batches of this run, in one folder.
    """
    folder = Path(voxels[0]).parent
    batches = {_batch_of(file) for file in voxels}
    for place in (folder, folder / FOLDER):
        for file in [*place.glob("voxels-*.*"), *place.glob("quality-*.*")]:
            if _batch_of(file) not in batches:
                file.unlink()


def _batch_of(file: str | Path) -> str:
    return Path(file).stem.rpartition("-")[2]


def _kept(file: str | Path) -> Path:
    """Return the second name of an output."""
    return Path(file).parent / FOLDER / Path(file).name


def _list_of(voxels: str | Path) -> Path:
    """Return the file that lists the images whose voxels are kept."""
    return _kept(voxels).with_suffix(".json")
