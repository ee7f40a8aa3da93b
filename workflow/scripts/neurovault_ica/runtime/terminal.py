"""Show on the terminal which stage begins and ends, in one line each, instead of Snakemake's own lines.

The log file of Snakemake in .snakemake/log keeps everything. Snakemake imports this module while it reads the
Snakefile, so it imports only the standard library and Snakemake.
"""

import logging
import time
from collections.abc import Mapping
from typing import Any

from snakemake.logging import LogEvent, logger
from snakemake.settings.enums import Quietness

# Beginnings of lines that say nothing about the run.
IDLE_LINES = (
    "\n",
    "Select jobs to execute",
    "Building DAG of jobs",
    "Using shell",
    "Rules claiming more threads",
    "Conda environments: ignored",
    "Singularity containers: ignored",
)
IDLE_EVENTS = {LogEvent.WORKFLOW_STARTED, LogEvent.JOB_STARTED, LogEvent.RESOURCES_INFO}


def tidy_terminal(settings: Any) -> None:
    """Change what Snakemake writes to the terminal, unless the user asked for another amount of output.

    Parameters
    ----------
    settings : snakemake.settings.types.OutputSettings
        ``quiet: rules`` is the value of profiles/default. Any other value, ``--verbose`` and a dry run change nothing.
    """
    if settings.verbose or settings.debug_dag or settings.dryrun or set(settings.quiet or ()) != {Quietness.RULES}:
        return
    for handler in logger.handlers:
        if handler.name == "DefaultStreamHandler":
            stages = StageLines(handler.formatter or logging.Formatter(), list(handler.filters))
            handler.filters = [stages.wants]
            handler.setFormatter(stages)


class StageLines(logging.Formatter):
    """Write one line when a job begins and one when it ends, and leave all other lines as they are.

    Parameters
    ----------
    original : logging.Formatter
        Formats the other lines.
    filters : list
        The filters that decide on the other lines.
    """

    def __init__(self, original: logging.Formatter, filters: list[Any]) -> None:
        super().__init__()
        self._original, self._filters = original, filters
        # By number of the job: its name, and when it began.
        self._begun: dict[int, tuple[str, float]] = {}
        self._ended: list[str] = []

    def wants(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is shown. The end of a job is shown with the count of steps that follows it."""
        event = getattr(record, "event", None)
        if event == LogEvent.JOB_FINISHED:
            name, begun = self._begun.pop(vars(record).get("job_id", -1), ("", time.monotonic()))
            # The targets of the workflow are a job without work.
            self._ended += [f"{name} finished after {_duration(time.monotonic() - begun)}"] if name != "all" else []
            return False
        if event == LogEvent.JOB_INFO:
            name = _name_of(vars(record))
            self._begun[vars(record)["jobid"]] = name, time.monotonic()
            return name != "all"
        if event in IDLE_EVENTS or (event is None and str(record.msg or "\n").startswith(IDLE_LINES)):
            return False
        return all(other.filter(record) for other in self._filters)

    def format(self, record: logging.LogRecord) -> str:
        """Write the line of a record."""
        event, clock = getattr(record, "event", None), time.strftime("%H:%M:%S")
        if event == LogEvent.JOB_INFO:
            return f"{clock} {_name_of(vars(record))} begins"
        if event == LogEvent.PROGRESS:
            ended, self._ended = self._ended, []
            return f"{clock} {', '.join([*ended, self._original.format(record)])}"
        return self._original.format(record)


def _name_of(job: Mapping[str, Any]) -> str:
    wildcards = ", ".join(f"{name} {value}" for name, value in dict(job.get("wildcards") or {}).items())
    return f"{job['rule_name']} ({wildcards})" if wildcards else str(job["rule_name"])


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
