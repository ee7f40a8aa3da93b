"""Write the .npy files of images x voxels: one per batch, and the matrix that joins them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from neurovault_ica.images.matrix import read_rows
from neurovault_ica.images.signs import find_scales
from neurovault_ica.runtime.files import replacing
from neurovault_ica.runtime.threads import in_order

Smooth = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]


def write_npy_header(stream: IO[bytes], shape: tuple[int, int]) -> None:
    """Write the header of a float32 .npy file. It can later be overwritten with another number of rows."""
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})


def require_voxels(files: Sequence[str]) -> None:
    """Stop if files of voxels are missing, because an earlier attempt at this job was killed while it removed them.

    Raises
    ------
    RuntimeError
        If a file does not exist.
    """
    missing = [file for file in files if not Path(file).exists()]
    if missing:
        raise RuntimeError(
            f"files of voxels are missing ({len(missing)} of {len(files)}), such as {missing[0]}. With"
            " mask_images.keep_voxels: false, an earlier attempt at this job removed them while it wrote the matrix."
            " Run again to mask their images again"
        )


class StackedVoxels:
    """The images of several batch files as one sequence of rows, which are read only when they are used.

    Parameters
    ----------
    files : list of path
        voxels-{batch}.npy, each (n_images_of_batch, n_voxels).
    places : list of (int, int)
        For each row of the stack, the number of the file and the row in it.
    """

    def __init__(self, files: Sequence[str], places: Sequence[tuple[int, int]]) -> None:
        self._files = files
        self._places = places
        self.shape = (len(places), np.load(files[0], mmap_mode="r").shape[1])

    def __len__(self) -> int:
        """Count the rows."""
        return len(self._places)

    def __getitem__(self, number: int) -> npt.NDArray[np.float32]:
        """Read one row (n_voxels,)."""
        file, row = self._places[number]
        # Open the file for each row, because there can be more files than a process may keep open.
        return read_rows(np.load(self._files[file], mmap_mode="r"), slice(row, row + 1))[0]

    def from_the_end(self, numbers: Sequence[int]) -> list[int]:
        """Sort the indices of `numbers` in the order that `take` needs: by file, the last row of each file first."""
        return sorted(range(len(numbers)), key=lambda index: self._places[numbers[index]], reverse=True)

    def take(self, numbers: Sequence[int]) -> Iterator[npt.NDArray[np.float32]]:
        """Read rows, and free their space on the disk.

        Each file is removed from its folder before its first row is read; its open handle still gives the rows. So a
        killed run leaves no incomplete file. The next run masks the images of the removed files again.

        Parameters
        ----------
        numbers : sequence of int
            Rows in the order of `from_the_end`. Other rows of the files are lost.
        """
        for file, group in groupby(numbers, key=lambda number: self._places[number][0]):
            path = Path(self._files[file])
            start = np.load(path, mmap_mode="r").offset
            with path.open("r+b") as stream:
                path.unlink()
                for number in group:
                    end = start + self._places[number][1] * self.shape[1] * np.dtype(np.float32).itemsize
                    stream.seek(end)
                    voxels = np.fromfile(stream, np.float32, self.shape[1])
                    stream.truncate(end)
                    yield voxels


def write_matrix(
    path: str,
    stack: StackedVoxels,
    rows: Sequence[int],
    *,
    scale: str,
    signs: str = "together",
    smooth: Smooth | None = None,
    threads: int = 1,
    take: bool = False,
) -> list[dict[str, float]]:
    """Write rows of a stack to a .npy file, one at a time, smoothed and scaled.

    Parameters
    ----------
    path : path
        The file to write: float32 (n_rows, n_voxels).
    stack : StackedVoxels
    rows : sequence of int
        Rows of `stack`, in the order of the matrix.
    scale : {"unit_variance", "none"}
        Whether each image is divided by its standard deviation. Units differ (z of 5, betas of 1000), and without
        scaling, images with large numbers dominate the decomposition.
    signs : {"together", "split"}
        Whether to compute the scales of both halves of each image; see `signs.Halves`.
    smooth : callable, optional
        Smooths an image (n_voxels,), before it is scaled.
    threads : int
        The result does not depend on their number.
    take : bool
        Whether to remove the files of the stack while they are read, so that the images are never on the disk twice.

    Returns
    -------
    list of dict
        Columns of images.tsv for each row: ``sd``, the standard deviation after smoothing and before scaling; with
        split signs, also the columns of `signs.find_scales`.
    """

    def prepare(image: Any) -> tuple[npt.NDArray[np.float32], dict[str, float]]:
        voxels = image if take else stack[image]
        if smooth is not None:
            voxels = smooth(voxels)
        sd = float(voxels.std(dtype=np.float64))
        if scale == "unit_variance":
            voxels /= np.float32(sd)
        return voxels, {"sd": sd} | (find_scales(voxels, scale=scale) if signs == "split" else {})

    order = stack.from_the_end(rows) if take else list(range(len(rows)))
    wanted = [rows[place] for place in order]
    # Threads read the rows. Rows are taken in order, because this shortens their files.
    images: Iterable[Any] = stack.take(wanted) if take else wanted
    columns: list[dict[str, float]] = [{} for _ in rows]
    with replacing(path) as temporary, temporary.open("wb") as stream:
        write_npy_header(stream, (len(rows), stack.shape[1]))
        start = stream.tell()
        for place, (voxels, of_row) in zip(order, in_order(prepare, images, threads), strict=True):
            columns[place] = of_row
            stream.seek(start + place * voxels.nbytes)
            stream.write(voxels.data)
    return columns
