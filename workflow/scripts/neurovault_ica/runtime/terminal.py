"""Write one line to the terminal when a stage begins and one when it ends, instead of Snakemake's own lines.

Snakemake's log file in .snakemake/log still has all lines. Snakemake imports this module while it reads the Snakefile,
so it imports only the standard library and Snakemake.
"""

import logging
import time
from collections.abc import Mapping
from typing import Any

from snakemake.logging import LogEvent, logger
from snakemake.settings.enums import Quietness

from neurovault_ica.runtime.wording import duration

# Lines that begin with one of these say nothing about the run.
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
    """Shorten what Snakemake writes to the terminal, unless the user asked for more or less output.

    Parameters
    ----------
    settings : snakemake.settings.types.OutputSettings
        Output is shortened only with ``quiet: rules``, the value of profiles/default, and not with ``--verbose`` or in
        a dry run.
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
        Snakemake's formatter, for all other lines.
    filters : list
        Snakemake's filters, for all other lines.
    """

    def __init__(self, original: logging.Formatter, filters: list[Any]) -> None:
        super().__init__()
        self._original, self._filters = original, filters
        # Name and start of each running job, by its number.
        self._begun: dict[int, tuple[str, float]] = {}
        self._ended: list[str] = []

    def wants(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is shown. The end of a job is kept for the line with the count of steps after it."""
        event = getattr(record, "event", None)
        if event == LogEvent.JOB_FINISHED:
            name, begun = self._begun.pop(vars(record).get("job_id", -1), ("", time.monotonic()))
            # The rule all has no work of its own.
            self._ended += [f"{name} finished after {duration(time.monotonic() - begun)}"] if name != "all" else []
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
