"""Get metadata, images and term weights from the archive.

Reads: the archive of config.yaml (a server, a cache, a table of own maps, or the simulated demo), and the lock.
Writes: results/build_demo_archive (demo only), results/fetch_metadata (collections, images, and how many each criterion
dropped), results/download_images/status-{batch}.tsv, results/fetch_terms/{terms,status}-{batch}.tsv, results/look_again
(only on request). Downloaded images go to the cache.
"""

if IS_MAIN and workflow.is_main_process and ARCHIVE.asks_server and not LOCK:
    print(*last_look(), sep="", end="", file=sys.stderr)


rule build_demo_archive:
    """Simulate a small NeuroVault with planted networks and the faults of the real one."""
    input:
        code_of("build_demo_archive"),
    output:
        archive=directory("results/build_demo_archive/archive"),
        networks_img="results/build_demo_archive/truth/networks.nii.gz",
        networks="results/build_demo_archive/truth/networks.tsv",
        images="results/build_demo_archive/truth/images.tsv",
    log:
        "logs/build_demo_archive.log",
    benchmark:
        "benchmarks/build_demo_archive.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        random_state=0,
    script:
        "../scripts/build_demo_archive.py"


rule fetch_metadata:
    """Select images by the metadata of the archive: apply the criteria, limit each collection, draw at random."""
    input:
        code_of("fetch_metadata"),
        configuration.filter_files(config),
        list(ARCHIVE.files.values()),
        rules.build_demo_archive.output.archive if DEMO else [],
        lock=LOCK,
    output:
        collections="results/fetch_metadata/collections.tsv",
        images="results/fetch_metadata/images.tsv",
        selection=shown("results/fetch_metadata/selection.tsv", "table", "Images", "selection"),
    log:
        "logs/fetch_metadata.log",
    benchmark:
        "benchmarks/fetch_metadata.tsv"
    retries: 0  # the client itself waits for a server that is down; other failures are final
    localrule: True  # compute nodes of a cluster often have no internet
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(240),
    params:
        **config["fetch_metadata"],
        archive=archive_without("neurosynth_url", "on_changed"),
        batches=len(BATCHES),
    script:
        "../scripts/fetch_metadata.py"


rule download_images:
    """Get the images of one batch into the cache, check them and compute their checksums."""
    input:
        code_of("download_images"),
        images=rules.fetch_metadata.output.images,
        lock=LOCK,
    output:
        status="results/download_images/status-{batch}.tsv",
    log:
        "logs/download_images-{batch}.log",
    benchmark:
        "benchmarks/download_images-{batch}.tsv"
    retries: 0  # the client itself waits for a server that is down; other failures are final
    localrule: True  # compute nodes of a cluster often have no internet
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(240),
        neurovault=int(ARCHIVE.asks_server),  # one batch at a time asks a server; local files are read in parallel
    params:
        archive=archive_without("neurosynth_url"),
        max_failed_fraction=config["download_images"]["max_failed_fraction"],
        resample=config["download_images"]["resample"],
        interpolation=config["download_images"]["interpolation"],
        batch=lambda wildcards: int(wildcards.batch),
    script:
        "../scripts/download_images.py"


rule fetch_terms:
    """Get the Neurosynth term weights of the images of one batch. Weights that cannot be fetched stay missing."""
    input:
        code_of("fetch_terms"),
        list(ARCHIVE.files.values()),
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
    localrule: True  # compute nodes of a cluster often have no internet
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(240),
        neurosynth=int(ARCHIVE.asks_server),
    params:
        archive=archive_without("url"),
        batch=lambda wildcards: int(wildcards.batch),
    script:
        "../scripts/fetch_terms.py"


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
        terms=lambda wildcards: expand(rules.fetch_terms.output.status, batch=BATCHES),
        last=lambda wildcards: [str(file) for file in rules.all.input],
        # A changed parameter runs the rule again, so each request does.
        requested=lambda wildcards: STARTED if is_requested("update") else None,
    script:
        "../scripts/look_again.py"


rule update:
    """Look at the archive again, and rerun what depends on new or changed answers."""
    input:
        lambda wildcards: checkpoints.look_again.get() and rules.all.input,
