"""Look at the archive again, only on request: `snakemake --cores 2 update`.

Reads: the archive of config.yaml, results/fetch_metadata, results/download_images and results/fetch_terms.
Writes: results/look_again. Tables of results/fetch_metadata that have changed are replaced, so that the rules behind them
run again.
"""


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
        last=lambda wildcards: [str(file) for file in rules.all.input],
        # A changed parameter runs the rule again, so each request does.
        requested=lambda wildcards: STARTED if is_requested("update") else None,
    script:
        "../scripts/look_again.py"


rule update:
    """Look at the archive again, and rerun what depends on new or changed answers."""
    input:
        lambda wildcards: checkpoints.look_again.get() and rules.all.input,
