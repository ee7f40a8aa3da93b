"""Get metadata, images and term weights from the archive.

Reads: the archive of config.yaml (a server, a cache, a table of own maps, or the demo that is simulated here), the lock.
Writes: results/build_demo_archive (demo only), results/fetch_metadata (collections, images and what each criterion
dropped), results/download_images/status-{batch}.tsv, results/fetch_terms/terms-{batch}.tsv; images go to the cache.
"""


rule build_demo_archive:
    """Simulate a small NeuroVault with planted networks and the dirt of the real one."""
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
    """Read the metadata of the archive, filter, balance over collections, cap."""
    input:
        code_of("fetch_metadata"),
        configuration.filter_files(config),
        demo=rules.build_demo_archive.output.archive if DEMO else [],
        lock=LOCK,
        table=TABLE,
    output:
        collections="results/fetch_metadata/collections.tsv",
        images="results/fetch_metadata/images.tsv",
        selection=shown("results/fetch_metadata/selection.tsv", "table", "Images", "selection"),
    log:
        "logs/fetch_metadata.log",
    benchmark:
        "benchmarks/fetch_metadata.tsv"
    retries: 0  # the client waits out an outage itself; other failures are final
    localrule: True  # nodes of a cluster often have no internet
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(240),
    params:
        **config["fetch_metadata"],
        archive={key: ARCHIVE[key] for key in ["source", "data_dir", "url", "mode"]},
        batches=len(BATCHES),
    script:
        "../scripts/fetch_metadata.py"


rule download_images:
    """Get the images of one batch into the cache, check and hash them."""
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
    retries: 0  # the client waits out an outage itself; other failures are final
    localrule: True  # nodes of a cluster often have no internet
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(240),
        neurovault=int(ASKS_NEUROVAULT),  # one batch at a time asks a server; files at hand are read side by side
    params:
        archive={key: ARCHIVE[key] for key in ["source", "data_dir", "url", "mode", "on_changed"]},
        max_failed_fraction=config["download_images"]["max_failed_fraction"],
        resample=config["download_images"]["resample"],
        interpolation=config["download_images"]["interpolation"],
        batch=lambda wildcards: int(wildcards.batch),
    script:
        "../scripts/download_images.py"


rule fetch_terms:
    """Get the Neurosynth term weights of the images of one batch; what cannot be had stays missing."""
    input:
        code_of("fetch_terms"),
        images=rules.fetch_metadata.output.images,
        lock=LOCK,
        table=TABLE,
    output:
        terms="results/fetch_terms/terms-{batch}.tsv",
        status="results/fetch_terms/status-{batch}.tsv",
    log:
        "logs/fetch_terms-{batch}.log",
    benchmark:
        "benchmarks/fetch_terms-{batch}.tsv"
    retries: 0  # the client waits out an outage itself; other failures are final
    localrule: True  # nodes of a cluster often have no internet
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(240),
        neurosynth=int(ASKS_NEUROVAULT),
    params:
        archive={key: ARCHIVE[key] for key in ["source", "data_dir", "neurosynth_url", "mode", "on_changed"]},
        batch=lambda wildcards: int(wildcards.batch),
    script:
        "../scripts/fetch_terms.py"
