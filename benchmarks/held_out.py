"""Compare the loadings of held-out images with the loadings of the same images in the whole decomposition.

The collections of a finished run are split into folds. For each fold, the images of the other collections are
decomposed. The images of the fold are then projected on these components, as project_images does with a user's maps.
Components are matched one to one with those of the run by their absolute correlation over voxels. The script
prints, over all folds, the correlation of projected loadings with the run's loadings.

    python benchmarks/held_out.py results [--folds 5] [--seed 0]
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent.parent / "workflow" / "scripts"))

import numpy as np
import reduce_images
import run_ica
from neurovault_ica.images.maps import read_maps
from neurovault_ica.images.matrix import image_blocks, open_matrix, standardize
from neurovault_ica.images.signs import rows_of
from neurovault_ica.naming.projection import Projector
from neurovault_ica.runtime.tables import read_table, write_table
from scipy.optimize import linear_sum_assignment
from threadpoolctl import threadpool_limits

FLAGS = dict.fromkeys(
    (
        *("min_iq_restarts", "min_r_restarts", "min_r_bootstraps", "min_r_split_half", "max_collection_share"),
        *("min_grey_matter_share", "max_outside_tissue_share", "max_rim_share"),
    )
)
# Two matched components with a smaller |r| are different components.
SAME = 0.7


def decompose(results: Path, X: np.ndarray, rows: np.ndarray, n: int) -> np.ndarray:
    """Decompose some images of a run and return the component maps (n, n_voxels)."""
    images = [image for number, image in enumerate(read_table(results / "stack_images/images.tsv")) if rows[number]]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = {name: str(folder / "run_ica" / name) for name in ("whitened.npy", "reduction.npz", "matrix.npy")}
        (folder / "run_ica").mkdir()
        (folder / "stack_images").mkdir()
        np.save(files["matrix.npy"], X[rows])
        table = str(folder / "stack_images/images.tsv")
        write_table(table, images, images[0])
        given: dict[str, Any] = {"matrix": files["matrix.npy"], "images": table}
        reduced: dict[str, Any] = {"whitened": files["whitened.npy"], "reduction": files["reduction.npz"]}
        variance = str(folder / "reduce_images/variance.tsv")
        options: dict[str, Any] = {"weight_collections_equally": False, "n_components": n, "threads": 2}
        reduce_images.main(**given, **reduced, variance=variance, **options)
        mask = str(results / "stack_images/mask.nii.gz")
        components = str(folder / "run_ica/space-x_components.nii.gz")
        tables = ("mixing", "unmixing", "stability", "images", "collections")
        outputs = {name: str(folder / f"run_ica/desc-ICA_{name}.tsv") for name in tables}
        run_ica.main(
            **given, **reduced, collections=str(results / "fetch_metadata/collections.tsv"), mask=mask,
            components=components, mixing=outputs["mixing"], unmixing=outputs["unmixing"],
            stability=outputs["stability"], top_images=outputs["images"], top_collections=outputs["collections"],
            decomposition=str(folder / "run_ica/desc-ICA_decomposition.json"), algorithm="fastica", random_state=0,
            n_restarts=10, n_bootstraps=0, n_splits=0, flags=FLAGS, max_iter=500, tol=1e-4, threads=2,
        )  # fmt: skip
        return read_maps(components, mask).values


def main() -> None:
    """Print the correlation of projected loadings with those of the run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("results", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    results = options.results
    images = read_table(results / "stack_images/images.tsv")
    mixing = read_table(results / "run_ica/desc-ICA_mixing.tsv")
    labels = [column for column in mixing[0] if column.startswith("ICA_")]
    A = np.array([[row[label] for label in labels] for row in mixing])
    S = read_maps(next((results / "run_ica").glob("*_components.nii.gz")), results / "stack_images/mask.nii.gz").values
    X = np.load(results / "stack_images/matrix.npy", mmap_mode="r")
    # With split signs, each image has two rows.
    rows = open_matrix(str(results / "stack_images/matrix.npy"), images)
    members = np.array([image["collection_id"] for image in images])
    members_of_rows = np.array([row["collection_id"] for row in rows_of(images)])
    collections = np.random.default_rng(options.seed).permutation(np.unique(members))
    projected, of_run, alike = [], [], []
    for fold in range(options.folds):
        chosen = collections[fold :: options.folds]
        held = np.isin(members_of_rows, chosen)
        found = decompose(results, X, ~np.isin(members, chosen), len(labels))
        r = standardize(S.astype(np.float64)) @ standardize(found.astype(np.float64)).T
        mine, theirs = linear_sum_assignment(np.abs(r), maximize=True)
        matched = r[mine, theirs]
        projector = Projector(found)
        of_rows = np.concatenate([projector.loadings(block.read()) for block in image_blocks(rows)])
        loadings = of_rows[held][:, theirs] * np.sign(matched)
        projected.append(loadings.ravel())
        of_run.append(A[held][:, mine].ravel())
        alike.append(np.tile(np.abs(matched), held.sum()))
    one, other, size = map(np.concatenate, (projected, of_run, alike))
    same = size >= SAME
    print(f"{len(X)} images, {len(collections)} collections, {options.folds} folds, {len(labels)} components")
    print(f"all matches: r = {np.corrcoef(one, other)[0, 1]:.3f} (median |r| of matched maps {np.median(size):.2f})")
    print(f"matched maps with |r| >= {SAME} ({same.mean():.0%}): r = {np.corrcoef(one[same], other[same])[0, 1]:.3f}")


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
