"""Project the user's own maps on components, only on request: `snakemake --cores 2 project_images`.

Reads: the maps that config.yaml names; results/run_ica, results/project_terms, results/stack_images and
results/build_mask, or the components that config.yaml names.
Writes: results/project_images (loadings.tsv, maps.tsv, rejected.tsv, similar.tsv, figures, projection.html). No other
rule reads them, so other maps never change a run.
"""

ELSEWHERE = config["project_images"]["components"]

with plain_errors():
    # Snakemake knows the targets only after it has read the rules.
    if IS_MAIN and "project_images" in sys.argv:
        own_maps.check_maps(config["project_images"])
        component_files.check_components(ELSEWHERE)


rule project_images:
    """Project your own maps on components. Not part of `all`: `snakemake --cores 2 project_images --configfile ...`."""
    input:
        code_of("project_images"),
        lambda wildcards: own_maps.files_of_maps(config["project_images"]["maps"]),
        component_files.component_files(ELSEWHERE),
        components=[] if ELSEWHERE else rules.run_ica.output.components,
        names=[] if ELSEWHERE else rules.project_terms.output.names,
        images=[] if ELSEWHERE else rules.stack_images.output.images,
        matrix=[] if ELSEWHERE else rules.stack_images.output.matrix,
        mask=rules.build_mask.output.mask if ELSEWHERE else rules.stack_images.output.mask,
        brain=rules.build_mask.output.brain,
        template=rules.build_mask.output.template,
    output:
        loadings="results/project_images/loadings.tsv",
        maps="results/project_images/maps.tsv",
        rejected="results/project_images/rejected.tsv",
        similar="results/project_images/similar.tsv",
        heat_map="results/project_images/heat_map.png",
        figures=directory("results/project_images/figures"),
        page="results/project_images/projection.html",
    log:
        "logs/project_images.log",
    benchmark:
        "benchmarks/project_images.tsv"
    conda:
        ENVIRONMENT
    threads: 4
    resources:
        mem_mb=growing(2500, per_mb=2),
        runtime=growing(30, per_mb=0.1),
    params:
        own_maps=config["project_images"]["maps"],
        source=ELSEWHERE,
        settings={k: v for k, v in (config["mask_images"] | config["stack_images"]).items() if k != "keep_voxels"},
        limits=config["stack_images"]["quality"] or {},
        display=DISPLAY,
        random_state=config["run_ica"]["random_state"],
    script:
        "../scripts/project_images.py"
