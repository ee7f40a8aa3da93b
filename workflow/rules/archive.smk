"""Get metadata and images from the archive, and the database of coordinates.

Reads: the archive of config.yaml (a server, a cache, a table of own maps, or the simulated demo), and the lock.
Writes: results/build_demo_archive (demo only), results/fetch_metadata (collections, images, and how many each criterion
dropped), results/download_images/status-{batch}.tsv and results/fetch_database (only with Neurosynth's database).
Downloaded files go to the cache.
"""

if IS_MAIN and workflow.is_main_process and ARCHIVE.asks_server and not LOCK:
    print(*notices.last_look(ARCHIVE, CALL), sep="", end="", file=sys.stderr)

if IS_MAIN and workflow.is_main_process:
    print(*disk_space.notice(config), sep="", end="", file=sys.stderr)


rule build_demo_archive:
    """Simulate a small NeuroVault with planted networks, and a database of coordinates."""
    input:
        code_of("build_demo_archive"),
    output:
        archive=directory("results/build_demo_archive/archive"),
        database=list(DEMO_FILES),
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
        list(named_files.filter_files(config).values()),
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
    # Jobs that only wait for a server need no core. The profile's resource `neurovault` limits their number instead.
    threads: 0 if ARCHIVE.asks_server and "neurovault" in workflow.global_resources else 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(240),
        neurovault=int(ARCHIVE.asks_server),
    params:
        archive=archive_without("neurosynth_url"),
        max_failed_fraction=config["download_images"]["max_failed_fraction"],
        resample=config["download_images"]["resample"],
        interpolation=config["download_images"]["interpolation"],
        clip=config["mask_images"]["clip_infinite"],
        batch=lambda wildcards: int(wildcards.batch),
    script:
        "../scripts/download_images.py"


rule fetch_database:
    """Get Neurosynth's coordinates of peaks; only if build_term_maps.database is Neurosynth's."""
    input:
        code_of("fetch_database"),
    output:
        files="results/fetch_database/files.tsv",
    log:
        "logs/fetch_database.log",
    benchmark:
        "benchmarks/fetch_database.tsv"
    retries: 0  # the client itself waits for a server that is down; other failures are final
    localrule: True  # compute nodes of a cluster often have no internet
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(60),
    params:
        database=DATABASE,
        vocabulary=config["build_term_maps"]["vocabulary"],
        data_dir=config["archive"]["data_dir"],
        offline=ARCHIVE.forbids_network,
    script:
        "../scripts/fetch_database.py"
