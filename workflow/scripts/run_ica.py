"""Find independent components: FastICA from many starts, one consensus, settled in order and sign.

Rows of ``S`` are component maps, columns of ``A`` (mixing) the images' loadings, rows of ``W`` (unmixing) the weights
that make a map from the images: ``X - mean = A @ S + residual`` and ``S = W @ (X - mean)``.
"""

import logging
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from consensus import Bootstrap, bootstrap_collections, find_consensus, voxel_sample
from outputs import component_labels, read_table, remove_stale, replacing, write_json, write_table
from stage_log import log_to
from threadpoolctl import threadpool_limits

Array = npt.NDArray[np.floating[Any]]
# Of fewer, a third of the draws has the same two or three studies.
MIN_COLLECTIONS = 5


def settle(S: Array, A: Array) -> tuple[npt.NDArray[np.intp], Array]:
    """Decide order and sign, here and nowhere else.

    Parameters
    ----------
    S : array of shape (n_components, n_voxels)
    A : array of shape (n_images, n_components)

    Returns
    -------
    order : array of shape (n_components,)
        By explained variance, largest first. The maps have unit variance, so that is the squared norm of the loadings.
    signs : array of shape (n_components,)
        In the old order: -1 where the largest absolute value of the map is negative.
    """
    order = np.argsort(-np.square(A).sum(axis=0), kind="stable")
    signs = np.where(-S.min(axis=1) > S.max(axis=1), -1.0, 1.0)
    return order, signs


def main(
    *,
    matrix: str,
    whitened: str,
    reduction: str,
    images: str,
    mask: str,
    components: str,
    mixing: str,
    unmixing: str,
    stability: str,
    decomposition: str,
    random_state: int,
    n_restarts: int,
    n_bootstraps: int,
    max_iter: int,
    tol: float,
) -> None:
    """Decompose the whitened data and write maps, loadings and what is known of their stability."""
    Z = np.load(whitened)
    reduced = np.load(reduction)
    used = read_table(images)
    # One BLAS thread: the order of summation, and so the last digit, must not depend on the number of cores.
    with threadpool_limits(1):
        rotation, restarts, iq, correlation = find_consensus(
            Z, n_restarts=n_restarts, random_state=random_state, max_iter=max_iter, tol=tol
        )
        S = rotation.R @ Z
        scale = S.std(axis=1, keepdims=True)
        S /= scale
        W = rotation.R @ reduced["K"] / scale
        # The rotation is orthogonal, so its transpose inverts it.
        A = (reduced["U"] * np.sqrt(reduced["eigenvalues"][: len(Z)])) @ rotation.R.T * scale.T
        bootstrap = judge_by_bootstraps(
            np.load(matrix, mmap_mode="r"),
            reduced["mean"],
            reduced["gram"],
            S,
            [image["collection_id"] for image in used],
            n_bootstraps=n_bootstraps,
            random_state=random_state,
            max_iter=max_iter,
            tol=tol,
        )
    order, signs = settle(S, A)
    S, A, W = (signs[:, None] * S)[order], (A * signs)[:, order], (signs[:, None] * W)[order]

    # Maps of another grid, left by an earlier configuration, would stand beside the new ones.
    remove_stale(components, "space-*_components.nii.gz")
    write_maps(components, S.astype(np.float32), mask)
    labels = component_labels(len(S))
    image_ids = [image["image_id"] for image in used]
    for path, weights in ((mixing, A), (unmixing, W.T)):
        write_table(
            path,
            (
                {"image_id": image_id} | dict(zip(labels, row, strict=True))
                for image_id, row in zip(image_ids, weights, strict=True)
            ),
            ["image_id", *labels],
        )
    explained = np.square(A).sum(axis=0) / np.trace(reduced["gram"])
    write_table(
        stability,
        (
            {
                "component": label,
                "variance_explained": explained[number],
                "iq_restarts": None if iq is None else iq[order[number]],
                "r_restarts": None if correlation is None else correlation[order[number]],
                "iq_bootstraps": None if bootstrap is None else bootstrap.iq[order[number]],
                "r_bootstraps": None if bootstrap is None else bootstrap.correlation[order[number]],
            }
            for number, label in enumerate(labels)
        ),
    )
    converged = sum(restart.converged for restart in restarts)
    write_json(
        decomposition,
        {
            "n_components": len(S),
            "n_images": len(A),
            "n_voxels": S.shape[1],
            "algorithm": "FastICA, parallel, logcosh (scikit-learn)",
            "random_state": random_state,
            "max_iter": max_iter,
            "tol": tol,
            "n_iter": rotation.n_iter,
            "converged": rotation.converged,
            "n_restarts": n_restarts,
            "n_restarts_converged": converged,
            "n_bootstraps": n_bootstraps,
            "n_bootstraps_used": 0 if bootstrap is None else bootstrap.n_used,
            "n_bootstraps_converged": 0 if bootstrap is None else bootstrap.n_converged,
            "variance_explained": float(explained.sum()),
        },
    )
    if not rotation.converged:
        logging.warning(
            "FastICA has not converged in %d iterations: probably more components than the images have structure for;"
            " lower run_ica.n_components, or raise run_ica.max_iter",
            max_iter,
        )
    logging.info(
        "%d components, %.1f %% of the variance; %d of %d restarts converged; last run %d iterations",
        len(S),
        100 * explained.sum(),
        converged,
        n_restarts,
        rotation.n_iter,
    )


def judge_by_bootstraps(
    X: npt.NDArray[np.float32],
    mean: Array,
    gram: Array,
    S: Array,
    collections: list[int],
    *,
    n_bootstraps: int,
    random_state: int,
    max_iter: int,
    tol: float,
) -> Bootstrap | None:
    """Bootstrap the collections on a tenth of the voxels, if that is wanted and there are collections to draw.

    Parameters are those of `consensus.bootstrap_collections`, but `X` (n_images, n_voxels) and `S` (n_components,
    n_voxels) have all voxels; `mean` (n_images,) is that of each image.
    """
    if n_bootstraps == 0:
        return None
    n_collections = len(set(collections))
    if n_collections < MIN_COLLECTIONS:
        logging.warning("%d collections are too few to bootstrap: stability over studies stays unknown", n_collections)
        return None
    voxels = voxel_sample(X.shape[1], random_state)
    sampled = np.stack([row[voxels] for row in X]) - mean[:, None]
    return bootstrap_collections(
        sampled, gram, S[:, voxels], collections,
        n_bootstraps=n_bootstraps, random_state=random_state, max_iter=max_iter, tol=tol,
    )  # fmt: skip


def write_maps(path: str, S: npt.NDArray[np.float32], mask: str) -> None:
    """Write the rows of `S` (n_components, n_voxels) as a 4-D image on the grid of the mask."""
    mask_img = nib.load(mask)
    inside = np.asarray(mask_img.dataobj) > 0
    volume = np.zeros((*inside.shape, len(S)), dtype=np.float32)
    volume[inside] = S.T
    with replacing(path) as temporary:
        nib.save(nib.Nifti1Image(volume, mask_img.affine), temporary)


if __name__ == "__main__":
    log_to(snakemake.log[0])
    main(**snakemake.input, **snakemake.output, **snakemake.params)
