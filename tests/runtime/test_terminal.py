"""The terminal shows one line when a stage begins and one when it ends, unless the user asks for another amount."""

import io
import itertools
import logging
import re
import time
from types import SimpleNamespace

import pytest
from neurovault_ica.runtime.terminal import tidy_terminal
from snakemake.logging import DefaultFilter, DefaultFormatter, LogEvent, logger
from snakemake.settings.enums import Quietness


@pytest.fixture
def terminal(monkeypatch):
    """Return a function that makes Snakemake's terminal for some settings, as Snakemake does."""
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "level", logging.INFO)
    # The clock advances by half a minute each time it is read.
    clock = SimpleNamespace(monotonic=itertools.count(step=30).__next__, strftime=time.strftime)
    monkeypatch.setattr("neurovault_ica.runtime.terminal.time", clock)

    def start(*quiet, **options):
        settings = SimpleNamespace(
            **{"verbose": False, "debug_dag": False, "dryrun": False, "quiet": set(quiet)} | options
        )
        handler = logging.StreamHandler(stream := io.StringIO())
        handler.name = "DefaultStreamHandler"
        handler.addFilter(DefaultFilter(settings.quiet, settings.debug_dag, settings.verbose, settings.dryrun, False))
        handler.setFormatter(DefaultFormatter(settings.quiet, False))
        logger.addHandler(handler)
        tidy_terminal(settings)
        run()
        return stream.getvalue()

    return start


def run():
    """Log what Snakemake logs while two jobs run side by side, and one fails."""
    job = {
        "rule_msg": None, "reason": "", "local": False, "is_checkpoint": False, "input": [], "output": ["made.tsv"],
        "log": [], "benchmark": None, "priority": 0, "threads": 1, "resources": {},
    }  # fmt: skip
    logger.info(None)
    logger.info("Select jobs to execute...")
    logger.info("Execute 2 jobs...", extra={"event": LogEvent.JOB_STARTED, "jobs": [1, 2]})
    for number, rule, wildcards in ((1, "run_ica", {}), (2, "mask_images", {"batch": "3"})):
        extra = job | {"event": LogEvent.JOB_INFO, "jobid": number, "rule_name": rule, "wildcards": wildcards}
        logger.info(None, extra=extra)
    for number, done in ((2, 1), (1, 2)):
        logger.info(f"Finished jobid: {number}", extra={"event": LogEvent.JOB_FINISHED, "job_id": number})
        logger.info(None, extra={"event": LogEvent.PROGRESS, "done": done, "total": 4})
    logger.info(None, extra={"event": LogEvent.PROGRESS, "done": 4, "total": 4})
    logger.error("run_ica failed")


def test_a_stage_has_a_line_when_it_begins_and_when_it_ends(terminal):
    lines = [re.sub(r"\d\d:\d\d:\d\d", "CLOCK", line) for line in terminal(Quietness.RULES).splitlines()]
    assert lines == [
        "CLOCK run_ica begins",
        "CLOCK mask_images (batch 3) begins",
        "CLOCK mask_images (batch 3) finished after 60 s, 1 of 4 steps (25%) done",
        "CLOCK run_ica finished after 2 min, 2 of 4 steps (50%) done",
        "CLOCK 4 of 4 steps (100%) done",
        "run_ica failed",
    ]


@pytest.mark.parametrize(
    ("quiet", "options"),
    [
        ([], {}),
        ([Quietness.RULES], {"verbose": True}),
        ([Quietness.RULES], {"dryrun": True}),
        ([Quietness.RULES, Quietness.REASON], {}),
    ],
)
def test_another_amount_of_output_stays_snakemakes(terminal, quiet, options):
    shown = terminal(*quiet, **options)
    assert "Select jobs to execute..." in shown
    assert " begins" not in shown


def test_quiet_shows_nothing_of_it(terminal):
    assert terminal(Quietness.ALL) == ""
