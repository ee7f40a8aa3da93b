"""Rules that run only on request: look at the archive again (`update`), and project own maps (`project_images`).

Reads: for `update`, the archive of config.yaml, results/fetch_metadata, results/download_images and
results/fetch_terms. For `project_images`, your maps, results/build_mask, and the components: either results/run_ica,
results/project_terms and results/stack_images, or the components that config.yaml names.
Writes: for `update`, results/look_again and the tables of results/fetch_metadata that have changed, so that the rules
that depend on them run again. For `project_images`, results/project_images (loadings.tsv, maps.tsv, rejected.tsv,
similar.tsv, figures, projection.html). No other rule reads this folder, so other maps never change a run.
"""

ELSEWHERE = config["project_images"]["components"]

with plain_errors():
    # Snakemake knows the targets only after it has read the rules.
    if IS_MAIN and "project_images" in sys.argv:
        own_maps.check_maps(config["project_images"])
        component_files.check_components(ELSEWHERE)


checkpoint look_again:
    """Look at the archive again. Not part of `all`: run `snakemake --cores 2 update`.

    Tables that stay the same are kept. After this checkpoint, Snakemake decides which rules run again.
    """
    input:
        code_of("look_again"),
        collections=rules.fetch_metadata.output.collections,
        images=rules.fetch_metadata.output.images,
        selection=rules.fetch_metadata.output.selection,
        lock=LOCK,
    output:
        looked="results/look_again/looked.json",
    log:
        "logs/look_again.log",
    benchmark:
        "benchmarks/look_again.tsv"
    retries: 0  # the client itself waits for a server that is down; other failures are final
    localrule: True  # compute nodes of a cluster often have no internet
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(240),
        neurovault=int(ARCHIVE.asks_server),
        neurosynth=int(ARCHIVE.asks_server),
    params:
        **config["fetch_metadata"],
        archive=archive_without("on_changed"),
        batches=len(BATCHES),
        downloads=lambda wildcards: expand(rules.download_images.output.status, batch=BATCHES),
        terms=lambda wildcards: (
            expand(rules.fetch_terms.output.status, batch=BATCHES)
            if config["fetch_terms"]["source"] == "server"
            else []
        ),
        databases=["results/fetch_database/files.tsv"] if DATABASE is not None and is_downloaded(DATABASE) else [],
        last=lambda wildcards: [str(file) for file in LAST_FILES],
        # A changed parameter runs the rule again, so each request does.
        requested=lambda wildcards: STARTED if is_requested("update") else None,
    script:
        "../scripts/look_again.py"


rule update:
    """Look at the archive again, and rerun what depends on new or changed answers."""
    input:
        lambda wildcards: checkpoints.look_again.get() and KEPT_FILES,


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
