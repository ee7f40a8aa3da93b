"""Resample the images to one grid, check their quality and join them into a matrix.

Reads: results/fetch_metadata/images.tsv, results/download_images, and the images in the cache.
Writes: results/build_mask (mask, brain, template), results/mask_images (voxels and quality of each batch),
results/stack_images (matrix.npy of images x voxels, images.tsv, rejected.tsv, quality.tsv, mask.nii.gz).
"""


rule build_mask:
    """Make the mask of the analysis, whose grid is that of all maps, and the brain mask for quality control."""
    input:
        code_of("build_mask"),
        MASK_FILE,
    output:
        mask="results/build_mask/mask.nii.gz",
        brain="results/build_mask/brain.nii.gz",
        template="results/build_mask/template.nii.gz",
    log:
        "logs/build_mask.log",
    # Only with --cache, because Snakemake otherwise warns at each start. A cached rule cannot have a benchmark.
    cache: workflow.workflow_settings.cache is not None
    localrule: True  # waiting in the queue of a cluster takes longer than making the mask
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
    """Clean the images of one batch, resample them to the mask and measure their quality."""
    input:
        code_of("mask_images"),
        status=rules.download_images.output.status,
        mask=rules.build_mask.output.mask,
        brain=rules.build_mask.output.brain,
    output:
        # If a temporary file is missing, Snakemake does not repeat this rule for stages that are up to date.
        voxels=(str if config["mask_images"]["keep_voxels"] else temp)("results/mask_images/voxels-{batch}.npy"),
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
        clip=config["mask_images"]["clip_infinite"],
    script:
        "../scripts/mask_images.py"


rule stack_images:
    """Join the batches into one matrix, without the images that quality control rejects; smooth and scale them."""
    input:
        code_of("stack_images"),
        # Without keep_voxels, stack_images removes the voxels. Until then fetch_terms must have read them.
        lambda wildcards: (
            ancient(expand(rules.fetch_terms.output.status, batch=BATCHES))
            if maps_for_images() and not config["mask_images"]["keep_voxels"]
            else []
        ),
        selection=rules.fetch_metadata.output.images,
        downloads=expand(rules.download_images.output.status, batch=BATCHES),
        qualities=expand(rules.mask_images.output.quality, batch=BATCHES),
        voxels=expand(rules.mask_images.output.voxels, batch=BATCHES),
        brain_mask=rules.build_mask.output.mask,
    output:
        matrix="results/stack_images/matrix.npy",
        images="results/stack_images/images.tsv",
        rejected=shown("results/stack_images/rejected.tsv", "table", "Images", "rejected images"),
        quality="results/stack_images/quality.tsv",
        mask="results/stack_images/mask.nii.gz",
    log:
        "logs/stack_images.log",
    benchmark:
        "benchmarks/stack_images.tsv"
    conda:
        ENVIRONMENT
    threads: 4
    resources:
        mem_mb=growing(1000, per_mb=0.1),
        runtime=growing(30, per_mb=0.02),
    params:
        smoothing_mm=config["mask_images"]["smoothing_mm"],
        scale=config["stack_images"]["scale"],
        signs=config["stack_images"]["signs"],
        limits=config["stack_images"]["quality"] or {},
        max_failed_fraction=config["download_images"]["max_failed_fraction"],
    script:
        "../scripts/stack_images.py"
