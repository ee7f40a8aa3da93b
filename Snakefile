"""Cross-study ICA of NeuroVault: statistic maps of many studies in, named brain networks out.

The rules are in workflow/rules, in the order in which they run. The name of a rule is also that of its script, section
in config.yaml, folder in results/, log, benchmark and test.
"""

import os
import sys
import time
from pathlib import Path

# False if another workflow imports this one. That workflow then decides on folder, configuration and targets.
IS_MAIN = workflow.modifier.is_main_snakefile()
HOME = workflow.current_basedir.get_path_or_uri(secret_free=True)


include: "workflow/rules/common.smk"


CONFIG_FILES = [file for file in ["config.yaml"] if IS_MAIN and os.path.exists(file)]

with plain_errors():
    layers = read_layers(CONFIG_FILES, workflow.config_settings) if IS_MAIN else []

if CONFIG_FILES:

    configfile: "config.yaml"


report: "workflow/report/page.rst"


# With --sdm apptainer, jobs run in this image, a file in the working directory. To build it, see envs/neurovault_ica.def.
container: "neurovault_ica.sif"


with plain_errors():
    checking.replace_mappings(config, layers)
    config = checking.complete(config, ours("config.yaml"))
    checking.check_configuration(config, known_file=Path(".snakemake/checked_configuration") if IS_MAIN else None)
    ARCHIVE = open_archive(config["archive"])
    if IS_MAIN and workflow.is_main_process:
        CALL = commands.describe_call(sys.argv[1:], workflow.config_settings)
        owner.check_owner(ARCHIVE, CALL)
        recovery.drop_stale_locks()
        recovery.check_results("logs", CALL)
        tidy_terminal(workflow.output_settings)
        # Notebooks set it to a module that may not be installed here. matplotlib then stops at its import.
        os.environ.pop("MPLBACKEND", None)

LOCK = config["archive"]["lock"] or []
DEMO = ARCHIVE.is_demo
BATCHES = range(config["batches"])
COMPONENTS = component_labels(config["run_ica"]["n_components"])
MASK_FILE = named_files.mask_file(config)
REFERENCE = config["match_networks"]["reference"]
DATABASE = named_files.term_database(config)
DISPLAY = {key: config["plot_components"][key] for key in ("threshold", "min_cluster_mm3")}
MIXTURE = "mixture" in DISPLAY["threshold"]
SPACE = f"space-MNI152NLin2009aSym_res-{'mask' if MASK_FILE else config['mask_images']['resolution_mm']}"
STARTED = time.time()
# At its end, the run shows those of these files that it has written.
REPORT, ADVICE = "results/render_report/report.html", "results/scan_components/advice.txt"
PROJECTION = "results/project_images/projection.html"
BEFORE = recovery.times_of(REPORT, ADVICE, PROJECTION)


wildcard_constraints:
    batch=r"\d+",


rule all:
    input:
        lambda wildcards: KEPT_FILES,  # at the end of workflow/rules/record.smk


include: "workflow/rules/archive.smk"
include: "workflow/rules/images.smk"
include: "workflow/rules/components.smk"
include: "workflow/rules/names.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/relations.smk"
include: "workflow/rules/record.smk"
include: "workflow/rules/on_request.smk"


onstart:
    if workflow.is_main_process:
        owner.remember(ARCHIVE, CALL)


onsuccess:
    print(*notices.missing_maps(config, DATABASE, CALL), *notices.left_over(OPTIONAL), sep="", end="")
    for path in recovery.changed_since(BEFORE):
        print(f"Report: {os.path.abspath(path)}" if path != ADVICE else Path(path).read_text(encoding="utf-8"))


onerror:
    print(*recovery.quote_errors("logs", since=STARTED), sep="\n")
