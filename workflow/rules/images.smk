"""Bring the images onto one grid, check their quality and stack them.

Reads: results/fetch_metadata/images.tsv, results/download_images and the images in the cache.
Writes: results/build_mask (mask, template), results/mask_images (voxels and quality, per batch), results/stack_images
(matrix.npy of images x voxels, images.tsv, rejected.tsv, quality.tsv, mask.nii.gz).
"""


rule build_mask:
    """Make the brain mask once; its grid is the one on which everything is computed."""
    input:
        code_of("build_mask"),
        MASK_FILE,
    output:
        mask="results/build_mask/mask.nii.gz",
        template="results/build_mask/template.nii.gz",
    log:
        "logs/build_mask.log",
    # Only where --cache asks for it: Snakemake would warn at every start. What is cached cannot have a benchmark.
    cache: workflow.workflow_settings.cache is not None
    localrule: True  # a job in a queue costs more than a mask
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        source=config["mask_images"]["mask"],
        resolution_mm=config["mask_images"]["resolution_mm"],
    script:
        "../scripts/build_mask.py"


rule mask_images:
    """Clean, resample to the mask's grid and mask the images of one batch; measure their quality."""
    input:
        code_of("mask_images"),
        status=rules.download_images.output.status,
        mask=rules.build_mask.output.mask,
    output:
        voxels="results/mask_images/voxels-{batch}.npy",
        quality="results/mask_images/quality-{batch}.tsv",
    log:
        "logs/mask_images-{batch}.log",
    benchmark:
        "benchmarks/mask_images-{batch}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(30, per_mb=200),
    params:
        data_dir=ARCHIVE.data_dir,
        resampled=config["download_images"]["resample"],
        interpolation=config["mask_images"]["interpolation"],
        extrapolate_background=config["mask_images"]["extrapolate_background"],
    script:
        "../scripts/mask_images.py"


rule stack_images:
    """Join the batches to one matrix, drop what quality control refuses, scale."""
    input:
        code_of("stack_images"),
        selection=rules.fetch_metadata.output.images,
        downloads=expand(rules.download_images.output.status, batch=BATCHES),
        qualities=expand(rules.mask_images.output.quality, batch=BATCHES),
        voxels=expand(rules.mask_images.output.voxels, batch=BATCHES),
        brain_mask=rules.build_mask.output.mask,
    output:
        matrix="results/stack_images/matrix.npy",
        images="results/stack_images/images.tsv",
        rejected=shown("results/stack_images/rejected.tsv", "table", "Images", "refused images"),
        quality="results/stack_images/quality.tsv",
        mask="results/stack_images/mask.nii.gz",
    log:
        "logs/stack_images.log",
    benchmark:
        "benchmarks/stack_images.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1000, per_mb=0.1),
        runtime=growing(30, per_mb=0.02),
    params:
        scale=config["stack_images"]["scale"],
        criteria=config["stack_images"]["quality"],
        max_failed_fraction=config["download_images"]["max_failed_fraction"],
    script:
        "../scripts/stack_images.py"
