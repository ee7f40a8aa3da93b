"""Draw the components in slices, on the cortical surface and in a glass brain; write thresholded maps and peak tables.

Reads: results/run_ica, results/project_terms, results/stack_images and results/build_mask; the atlas that config.yaml
names.
Writes: results/plot_components, and results/plot_surfaces (not with `plot_components.surfaces: false`), each figure as
PNG and PDF.
"""

SURFACES = config["plot_components"]["surfaces"]


rule plot_components:
    """Draw every component, an overview and the terms; write thresholded maps and peak tables."""
    input:
        code_of("plot_components"),
        named_files.atlas_files(config),
        components=rules.run_ica.output.components,
        mask=rules.stack_images.output.mask,
        template=rules.build_mask.output.template,
        stability=rules.run_ica.output.stability,
        terms=rules.project_terms.output.terms,
        names=rules.project_terms.output.names,
    output:
        figures=[
            shown(f"results/plot_components/{component}.png", "component", "Components", component)
            for component in COMPONENTS
        ],
        thumbnails=expand("results/plot_components/{component}_thumbnail.png", component=COMPONENTS),
        overview=shown("results/plot_components/overview.png", "overview", "Components", "all components"),
        terms_figure=shown("results/plot_components/terms.png", "terms", "Components", "terms"),
        thresholded=f"results/plot_components/{SPACE}_desc-ICA_thresholded.nii.gz",
        thresholds="results/plot_components/desc-ICA_thresholds.tsv",
        peaks=shown("results/plot_components/desc-ICA_peaks.tsv", "table", "Components", "peaks"),
        mixture="results/plot_components/desc-ICA_mixture.tsv" if MIXTURE else [],
        mixture_figures=expand(
            "results/plot_components/{component}_mixture.png", component=COMPONENTS if MIXTURE else []
        ),
        pdfs=[
            *expand("results/plot_components/{figure}.pdf", figure=[*COMPONENTS, "overview", "terms"]),
            *expand("results/plot_components/{component}_mixture.pdf", component=COMPONENTS if MIXTURE else []),
        ],
    log:
        "logs/plot_components.log",
    benchmark:
        "benchmarks/plot_components.tsv"
    conda:
        ENVIRONMENT
    threads: 4
    resources:
        mem_mb=growing(1000, per_mb=4),
        runtime=growing(30, per_mb=0.05),
    params:
        **{key: value for key, value in config["plot_components"].items() if key not in {"labels", "surfaces"}},
    script:
        "../scripts/plot_components.py"


rule plot_surfaces:
    """Draw every component on fsaverage5 and in a glass brain, and a gallery; write the values on the surface."""
    input:
        code_of("plot_surfaces"),
        components=rules.run_ica.output.components,
        mask=rules.stack_images.output.mask,
        thresholded=rules.plot_components.output.thresholded,
        thresholds=rules.plot_components.output.thresholds,
        names=rules.project_terms.output.names,
    output:
        figures=[
            shown(f"results/plot_surfaces/{component}.png", "surface", "Surfaces", component)
            for component in COMPONENTS
        ],
        surfaces=expand("results/plot_surfaces/{component}_surface.png", component=COMPONENTS),
        glass=expand("results/plot_surfaces/{component}_glass.png", component=COMPONENTS),
        gallery=shown("results/plot_surfaces/surfaces.png", "surface", "Surfaces", "all components"),
        pdfs=expand("results/plot_surfaces/{figure}.pdf", figure=[*COMPONENTS, "surfaces"]),
        left="results/plot_surfaces/hemi-L_space-fsaverage5_desc-ICA_components.func.gii",
        right="results/plot_surfaces/hemi-R_space-fsaverage5_desc-ICA_components.func.gii",
        mesh="results/plot_surfaces/fsaverage5.npz",
    log:
        "logs/plot_surfaces.log",
    benchmark:
        "benchmarks/plot_surfaces.tsv"
    conda:
        ENVIRONMENT
    threads: 4
    resources:
        mem_mb=growing(1800, per_mb=4),
        runtime=growing(30, per_mb=0.05),
    params:
        min_cluster_mm3=config["plot_components"]["min_cluster_mm3"],
    script:
        "../scripts/plot_surfaces.py"
