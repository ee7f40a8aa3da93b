"""Draw the images, and how the components relate to collections, to one another and, in the demo, to planted networks.

Reads: results/stack_images, results/mask_images, results/build_mask, results/reduce_images, results/run_ica,
results/project_terms and results/plot_components; in the demo, results/build_demo_archive/truth.
Writes: results/plot_images and results/plot_relations, each figure as PNG and PDF; in the demo, results/check_demo.
"""


rule plot_images:
    """Draw the quality, coverage and correlations of the images, and a glass brain of each image."""
    input:
        code_of("plot_images"),
        matrix=rules.stack_images.output.matrix,
        mask=rules.stack_images.output.mask,
        template=rules.build_mask.output.template,
        images=rules.stack_images.output.images,
        rejected=rules.stack_images.output.rejected,
        quality=rules.stack_images.output.quality,
        qualities=expand(rules.mask_images.output.quality, batch=BATCHES),
        voxels=expand(rules.mask_images.output.voxels, batch=BATCHES) if config["mask_images"]["keep_voxels"] else [],
    output:
        "results/plot_images/quality.pdf",
        "results/plot_images/coverage.pdf",
        "results/plot_images/correlation.pdf",
        quality_figure=shown("results/plot_images/quality.png", "quality", "Images", "quality"),
        coverage_figure=shown("results/plot_images/coverage.png", "coverage", "Images", "coverage"),
        coverage="results/plot_images/coverage.nii.gz",
        correlation_figure=shown("results/plot_images/correlation.png", "correlation", "Images", "correlation"),
        correlation="results/plot_images/correlation.tsv",
        glass="results/plot_images/glass_brains.npz",
    log:
        "logs/plot_images.log",
    benchmark:
        "benchmarks/plot_images.tsv"
    group:
        "report"
    conda:
        ENVIRONMENT
    threads: 1  # jobs of a group run side by side, so a cluster adds up their cores
    resources:
        mem_mb=growing(1500, per_mb=0.05),
        runtime=growing(30, per_mb=0.05),
    params:
        limits=config["stack_images"]["quality"] or {},
    script:
        "../scripts/plot_images.py"


rule plot_relations:
    """Draw how collections load on the components, and how similar components are in space and in their terms."""
    input:
        code_of("plot_relations"),
        components=rules.run_ica.output.components,
        thresholded=rules.plot_components.output.thresholded,
        mask=rules.stack_images.output.mask,
        mixing=rules.run_ica.output.mixing,
        reduction=rules.reduce_images.output.reduction,
        images=rules.stack_images.output.images,
        terms=rules.project_terms.output.terms,
        names=rules.project_terms.output.names,
    output:
        "results/plot_relations/loadings.pdf",
        "results/plot_relations/similarity.pdf",
        loadings_figure=shown(
            "results/plot_relations/loadings.png", "loadings", "Relations", "collections and components"
        ),
        loadings="results/plot_relations/loadings.tsv",
        similarity_figure=shown(
            "results/plot_relations/similarity.png", "similarity", "Relations", "components and components"
        ),
        similarity="results/plot_relations/similarity.tsv",
    log:
        "logs/plot_relations.log",
    benchmark:
        "benchmarks/plot_relations.tsv"
    group:
        "report"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1500, per_mb=2),
        runtime=growing(10),
    params:
        algorithm=config["run_ica"]["algorithm"],
    script:
        "../scripts/plot_relations.py"


rule check_demo:
    """Demo only: compare the results with the planted networks, terms and faulty images."""
    input:
        code_of("check_demo"),
        networks_img=rules.build_demo_archive.output.networks_img,
        networks=rules.build_demo_archive.output.networks,
        truth_images=rules.build_demo_archive.output.images,
        components=rules.run_ica.output.components,
        terms=rules.project_terms.output.terms,
        names=rules.project_terms.output.names,
        map_terms=rules.project_terms.output.map_terms,
        images=rules.stack_images.output.images,
        rejected=rules.stack_images.output.rejected,
    output:
        recovery="results/check_demo/recovery.tsv",
    log:
        "logs/check_demo.log",
    benchmark:
        "benchmarks/check_demo.tsv"
    group:
        "report"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    script:
        "../scripts/check_demo.py"
