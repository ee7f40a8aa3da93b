"""Cross-study ICA of NeuroVault: statistic maps of many studies in, named brain networks out.

Rules stand in the order in which they run. One name runs through: rule, script, section of config.yaml, folder under
results/, log, benchmark and test. Modules that a script imports are inputs without a name: Snakemake sees changes in
scripts, not in what they import.
"""

import os
import sys
import time

from snakemake.exceptions import WorkflowError

HOME = workflow.current_basedir
# False where another workflow has imported this one: folder, configuration and targets are that workflow's then.
IS_MAIN = workflow.modifier.is_main_snakefile()


def ours(path):
    """Name a file of this workflow, which may have to be fetched first."""
    folder = HOME.get_path_or_uri(secret_free=True)
    if IS_MAIN and os.path.isdir(folder):
        return os.path.relpath(os.path.join(folder, path))
    return workflow.source_path(path)


def modules(*names):
    """Name modules that a script imports."""
    return [ours(f"workflow/scripts/{name}.py") for name in names]


# What is imported here, and what that reads and imports.
DEFAULTS, _, _, *HERE = [
    ours("config.yaml"),
    ours("workflow/schemas/config.schema.yaml"),
    ours("workflow/schemas/tables.json"),
    *modules("atlases", "configuration", "filters", "jobs", "outputs", "term_files"),
]
sys.path.insert(0, os.path.dirname(os.path.abspath(HERE[0])))
import configuration
import jobs
import outputs
from jobs import growing

# What stays here, Snakemake mounts into containers, without what lies beside it.
del sys.path[0]

if IS_MAIN and os.path.exists("config.yaml"):

    configfile: "config.yaml"


report: "workflow/report/page.rst"


# With --sdm apptainer, jobs run in this image, in the working directory: envs/neurovault_ica.def says how to build it.
container: "neurovault_ica.sif"


try:
    if IS_MAIN:
        configuration.replace_mappings(config, workflow.config_settings.overwrite_config)
    config = configuration.complete(config, DEFAULTS)
    configuration.check_configuration(config)
    if IS_MAIN and workflow.is_main_process:
        jobs.drop_stale_locks()
        jobs.check_results("logs")
except (RuntimeError, ValueError) as error:
    raise WorkflowError(str(error)) from None

DEMO = config["archive"]["source"] == "demo"
LOCK = config["archive"]["lock"] or []
TABLE = config["archive"]["table"] or []
BATCHES = range(config["batches"])
COMPONENTS = outputs.component_labels(config["run_ica"]["n_components"])
MASK_FILE = configuration.mask_file(config)
REFERENCE = config["match_networks"]["reference"]
MIXTURE = "mixture" in config["plot_components"]["threshold"]
SPACE = f"space-MNI152NLin2009aSym_res-{'mask' if MASK_FILE else config['mask_images']['resolution_mm']}"
STARTED = time.time()
ENVIRONMENT = "envs/neurovault_ica.yaml"
FOUNDATION = [*modules("outputs", "stage_log"), ours("workflow/schemas/tables.json")]
FETCHING = modules("answers", "connections", "lock", "neurovault", "neurovault_api", "sources", "web")


def shown(file, caption, category, what):
    """Take a file into the page that `snakemake --report` makes."""
    kind = {".png": "figure", ".tsv": "table", ".html": "page"}[os.path.splitext(file)[1]]
    labels = {"shows": what, "kind": kind}
    return report(file, caption=f"workflow/report/{caption}.rst", category=category, labels=labels)


wildcard_constraints:
    batch=r"\d+",


rule all:
    input:
        "results/render_report/report.html",
        "results/write_lock/run.json",
        "results/check_demo/recovery.tsv" if DEMO else [],


rule build_demo_archive:
    """Simulate a small NeuroVault with planted networks and the dirt of the real one."""
    input:
        modules("demo_dirt", "demo_networks", "demo_records", "demo_studies", "demo_volumes", "neurovault"),
        FOUNDATION,
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
        "workflow/scripts/build_demo_archive.py"


ARCHIVE = configuration.locate_archive(config["archive"], demo=str(rules.build_demo_archive.output.archive))
ASKS_NEUROVAULT = ARCHIVE["source"] == "neurovault" and ARCHIVE["mode"] != "offline"


rule fetch_metadata:
    """Read the metadata of the archive, filter, balance over collections, cap."""
    input:
        modules("filters", "selection"),
        configuration.filter_files(config),
        FETCHING,
        FOUNDATION,
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
        "workflow/scripts/fetch_metadata.py"


rule download_images:
    """Get the images of one batch into the cache, check and hash them."""
    input:
        modules("mask_images", "quality", "resampling") if config["download_images"]["resample"] else [],
        FETCHING,
        FOUNDATION,
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
        "workflow/scripts/download_images.py"


rule fetch_terms:
    """Get the Neurosynth term weights of the images of one batch; what cannot be had stays missing."""
    input:
        FETCHING,
        FOUNDATION,
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
        "workflow/scripts/fetch_terms.py"


rule build_mask:
    """Make the brain mask once; its grid is the one on which everything is computed."""
    input:
        modules("mni_space", "resampling"),
        MASK_FILE,
        FOUNDATION,
    output:
        mask="results/build_mask/mask.nii.gz",
        template="results/build_mask/template.nii.gz",
    log:
        "logs/build_mask.log",
    # Only where --cache asks for it: Snakemake would warn at every start. What is cached cannot have a benchmark.
    cache: workflow.workflow_settings.cache is not None
    localrule: True  # a job in a queue costs more than a mask
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        source=config["mask_images"]["mask"],
        resolution_mm=config["mask_images"]["resolution_mm"],
    script:
        "workflow/scripts/build_mask.py"


rule mask_images:
    """Clean, resample to the mask's grid and mask the images of one batch; measure their quality."""
    input:
        modules("quality", "resampling"),
        FOUNDATION,
        status=rules.download_images.output.status,
        mask=rules.build_mask.output.mask,
    output:
        voxels="results/mask_images/voxels-{batch}.npy",
        quality="results/mask_images/quality-{batch}.tsv",
    log:
        "logs/mask_images-{batch}.log",
    benchmark:
        "benchmarks/mask_images-{batch}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(30, per_mb=200),
    params:
        data_dir=ARCHIVE["data_dir"],
        interpolation=config["mask_images"]["interpolation"],
        extrapolate_background=config["mask_images"]["extrapolate_background"],
    script:
        "workflow/scripts/mask_images.py"


rule stack_images:
    """Join the batches to one matrix, drop what quality control refuses, scale."""
    input:
        modules("criteria", "matrix", "parallel"),
        FOUNDATION,
        selection=rules.fetch_metadata.output.images,
        downloads=expand(rules.download_images.output.status, batch=BATCHES),
        qualities=expand(rules.mask_images.output.quality, batch=BATCHES),
        voxels=expand(rules.mask_images.output.voxels, batch=BATCHES),
        brain_mask=rules.build_mask.output.mask,
    output:
        matrix="results/stack_images/matrix.npy",
        images="results/stack_images/images.tsv",
        rejected=shown("results/stack_images/rejected.tsv", "table", "Images", "refused images"),
        quality="results/stack_images/quality.tsv",
        mask="results/stack_images/mask.nii.gz",
    log:
        "logs/stack_images.log",
    benchmark:
        "benchmarks/stack_images.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1000, per_mb=0.1),
        runtime=growing(30, per_mb=0.02),
    params:
        scale=config["stack_images"]["scale"],
        criteria=config["stack_images"]["quality"],
        max_failed_fraction=config["download_images"]["max_failed_fraction"],
    script:
        "workflow/scripts/stack_images.py"


rule reduce_images:
    """Centre and whiten: Gram matrix of the images, principal components."""
    input:
        modules("gram", "krylov", "matrix", "parallel"),
        FOUNDATION,
        matrix=rules.stack_images.output.matrix,
        images=rules.stack_images.output.images,
    output:
        whitened="results/reduce_images/whitened.npy",
        reduction="results/reduce_images/reduction.npz",
        variance="results/reduce_images/variance.tsv",
    log:
        "logs/reduce_images.log",
    benchmark:
        "benchmarks/reduce_images.tsv"
    conda:
        ENVIRONMENT
    threads: 4
    resources:
        mem_mb=growing(3000, per_mb=0.05),
        runtime=growing(30, per_mb=0.05),
    params:
        **config["reduce_images"],
        n_components=config["run_ica"]["n_components"],
    script:
        "workflow/scripts/reduce_images.py"


rule run_ica:
    """Find independent components: FastICA from several starts, one consensus, order and sign settled."""
    input:
        modules("consensus", "fastica", "loadings", "maps", "matrix", "parallel", "stability"),
        FOUNDATION,
        matrix=rules.stack_images.output.matrix,
        whitened=rules.reduce_images.output.whitened,
        reduction=rules.reduce_images.output.reduction,
        images=rules.stack_images.output.images,
        collections=rules.fetch_metadata.output.collections,
        mask=rules.stack_images.output.mask,
    output:
        components=f"results/run_ica/{SPACE}_desc-ICA_components.nii.gz",
        mixing="results/run_ica/desc-ICA_mixing.tsv",
        unmixing="results/run_ica/desc-ICA_unmixing.tsv",
        stability=shown("results/run_ica/desc-ICA_stability.tsv", "table", "Components", "stability"),
        top_images="results/run_ica/desc-ICA_images.tsv",
        top_collections="results/run_ica/desc-ICA_collections.tsv",
        decomposition="results/run_ica/desc-ICA_decomposition.json",
    log:
        "logs/run_ica.log",
    benchmark:
        "benchmarks/run_ica.tsv"
    conda:
        ENVIRONMENT
    threads: 4
    resources:
        mem_mb=growing(2000, per_mb=0.05),
        runtime=growing(60, per_mb=0.1),
    params:
        **{key: value for key, value in config["run_ica"].items() if key != "n_components"},
    script:
        "workflow/scripts/run_ica.py"


rule scan_components:
    """Compare numbers of components; not part of `all`: snakemake --cores 2 scan_components."""
    input:
        modules("consensus", "fastica", "matrix", "parallel", "smoothness", "spatial_null", "stability"),
        FOUNDATION,
        matrix=rules.stack_images.output.matrix,
        reduction=rules.reduce_images.output.reduction,
        images=rules.stack_images.output.images,
        mask=rules.stack_images.output.mask,
    output:
        table="results/scan_components/orders.tsv",
        figure="results/scan_components/orders.png",
        advice="results/scan_components/advice.txt",
    log:
        "logs/scan_components.log",
    benchmark:
        "benchmarks/scan_components.tsv"
    conda:
        ENVIRONMENT
    threads: 4
    resources:
        mem_mb=growing(3000, per_mb=0.05),
        runtime=growing(120, per_mb=0.5),
    params:
        **config["scan_components"],
        **{key: value for key, value in config["run_ica"].items() if key != "n_components"},
    script:
        "workflow/scripts/scan_components.py"


rule project_terms:
    """Name the components: project term weights and metadata labels through the loadings."""
    input:
        modules(
            "atlases",
            "labels",
            "maps",
            "matrix",
            "mni_space",
            "parallel",
            "random_maps",
            "references",
            "resampling",
            "significance",
            "smoothness",
            "spatial_null",
            "term_files",
            "term_maps",
        ),
        configuration.term_map_files(config),
        FOUNDATION,
        selection=rules.fetch_metadata.output.images,
        collections=rules.fetch_metadata.output.collections,
        term_weights=expand(rules.fetch_terms.output.terms, batch=BATCHES),
        images=rules.stack_images.output.images,
        voxels=rules.stack_images.output.matrix,
        mask=rules.stack_images.output.mask,
        components=rules.run_ica.output.components,
        mixing=rules.run_ica.output.mixing,
        unmixing=rules.run_ica.output.unmixing,
    output:
        terms=shown("results/project_terms/desc-ICA_terms.tsv", "table", "Components", "terms"),
        matrix="results/project_terms/term_weights.npz",
        vocabulary="results/project_terms/vocabulary.tsv",
        enrichment=shown("results/project_terms/desc-ICA_enrichment.tsv", "table", "Components", "metadata"),
        map_terms=shown("results/project_terms/desc-ICA_termmaps.tsv", "table", "Components", "maps of terms"),
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
        "workflow/scripts/project_terms.py"


rule check_demo:
    """Demo only: score the run against what was planted."""
    input:
        modules("demo_networks", "significance"),
        FOUNDATION,
        networks_img=rules.build_demo_archive.output.networks_img,
        networks=rules.build_demo_archive.output.networks,
        truth_images=rules.build_demo_archive.output.images,
        components=rules.run_ica.output.components,
        terms=rules.project_terms.output.terms,
        images=rules.stack_images.output.images,
        rejected=rules.stack_images.output.rejected,
    output:
        recovery="results/check_demo/recovery.tsv",
    log:
        "logs/check_demo.log",
    benchmark:
        "benchmarks/check_demo.tsv"
    group:
        "report"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    script:
        "workflow/scripts/check_demo.py"


rule match_networks:
    """Only where a reference is configured: find the components in its networks."""
    input:
        modules("atlases", "drawing", "maps", "mni_space", "parallel", "peaks", "png", "references", "resampling"),
        modules("significance", "smoothness", "spatial_null"),
        configuration.reference_files(config),
        FOUNDATION,
        components=rules.run_ica.output.components,
        mask=rules.stack_images.output.mask,
        template=rules.build_mask.output.template,
    output:
        expand("results/match_networks/{figure}.pdf", figure=[*COMPONENTS, "correlations"]),
        networks=shown("results/match_networks/desc-ICA_networks.tsv", "table", "Components", "reference networks"),
        correlations="results/match_networks/desc-ICA_correlations.tsv",
        figures=expand("results/match_networks/{component}.png", component=COMPONENTS),
        matrix=shown(
            "results/match_networks/correlations.png", "networks", "Relations", "components and reference networks"
        ),
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
        data_dir=config["archive"]["data_dir"],
        random_state=config["run_ica"]["random_state"],
    script:
        "workflow/scripts/match_networks.py"


rule plot_components:
    """Draw every component, an overview and the terms; write thresholded maps and peak tables."""
    input:
        modules("atlases", "component_figure", "drawing", "maps", "mixture", "mixture_figures", "mni_space", "names"),
        modules("peaks", "png", "regions", "significance", "smoothness", "terms_figure", "workers"),
        configuration.atlas_files(config),
        FOUNDATION,
        components=rules.run_ica.output.components,
        mask=rules.stack_images.output.mask,
        template=rules.build_mask.output.template,
        stability=rules.run_ica.output.stability,
        terms=rules.project_terms.output.terms,
    output:
        expand("results/plot_components/{figure}.pdf", figure=[*COMPONENTS, "overview", "terms"]),
        expand("results/plot_components/{component}_mixture.pdf", component=COMPONENTS if MIXTURE else []),
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
        **config["plot_components"],
    script:
        "workflow/scripts/plot_components.py"


rule plot_images:
    """Draw the images that went in: their quality, coverage and correlations, each as a glass brain."""
    input:
        modules("drawing", "glass_brains", "maps", "matrix", "parallel", "peaks", "png"),
        FOUNDATION,
        matrix=rules.stack_images.output.matrix,
        mask=rules.stack_images.output.mask,
        template=rules.build_mask.output.template,
        images=rules.stack_images.output.images,
        rejected=rules.stack_images.output.rejected,
        quality=rules.stack_images.output.quality,
        qualities=expand(rules.mask_images.output.quality, batch=BATCHES),
        voxels=expand(rules.mask_images.output.voxels, batch=BATCHES),
    output:
        "results/plot_images/quality.pdf",
        "results/plot_images/coverage.pdf",
        "results/plot_images/correlation.pdf",
        quality_figure=shown("results/plot_images/quality.png", "quality", "Images", "quality"),
        coverage_figure=shown("results/plot_images/coverage.png", "coverage", "Images", "coverage"),
        coverage="results/plot_images/coverage.nii.gz",
        correlation_figure=shown("results/plot_images/correlation.png", "correlation", "Images", "correlation"),
        correlation="results/plot_images/correlation.tsv",
        glass="results/plot_images/glass_brains.npz",
    log:
        "logs/plot_images.log",
    benchmark:
        "benchmarks/plot_images.tsv"
    group:
        "report"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1500, per_mb=0.05),
        runtime=growing(30, per_mb=0.05),
    params:
        criteria=config["stack_images"]["quality"],
    script:
        "workflow/scripts/plot_images.py"


rule plot_relations:
    """Draw what goes with what: collections and components, components in space and in terms."""
    input:
        modules("drawing", "maps", "names", "peaks", "png", "significance"),
        FOUNDATION,
        thresholded=rules.plot_components.output.thresholded,
        mask=rules.stack_images.output.mask,
        mixing=rules.run_ica.output.mixing,
        reduction=rules.reduce_images.output.reduction,
        images=rules.stack_images.output.images,
        terms=rules.project_terms.output.terms,
    output:
        "results/plot_relations/loadings.pdf",
        "results/plot_relations/similarity.pdf",
        loadings_figure=shown(
            "results/plot_relations/loadings.png", "loadings", "Relations", "collections and components"
        ),
        loadings="results/plot_relations/loadings.tsv",
        similarity_figure=shown(
            "results/plot_relations/similarity.png", "similarity", "Relations", "components and components"
        ),
        similarity="results/plot_relations/similarity.tsv",
    log:
        "logs/plot_relations.log",
    benchmark:
        "benchmarks/plot_relations.tsv"
    group:
        "report"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1500, per_mb=2),
        runtime=growing(10),
    script:
        "workflow/scripts/plot_relations.py"


rule write_lock:
    """Write what a rerun and a paper need: images with hashes, versions, methods text, references."""
    input:
        modules(
            "atlases", "bibliography", "lock", "maps", "methods_text", "mixture", "neurovault", "peaks", "random_maps"
        ),
        modules("significance"),
        ours("workflow/report/software.bib"),
        FOUNDATION,
        selection=rules.fetch_metadata.output.images,
        collections=rules.fetch_metadata.output.collections,
        downloads=expand(rules.download_images.output.status, batch=BATCHES),
        term_status=expand(rules.fetch_terms.output.status, batch=BATCHES),
        images=rules.stack_images.output.images,
        rejected=rules.stack_images.output.rejected,
        decomposition=rules.run_ica.output.decomposition,
        results=[
            rules.fetch_metadata.output,
            rules.build_mask.output,
            rules.stack_images.output,
            rules.reduce_images.output,
            rules.run_ica.output,
            rules.project_terms.output,
            rules.match_networks.output if REFERENCE else [],
            rules.plot_components.output,
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
        settings=config,
        data_dir=ARCHIVE["data_dir"],
    script:
        "workflow/scripts/write_lock.py"


rule render_report:
    """Put figures and tables into one self-contained page."""
    input:
        modules("consensus", "fastica", "page_charts", "page_tables", "page_text", "page_warnings", "parallel"),
        modules("drawing", "filters", "maps", "names", "peaks", "png", "significance", "viewer"),
        [ours(f"workflow/report/{name}.html.jinja") for name in ["component", "images", "macros", "report"]],
        [ours(f"workflow/report/{file}") for file in ["report.css", "report.js", "viewer.js"]],
        FOUNDATION,
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
        maps=rules.run_ica.output.components,
        mask=rules.stack_images.output.mask,
        template=rules.build_mask.output.template,
        figures=rules.plot_components.output.figures,
        thumbnails=rules.plot_components.output.thumbnails,
        thresholds=rules.plot_components.output.thresholds,
        mixture_figures=rules.plot_components.output.mixture_figures,
        peaks=rules.plot_components.output.peaks,
        image_figures=[
            rules.plot_images.output.quality_figure,
            rules.plot_images.output.coverage_figure,
            rules.plot_images.output.correlation_figure,
        ],
        glass=rules.plot_images.output.glass,
        relation_figures=[
            rules.plot_relations.output.loadings_figure,
            rules.plot_relations.output.similarity_figure,
        ],
        networks=rules.match_networks.output.networks if REFERENCE else [],
        network_figures=rules.match_networks.output.figures if REFERENCE else [],
        run=rules.write_lock.output.run,
        methods=rules.write_lock.output.methods,
        references=rules.write_lock.output.references,
        recovery=rules.check_demo.output.recovery if DEMO else [],
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
        settings=config,
    script:
        "workflow/scripts/render_report.py"


onsuccess:
    if os.path.isfile("results/render_report/report.html"):
        print(f"Report: {os.path.abspath('results/render_report/report.html')}")


onerror:
    print(*jobs.last_words("logs", since=STARTED), sep="\n")
