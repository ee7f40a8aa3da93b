"""Centre the images, reduce them to principal components and whiten these."""

import logging

import numpy as np
from neurovault_ica.decomposition.gram import gram_matrix, principal_axes, variance_rows, weigh_images
from neurovault_ica.decomposition.krylov import leading_axes
from neurovault_ica.images.matrix import image_moments, open_matrix, whiten
from neurovault_ica.images.signs import rows_of
from neurovault_ica.runtime.files import replacing
from neurovault_ica.runtime.log import log_to
from neurovault_ica.runtime.tables import read_table, write_table
from neurovault_ica.runtime.threads import one_blas_thread
from neurovault_ica.runtime.wording import counted

# Largest number of rows for the Gram matrix. With more, its computation and its eigenvectors take longer than the few
# passes over the images of block Krylov iteration.
MAX_GRAM_ROWS = 3000


def main(
    *,
    matrix: str,
    images: str,
    whitened: str,
    reduction: str,
    variance: str,
    n_components: int,
    weight_collections_equally: bool,
    threads: int,
) -> None:
    """Reduce the matrix to `n_components` white rows.

    Raises
    ------
    ValueError
        If there are fewer images than components, or fewer independent directions.
    """
    used = read_table(images)
    X = open_matrix(matrix, used)
    collections = [row["collection_id"] for row in rows_of(used)]
    n_rows, n_images = len(collections), len(used)
    if n_images < n_components:
        raise ValueError(
            f"{counted(n_images, 'image is', 'images are')} left, but run_ica.n_components is {n_components}; lower"
            " n_components, or select more images (results/fetch_metadata/selection.tsv and"
            " results/stack_images/rejected.tsv say why images were dropped)"
        )
    weights = weigh_images(collections, equally=weight_collections_equally)
    roots = np.sqrt(weights)
    if n_rows > MAX_GRAM_ROWS:
        mean, image_variance = image_moments(X, threads)
        eigenvalues, U, method = leading_axes(X, mean, roots, n_components, threads)
    else:
        mean, gram = gram_matrix(X, threads)
        image_variance = np.diag(gram)
        eigenvalues, U = principal_axes(roots[:, None] * gram * roots, n_components)
        method = "eigenvectors of the Gram matrix"
    K = (U[:, :n_components] / np.sqrt(eigenvalues[:n_components])).T * roots
    with replacing(whitened) as temporary:
        np.save(temporary, whiten(X, mean, K, threads=threads))
    with replacing(reduction) as temporary:
        np.savez(
            temporary, mean=mean, image_variance=image_variance, weights=weights, eigenvalues=eigenvalues, U=U, K=K,
            method=method,
        )  # fmt: skip
    rows = variance_rows(eigenvalues, float(weights @ image_variance), n_components)
    write_table(variance, rows)
    logging.info(
        "reduced %s%s of %s to %s with %.1f %% of the variance (%s)",
        counted(n_images, "image"),
        " (two rows each)" if n_rows > n_images else "",
        counted(X.shape[1], "voxel"),
        counted(n_components, "principal component"),
        100 * rows[n_components - 1]["cumulative_variance_explained"],
        method,
    )


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    with one_blas_thread():
        main(**snakemake.input, **snakemake.output, **snakemake.params, threads=snakemake.threads)
