"""Compare ways to prepare images by how well the components are reproduced, and how well they match known networks.

The script reads a finished run with `mask_images.smoothing_mm: null` and `stack_images.signs: together`. It decomposes
the run's matrix with and without smoothing and split signs. For each of these ways, it prints

- the mean best |r| of reference networks with the components, over random subsets of 80 % of the collections, with the
  standard error of the differences from the first row
- the same for the maps of build_term_maps, if the run has some
- the best |r| of the default mode network, with all collections
- the mean |r| of components matched one to one between two halves of the collections, minus that of all other pairs

    python benchmarks/components.py results [--components 20] [--repeats 10] [--ways "none,6 split"]
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

sys.path.append(str(Path(__file__).parent.parent / "workflow" / "scripts"))

import nibabel as nib
import numpy as np
import numpy.typing as npt
from neurovault_ica.decomposition.algorithms import Settings
from neurovault_ica.decomposition.consensus import find_consensus
from neurovault_ica.decomposition.gram import gram_matrix, principal_axes
from neurovault_ica.decomposition.stability import draw_halves
from neurovault_ica.images.matrix import Rows, read_rows, standardize
from neurovault_ica.images.signs import Halves, find_scales, rows_of, scales_of
from neurovault_ica.images.smoothing import Smoother
from neurovault_ica.images.targets import Target, target_of
from neurovault_ica.naming.built_maps import coarse_grid, read_built_maps
from neurovault_ica.naming.references import read_reference
from neurovault_ica.runtime.ids import number_groups
from neurovault_ica.runtime.tables import read_table
from nibabel.spatialimages import SpatialImage
from scipy.optimize import linear_sum_assignment
from threadpoolctl import threadpool_limits

Array = npt.NDArray[Any]
SHARE_OF_COLLECTIONS = 0.8
N_RESTARTS = 5
SETTINGS = Settings("fastica", 0, 500, 1e-4)
DEFAULT_MODE = "default mode"


class Images(NamedTuple):
    """Images prepared in one way."""

    X: Rows
    mean: Array
    gram: Array
    collections: list[str]  # of each row


def prepare(run: Path, way: str, target: Target, threads: int) -> Images:
    """Smooth and split the images of a run: ``none``, ``6``, ``split`` or ``6 split``, where 6 is the FWHM in mm."""
    X = np.load(run / "stack_images/matrix.npy")
    used = read_table(run / "stack_images/images.tsv")
    width = way.removesuffix("split").strip()
    if width not in ("", "none"):
        smooth = Smoother(target, float(width))
        X = np.stack([smooth(image) for image in X])
    X /= X.std(axis=1, keepdims=True)
    rows: Rows = X
    if way.endswith("split"):
        used = [row | find_scales(image, scale="unit_variance") for row, image in zip(used, X, strict=True)]
        rows = Halves(X, scales_of(used))
    return Images(rows, *gram_matrix(rows, threads), [row["collection_id"] for row in rows_of(used)])


def decompose(images: Images, kept: Array, n_components: int, threads: int) -> Array:
    """Find components in some rows (a boolean array), as run_ica does; return maps (n_components, n_voxels)."""
    eigenvalues, U = principal_axes(images.gram[np.ix_(kept, kept)], n_components)
    K = np.zeros((n_components, len(kept)))
    K[:, kept] = (U[:, :n_components] / np.sqrt(eigenvalues[:n_components])).T
    Z = np.zeros((n_components, images.X.shape[1]), np.float32)
    for row in np.flatnonzero(kept).tolist():
        Z += K[:, row, None].astype(np.float32) * (
            read_rows(images.X, slice(row, row + 1)) - np.float32(images.mean[row])
        )
    return find_consensus(Z, N_RESTARTS, SETTINGS, threads=threads).solution.R.astype(np.float32) @ Z


def gap(first: Array, second: Array) -> float:
    """Match maps one to one; return the mean |r| of the matches minus that of all other pairs."""
    r = np.abs(standardize(first) @ standardize(second).T)
    matched = np.zeros(r.shape, dtype=bool)
    matched[linear_sum_assignment(-r)] = True
    return float(r[matched].mean() - r[~matched].mean())


def draw_subsets(collections: Sequence[str], repeats: int) -> list[Array]:
    """Draw subsets of the collections; each is a set of collection ids."""
    names = number_groups(collections)[0]
    rng = np.random.default_rng(0)
    size = round(SHARE_OF_COLLECTIONS * len(names))
    return [rng.choice(np.array(names), size=size, replace=False) for _ in range(repeats)]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--components", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--ways", default="none,6,split,6 split")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    mask_img = cast(SpatialImage, nib.load(options.results / "stack_images/mask.nii.gz"))
    target = target_of(mask_img)
    networks = read_reference("seitzman_2018", target, data_dir="data")
    known: dict[str, tuple[Any, Array]] = {"networks": (slice(None), standardize(networks.maps))}
    if (options.results / "build_term_maps/term_maps.npy").is_file():
        points = coarse_grid(np.asarray(mask_img.dataobj) > 0, np.asarray(mask_img.affine)).points
        known["term maps"] = (points, standardize(read_built_maps(options.results / "build_term_maps").maps))
    default_mode = networks.names.index(DEFAULT_MODE)
    first: Array | None = None
    print("way", *known, "default mode", "gap of halves", sep="\t")
    for way in options.ways.split(","):
        images = prepare(options.results, way, target, options.threads)
        how = {"n_components": options.components, "threads": options.threads}

        def best(maps: Array) -> Array:
            return np.array(
                [np.abs(y @ standardize(maps[:, where]).T).max(axis=1).mean() for where, y in known.values()]
            )

        scores = np.array(
            [
                best(decompose(images, np.isin(images.collections, chosen), **how))
                for chosen in draw_subsets(images.collections, options.repeats)
            ]
        )
        maps = decompose(images, np.ones(len(images.collections), dtype=bool), **how)
        found = np.abs(known["networks"][1][default_mode] @ standardize(maps).T).max()
        halves = draw_halves(images.collections, options.repeats, 0)
        parts = [decompose(images, half > 0, **how) for half in halves]
        gaps = np.array([gap(one, other) for one, other in zip(parts[::2], parts[1::2], strict=True)])
        scores = np.column_stack([scores, gaps])
        first = scores if first is None else first
        change = scores - first
        error = change.std(axis=0, ddof=1) / np.sqrt(options.repeats)
        cells = [
            f"{mean:.3f} ({difference:+.3f} ± {se:.3f})"
            for mean, difference, se in zip(scores.mean(axis=0), change.mean(axis=0), error, strict=True)
        ]
        print(way, *cells[:-1], f"{found:.2f}", cells[-1], sep="\t", flush=True)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
