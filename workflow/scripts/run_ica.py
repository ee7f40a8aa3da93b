"""Find independent components: FastICA from many starts, one consensus, settled in order and sign.

Rows of ``S`` are component maps, columns of ``A`` (mixing) the images' loadings, rows of ``W`` (unmixing) the weights
that make a map from the images: ``X - mean = A @ S + residual`` and ``S = W @ (X - mean)``.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from consensus import Bootstrap, SplitHalf, bootstrap_collections, find_consensus, split_collections, voxel_sample
from outputs import component_labels, read_table, remove_stale, replacing, write_json, write_table
from stage_log import log_to
from threadpoolctl import threadpool_limits

Array = npt.NDArray[np.floating[Any]]
# Of fewer, a third of the draws has the same two or three studies.
MIN_COLLECTIONS = 5
BLOCK_IMAGES = 256


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
    n_splits: int,
    max_iter: int,
    tol: float,
) -> None:
    """Decompose the whitened data and write maps, loadings and what is known of their stability."""
    Z = np.load(whitened)
    reduced = dict(np.load(reduction))
    used = read_table(images)
    collections = [image["collection_id"] for image in used]
    options: dict[str, Any] = {"random_state": random_state, "max_iter": max_iter, "tol": tol}
    # One BLAS thread: the order of summation, and so the last digit, must not depend on the number of cores.
    with threadpool_limits(1):
        consensus = find_consensus(Z, n_restarts=n_restarts, **options)
        R = consensus.rotation.R
        S = R @ Z
        scale = S.std(axis=1, keepdims=True)
        S /= scale
        W = R @ reduced["K"] / scale
        roots = np.sqrt(reduced["weights"])
        # The rotation is orthogonal, so its transpose inverts it.
        A = (reduced["U"][:, : len(Z)] * np.sqrt(reduced["eigenvalues"][: len(Z)]) / roots[:, None]) @ R.T * scale.T
        bootstrap, halves = judge_by_collections(
            matrix,
            reduced,
            R,
            collections,
            n_voxels=Z.shape[1],
            n_bootstraps=n_bootstraps,
            n_splits=n_splits,
            **options,
        )
    weighted_A = A * roots[:, None]
    order, signs = settle(S, weighted_A)
    S, A, W = (signs[:, None] * S)[order], (A * signs)[:, order], (signs[:, None] * W)[order]
    image_variance = reduced["weights"] * reduced["image_variance"]
    explained = np.square(weighted_A[:, order]).sum(axis=0) / image_variance.sum()

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
    measured = {
        "iq_restarts": consensus.iq,
        "r_restarts": consensus.correlation,
        "iq_bootstraps": bootstrap and bootstrap.iq,
        "r_bootstraps": bootstrap and bootstrap.correlation,
        "r_split_half": halves and halves.correlation,
    }
    write_table(
        stability,
        (
            {"component": label, "variance_explained": explained[number]}
            | {name: None if values is None else values[order[number]] for name, values in measured.items()}
            for number, label in enumerate(labels)
        ),
    )
    n_converged = sum(restart.converged for restart in consensus.restarts)
    n_effective = effective_number(collections, image_variance)
    write_json(
        decomposition,
        {
            "n_components": len(S),
            "n_images": len(A),
            "n_collections": len(set(collections)),
            "n_effective_collections": n_effective,
            "n_voxels": S.shape[1],
            "algorithm": "FastICA, parallel, logcosh",
            "random_state": random_state,
            "max_iter": max_iter,
            "tol": tol,
            "n_iter": consensus.rotation.n_iter,
            "converged": consensus.rotation.converged,
            "n_restarts": n_restarts,
            "n_restarts_converged": n_converged,
            "n_bootstraps": n_bootstraps,
            "n_bootstraps_used": bootstrap.n_used if bootstrap else 0,
            "n_bootstraps_converged": bootstrap.n_converged if bootstrap else 0,
            "n_splits": n_splits,
            "n_splits_used": halves.n_used if halves else 0,
            "n_halves_converged": halves.n_converged if halves else 0,
            "variance_explained": float(explained.sum()),
        },
    )
    if not consensus.rotation.converged:
        logging.warning(
            "FastICA has not converged in %d iterations: probably more components than the images have structure for;"
            " lower run_ica.n_components, or raise run_ica.max_iter",
            max_iter,
        )
    logging.info(
        "%d components, %.1f %% of the variance, of %d collections that weigh as much as %.1f of equal weight;"
        " %d of %d restarts converged; last run %d iterations",
        len(S),
        100 * explained.sum(),
        len(set(collections)),
        n_effective,
        n_converged,
        n_restarts,
        consensus.rotation.n_iter,
    )


def judge_by_collections(
    matrix: str,
    reduced: Mapping[str, Array],
    R: Array,
    collections: Sequence[int],
    *,
    n_voxels: int,
    n_bootstraps: int,
    n_splits: int,
    **options: Any,
) -> tuple[Bootstrap | None, SplitHalf | None]:
    """Decompose draws and halves of the collections, on a tenth of the voxels, as far as that is wanted and possible.

    Parameters
    ----------
    matrix : path
    reduced : mapping
        What reduce_images has written.
    R : array of shape (n_components, n_components)
        The components as coordinates in the leading axes.
    collections : sequence of int
        The collection of each image.
    **options
        random_state, max_iter and tol.
    """
    n_collections = len(set(collections))
    if not n_bootstraps and not n_splits:
        return None, None
    if n_collections < MIN_COLLECTIONS:
        logging.warning("%d collections are too few to resample: stability over studies stays unknown", n_collections)
        return None, None
    n_axes = reduced["U"].shape[1]
    P = white_axes(matrix, reduced, voxel_sample(n_voxels, options["random_state"]))
    B = reduced["U"] * np.sqrt(reduced["eigenvalues"][:n_axes])
    reference = np.pad(R, ((0, 0), (0, n_axes - len(R))))
    bootstrap = bootstrap_collections(P, B, reference, collections, n_bootstraps=n_bootstraps, **options)
    halves = split_collections(P, B, reference, collections, n_splits=n_splits, **options)
    for what, wanted, found in (("draw", n_bootstraps, bootstrap), ("half", n_splits, halves)):
        if wanted and not found:
            logging.warning(
                "hardly a %s of the collections has images for %d components: stability over studies is not known"
                " from these; lower run_ica.n_components",
                what,
                len(R),
            )
    return bootstrap, halves


def white_axes(matrix: str, reduced: Mapping[str, Array], voxels: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
    """Compute the maps of the leading principal axes at some voxels.

    Parameters
    ----------
    matrix : path
        Images x voxels.
    reduced : mapping
        What reduce_images has written.
    voxels : array of int

    Returns
    -------
    array of shape (n_axes, n_sampled_voxels)
        Uncorrelated, of mean 0 and variance 1 over all voxels.
    """
    U, mean = reduced["U"], reduced["mean"]
    K = (U / np.sqrt(reduced["eigenvalues"][: U.shape[1]])).T * np.sqrt(reduced["weights"])
    P = np.zeros((len(K), len(voxels)), dtype=np.float32)
    for start in range(0, len(U), BLOCK_IMAGES):
        images = slice(start, start + BLOCK_IMAGES)
        # Mapped anew for each block: what one mapping has read would stay in memory with it.
        block = np.load(matrix, mmap_mode="r")[images][:, voxels] - mean[images, None]
        P += K[:, images].astype(np.float32) @ block.astype(np.float32)
    return P


def effective_number(collections: Sequence[int], share: Array) -> float:
    """Count collections by how evenly the variance is spread over them: one over the sum of their squared shares.

    Hill's number of order 2 (Hill 1973, doi:10.2307/1934352), as ecologists count species.

    Parameters
    ----------
    collections : sequence of int
        The collection of each image.
    share : array of shape (n_images,)
        What each image has of the whole.
    """
    _, member = np.unique(collections, return_inverse=True)
    shares = np.bincount(member, weights=share) / np.sum(share)
    return float(1 / np.square(shares).sum())


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
