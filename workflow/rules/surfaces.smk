"""Draw the components on the cortical surface and in a glass brain.

Reads: results/run_ica, results/project_terms, results/stack_images and results/plot_components.
Writes: results/plot_surfaces, each figure as PNG and PDF; nothing with `plot_components.surfaces: false`.
"""

SURFACES = config["plot_components"]["surfaces"]


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
    script:
        "../scripts/plot_surfaces.py"
