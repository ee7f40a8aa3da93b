"""Rules that decompose the matrix into independent components and compare numbers of components.

Reads: results/stack_images and results/fetch_metadata/collections.tsv.
Writes: results/reduce_images (whitened.npy, reduction.npz, variance.tsv), results/run_ica (component maps, mixing,
unmixing, stability, top images and collections), results/scan_components (only on request).
"""

with plain_errors():
    # Snakemake knows the targets only after it has read the rules.
    if IS_MAIN and "scan_components" in sys.argv:
        checking.check_scan(config["run_ica"])


rule reduce_images:
    """Centre and whiten the images by principal components."""
    input:
        code_of("reduce_images"),
        matrix=rules.stack_images.output.matrix,
        images=rules.stack_images.output.images,
    output:
        whitened="results/reduce_images/whitened.npy",
        reduction="results/reduce_images/reduction.npz",
        variance="results/reduce_images/variance.tsv",
    log:
        "logs/reduce_images.log",
    benchmark:
        "benchmarks/reduce_images.tsv"
    conda:
        ENVIRONMENT
    threads: 4
    resources:
        mem_mb=growing(3000, per_mb=0.05),
        runtime=growing(30, per_mb=0.05),
    params:
        **config["reduce_images"],
        n_components=config["run_ica"]["n_components"],
    script:
        "../scripts/reduce_images.py"


rule run_ica:
    """Find independent components, fix their order and sign, and measure their stability."""
    input:
        code_of("run_ica"),
        matrix=rules.stack_images.output.matrix,
        whitened=rules.reduce_images.output.whitened,
        reduction=rules.reduce_images.output.reduction,
        images=rules.stack_images.output.images,
        collections=rules.fetch_metadata.output.collections,
        mask=rules.stack_images.output.mask,
    output:
        components=f"results/run_ica/{SPACE}_desc-ICA_components.nii.gz",
        mixing="results/run_ica/desc-ICA_mixing.tsv",
        unmixing="results/run_ica/desc-ICA_unmixing.tsv",
        stability=shown("results/run_ica/desc-ICA_stability.tsv", "table", "Components", "stability"),
        top_images="results/run_ica/desc-ICA_images.tsv",
        top_collections="results/run_ica/desc-ICA_collections.tsv",
        decomposition="results/run_ica/desc-ICA_decomposition.json",
    log:
        "logs/run_ica.log",
    benchmark:
        "benchmarks/run_ica.tsv"
    conda:
        ENVIRONMENT
    threads: 4
    resources:
        mem_mb=growing(2000, per_mb=0.05),
        runtime=growing(60, per_mb=0.1),
    params:
        **{key: value for key, value in config["run_ica"].items() if key != "n_components"},
    script:
        "../scripts/run_ica.py"


rule scan_components:
    """Compare numbers of components. Not part of `all`: `snakemake --cores 2 scan_components --configfile ...`."""
    input:
        code_of("scan_components"),
        matrix=rules.stack_images.output.matrix,
        reduction=rules.reduce_images.output.reduction,
        images=rules.stack_images.output.images,
        mask=rules.stack_images.output.mask,
    output:
        "results/scan_components/orders.pdf",
        table="results/scan_components/orders.tsv",
        figure="results/scan_components/orders.png",
        advice="results/scan_components/advice.txt",
    log:
        "logs/scan_components.log",
    benchmark:
        "benchmarks/scan_components.tsv"
    conda:
        ENVIRONMENT
    threads: 4
    resources:
        mem_mb=growing(3000, per_mb=0.05),
        runtime=growing(120, per_mb=0.5),
    params:
        **config["scan_components"],
        **{key: value for key, value in config["run_ica"].items() if key != "n_components"},
        archive=ARCHIVE.label,
    script:
        "../scripts/scan_components.py"
