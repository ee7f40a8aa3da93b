"""Cross-study ICA of NeuroVault: statistic maps of many studies in, named brain networks out.

The rules are in workflow/rules, in the order in which they run. The name of a rule is also that of its script, section
in config.yaml, folder in results/, log, benchmark and test.
"""

import os
import time
from pathlib import Path

# False if another workflow imports this one. That workflow then decides on folder, configuration and targets.
IS_MAIN = workflow.modifier.is_main_snakefile()
HOME = workflow.current_basedir.get_path_or_uri(secret_free=True)


include: "workflow/rules/common.smk"


if IS_MAIN and os.path.exists("config.yaml"):

    configfile: "config.yaml"


report: "workflow/report/page.rst"


# With --sdm apptainer, jobs run in this image, a file in the working directory. To build it, see envs/neurovault_ica.def.
container: "neurovault_ica.sif"


try:
    if IS_MAIN:
        configuration.replace_mappings(config, workflow.config_settings.overwrite_config)
    config = configuration.complete(config, ours("config.yaml"))
    configuration.check_configuration(config, known_file=Path(".snakemake/checked_configuration") if IS_MAIN else None)
    if IS_MAIN and workflow.is_main_process:
        recovery.drop_stale_locks()
        recovery.check_results("logs")
except (RuntimeError, ValueError) as error:
    raise WorkflowError(str(error)) from None

LOCK = config["archive"]["lock"] or []
ARCHIVE = open_archive(config["archive"])
DEMO = ARCHIVE.is_demo
BATCHES = range(config["batches"])
COMPONENTS = component_labels(config["run_ica"]["n_components"])
MASK_FILE = configuration.mask_file(config)
REFERENCE = config["match_networks"]["reference"]
DATABASE = configuration.term_database(config)
MIXTURE = "mixture" in config["plot_components"]["threshold"]
SPACE = f"space-MNI152NLin2009aSym_res-{'mask' if MASK_FILE else config['mask_images']['resolution_mm']}"
STARTED = time.time()


wildcard_constraints:
    batch=r"\d+",


rule all:
    input:
        "results/render_report/report.html",
        "results/write_lock/run.json",
        "results/check_demo/recovery.tsv" if DEMO else [],


include: "workflow/rules/archive.smk"
include: "workflow/rules/images.smk"
include: "workflow/rules/components.smk"
include: "workflow/rules/names.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/record.smk"


onsuccess:
    if os.path.isfile("results/render_report/report.html"):
        print(*database_notes(), f"Report: {os.path.abspath('results/render_report/report.html')}", sep="\n")


onerror:
    print(*recovery.last_words("logs", since=STARTED), sep="\n")
