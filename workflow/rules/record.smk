"""Write the lock, the methods text and the page.

Reads: the results of all other rules.
Writes: results/write_lock (images.lock.tsv, run.json, methods.md, references.bib), results/render_report/report.html.
"""

# Settings of the run. The section project_images is left out, because other maps to project do not change the run.
SETTINGS = {key: value for key, value in config.items() if key != "project_images"}


rule write_lock:
    """Write files for a rerun and for a paper: images with checksums, versions, methods text, references."""
    input:
        code_of("write_lock"),
        selection=rules.fetch_metadata.output.images,
        collections=rules.fetch_metadata.output.collections,
        downloads=expand(rules.download_images.output.status, batch=BATCHES),
        term_status=expand(rules.fetch_terms.output.status, batch=BATCHES),
        images=rules.stack_images.output.images,
        rejected=rules.stack_images.output.rejected,
        decomposition=rules.run_ica.output.decomposition,
        stability=rules.run_ica.output.stability,
        terms=rules.project_terms.output.terms,
        enrichment=rules.project_terms.output.enrichment,
        map_terms=rules.project_terms.output.map_terms,
        names=rules.project_terms.output.names,
        mixture=rules.plot_components.output.mixture,
        networks=rules.match_networks.output.networks if REFERENCE else [],
        built_terms=rules.build_term_maps.output.terms if DATABASE else [],
        results=[
            rules.fetch_metadata.output,
            rules.build_mask.output,
            rules.stack_images.output,
            rules.reduce_images.output,
            rules.run_ica.output,
            rules.build_term_maps.output if DATABASE else [],
            rules.project_terms.output,
            rules.match_networks.output if REFERENCE else [],
            rules.plot_components.output,
            rules.plot_surfaces.output if SURFACES else [],
            rules.plot_images.output,
            rules.plot_relations.output,
            rules.check_demo.output if DEMO else [],
        ],
    output:
        lock="results/write_lock/images.lock.tsv",
        run="results/write_lock/run.json",
        methods="results/write_lock/methods.md",
        references="results/write_lock/references.bib",
    log:
        "logs/write_lock.log",
    benchmark:
        "benchmarks/write_lock.tsv"
    group:
        "report"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        settings=SETTINGS,
        data_dir=ARCHIVE.data_dir,
    script:
        "../scripts/write_lock.py"


SCAN = rules.scan_components.output


rule render_report:
    """Put figures and tables into one self-contained page."""
    input:
        code_of("render_report"),
        lambda wildcards: SCAN if is_requested("scan_components") else [],
        **page_figures("_figure", rules.plot_images, rules.plot_relations),
        **page_figures("_figures", rules.plot_components),
        selection=rules.fetch_metadata.output.selection,
        collections=rules.fetch_metadata.output.collections,
        term_status=expand(rules.fetch_terms.output.status, batch=BATCHES),
        images=rules.stack_images.output.images,
        rejected=rules.stack_images.output.rejected,
        variance=rules.reduce_images.output.variance,
        stability=rules.run_ica.output.stability,
        decomposition=rules.run_ica.output.decomposition,
        mixing=rules.run_ica.output.mixing,
        top_images=rules.run_ica.output.top_images,
        top_collections=rules.run_ica.output.top_collections,
        terms=rules.project_terms.output.terms,
        vocabulary=rules.project_terms.output.vocabulary,
        enrichment=rules.project_terms.output.enrichment,
        map_terms=rules.project_terms.output.map_terms,
        names=rules.project_terms.output.names,
        maps=rules.run_ica.output.components,
        mask=rules.stack_images.output.mask,
        template=rules.build_mask.output.template,
        figures=rules.plot_components.output.figures,
        thumbnails=rules.plot_components.output.thumbnails,
        thresholds=rules.plot_components.output.thresholds,
        thresholded=rules.plot_components.output.thresholded,
        peaks=rules.plot_components.output.peaks,
        glass=rules.plot_images.output.glass,
        networks=rules.match_networks.output.networks if REFERENCE else [],
        network_figures=rules.match_networks.output.figures if REFERENCE else [],
        surface_figures=rules.plot_surfaces.output.figures if SURFACES else [],
        surface_views=rules.plot_surfaces.output.surfaces if SURFACES else [],
        glass_brains=rules.plot_surfaces.output.glass if SURFACES else [],
        hemispheres=[rules.plot_surfaces.output.left, rules.plot_surfaces.output.right] if SURFACES else [],
        mesh=rules.plot_surfaces.output.mesh if SURFACES else [],
        run=rules.write_lock.output.run,
        methods=rules.write_lock.output.methods,
        references=rules.write_lock.output.references,
        recovery=rules.check_demo.output.recovery if DEMO else [],
        database=rules.fetch_database.output.files if DATABASE and is_downloaded(DATABASE) else [],
    output:
        report=shown("results/render_report/report.html", "page", "Page", "report of the run"),
    log:
        "logs/render_report.log",
    benchmark:
        "benchmarks/render_report.tsv"
    group:
        "report"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        settings=SETTINGS,
        # Inputs only if this run scans: a scan that is out of date must not run again for the page.
        scan=lambda wildcards: [
            str(file) for _, file in SCAN.items() if is_requested("scan_components") or os.path.exists(file)
        ],
    script:
        "../scripts/render_report.py"


LAST_FILES = [
    rules.render_report.output.report,
    rules.write_lock.output.run,
    *([rules.check_demo.output.recovery] if DEMO else []),
]
# A run computes each of these files that is missing, even if the page exists. Arrays (.npy) are left out. They are
# computed only if another stage needs them, so you may delete them to free disk space.
KEPT_FILES = [
    *LAST_FILES,
    *rules.write_lock.output,
    *(
        file
        for name in ("downloads", "term_status", "results")
        for file in getattr(rules.write_lock.input, name)
        if not str(file).endswith(".npy")
    ),
]
# Stages that the configuration may switch off, and whether they are on.
OPTIONAL = {"build_term_maps": DATABASE, "match_networks": REFERENCE, "plot_surfaces": SURFACES}
