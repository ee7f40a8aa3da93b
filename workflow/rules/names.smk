"""Get term maps and the term weights of images, match the components with reference networks, and name them.

Reads: results/run_ica, results/stack_images, results/mask_images and results/fetch_metadata; the database of
coordinates, the term maps and the reference networks that config.yaml names.
Writes: results/build_term_maps (only if a database is configured), results/fetch_terms/{terms,status}-{batch}.tsv,
results/match_networks (only if a reference is configured), results/project_terms (a table for each source of names,
and the names).
"""

ASKS_NEUROSYNTH = ARCHIVE.asks_server and config["fetch_terms"]["source"] == "server"


rule build_term_maps:
    """Compute meta-analytic term maps from a database of coordinates; only if a database is configured."""
    input:
        code_of("build_term_maps"),
        named_files.database_files(config),
        rules.build_demo_archive.output.database if DATABASE == "demo" else [],
        downloaded=rules.fetch_database.output.files if DATABASE and is_downloaded(DATABASE) else [],
        mask=rules.build_mask.output.mask,
    output:
        term_maps="results/build_term_maps/term_maps.npy",
        grid_mask="results/build_term_maps/mask.nii.gz",
        terms="results/build_term_maps/terms.tsv",
        note="results/build_term_maps/README.txt",
    log:
        "logs/build_term_maps.log",
    benchmark:
        "benchmarks/build_term_maps.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        database=DATABASE,
        vocabulary=config["build_term_maps"]["vocabulary"],
        min_studies=config["build_term_maps"]["min_studies"],
    script:
        "../scripts/build_term_maps.py"


rule fetch_terms:
    """Get the term weights of the images of one batch: from Neurosynth's server, or with the term maps."""
    input:
        code_of("fetch_terms"),
        list(ARCHIVE.files.values()),
        **maps_for_images(),
        images=rules.fetch_metadata.output.images,
        lock=LOCK,
    output:
        terms="results/fetch_terms/terms-{batch}.tsv",
        status="results/fetch_terms/status-{batch}.tsv",
    log:
        "logs/fetch_terms-{batch}.log",
    benchmark:
        "benchmarks/fetch_terms-{batch}.tsv"
    retries: 0  # the client itself waits for a server that is down; other failures are final
    localrule: config["fetch_terms"]["source"] != "database"  # compute nodes often have no internet
    conda:
        ENVIRONMENT
    # As in download_images, jobs that only wait for a server need no core.
    threads: 0 if ASKS_NEUROSYNTH and "neurosynth" in workflow.global_resources else 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(240),
        neurosynth=int(ASKS_NEUROSYNTH),
    params:
        archive=archive_without("url"),
        source=config["fetch_terms"]["source"],
        batch=lambda wildcards: int(wildcards.batch),
    script:
        "../scripts/fetch_terms.py"


rule match_networks:
    """Match the components with reference networks; only if a reference is configured."""
    input:
        code_of("match_networks"),
        named_files.reference_files(config),
        components=rules.run_ica.output.components,
        mask=rules.stack_images.output.mask,
        template=rules.build_mask.output.template,
    output:
        networks=shown("results/match_networks/desc-ICA_networks.tsv", "table", "Components", "reference networks"),
        correlations="results/match_networks/desc-ICA_correlations.tsv",
        figures=expand("results/match_networks/{component}.png", component=COMPONENTS),
        matrix=shown(
            "results/match_networks/correlations.png", "networks", "Relations", "components and reference networks"
        ),
        pdfs=expand("results/match_networks/{figure}.pdf", figure=[*COMPONENTS, "correlations"]),
    log:
        "logs/match_networks.log",
    benchmark:
        "benchmarks/match_networks.tsv"
    conda:
        ENVIRONMENT
    threads: 4
    resources:
        mem_mb=growing(3000, per_mb=4),
        runtime=growing(60, per_mb=0.05),
    params:
        **config["match_networks"],
        display=DISPLAY,
        data_dir=config["archive"]["data_dir"],
        random_state=config["run_ica"]["random_state"],
    script:
        "../scripts/match_networks.py"


rule project_terms:
    """Collect candidate names from all sources, and decide what each component is called."""
    input:
        code_of("project_terms"),
        named_files.term_map_files(config),
        rules.build_term_maps.output if DATABASE else [],
        selection=rules.fetch_metadata.output.images,
        collections=rules.fetch_metadata.output.collections,
        term_weights=expand(rules.fetch_terms.output.terms, batch=BATCHES),
        images=rules.stack_images.output.images,
        voxels=rules.stack_images.output.matrix,
        mask=rules.stack_images.output.mask,
        components=rules.run_ica.output.components,
        mixing=rules.run_ica.output.mixing,
        unmixing=rules.run_ica.output.unmixing,
        built_maps=rules.build_term_maps.output.terms if DATABASE else [],
        networks=rules.match_networks.output.networks if REFERENCE else [],
        own_names=config["plot_components"]["labels"] or [],
    output:
        terms=shown("results/project_terms/desc-ICA_terms.tsv", "table", "Components", "terms"),
        matrix="results/project_terms/term_weights.npz",
        vocabulary="results/project_terms/vocabulary.tsv",
        enrichment=shown("results/project_terms/desc-ICA_enrichment.tsv", "table", "Components", "metadata"),
        map_terms=shown("results/project_terms/desc-ICA_termmaps.tsv", "table", "Components", "term maps"),
        names=shown("results/project_terms/desc-ICA_names.tsv", "table", "Components", "names"),
    log:
        "logs/project_terms.log",
    benchmark:
        "benchmarks/project_terms.tsv"
    conda:
        ENVIRONMENT
    threads: 4
    resources:
        mem_mb=growing(2000, per_mb=0.05),
        runtime=growing(30, per_mb=0.05),
    params:
        **config["project_terms"],
        random_state=config["run_ica"]["random_state"],
    script:
        "../scripts/project_terms.py"
