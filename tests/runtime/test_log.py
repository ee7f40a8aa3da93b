"""Progress and messages in the log and on the screen."""

import errno
import logging
import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT
from neurovault_ica.runtime.log import Meter, progress, report_error

SCRIPTS = ROOT / "workflow/scripts"


def test_a_line_has_progress_speed_and_remaining_time():
    meter = Meter(500, unit="image")
    meter.add(120, n_bytes=340_000_000, failed=2)
    assert meter.line(60) == "120 of 500 images, 340 MB, 5.7 MB/s, 3 min left, 2 failed"
    meter.add(380)
    assert meter.line(300) == "500 of 500 images, 340 MB, 1.1 MB/s, 2 failed"


def test_cached_items_do_not_count_in_the_remaining_time():
    meter = Meter(500, unit="image", name="here: ")
    meter.add(400, cached=400)
    assert meter.line(1) == "here: 400 of 500 images (400 in the cache)"
    meter.add(0, n_bytes=5_000_000)
    meter.add(20)
    assert meter.line(20) == "here: 420 of 500 images (400 in the cache), 5 MB, 0.2 MB/s, 80 s left"


def test_line_without_a_total_or_bytes():
    meter = Meter(unit="row")
    meter.add(7)
    assert meter.line(1) == "7 rows"
    meter.add(3, total=40)
    assert meter.line(20) == "10 of 40 rows, 60 s left"


def test_lines_are_at_least_ten_seconds_apart(caplog):
    caplog.set_level(logging.INFO)
    often, seldom = Meter(3, unit="image", every_s=0), Meter(3, unit="image")
    for _ in range(3):
        often.add()
        seldom.add()
    assert [record.message for record in caplog.records if "3 of 3" in record.message] == ["3 of 3 images"]
    assert len(caplog.records) == 3


def test_progress_yields_all_items_and_is_silent_in_short_work(caplog):
    caplog.set_level(logging.INFO)
    assert list(progress("abc", total=3, unit="letter")) == ["a", "b", "c"]
    assert not caplog.records


@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.glob("*.py")))
def test_every_script_logs_at_the_configured_level(script):
    text = (SCRIPTS / script).read_text()
    assert text.count('log_to(snakemake.log[0], snakemake.config["log_level"])') == text.count("log_to(") == 1


MESSAGES = """
import logging, sys
from neurovault_ica.runtime.log import log_to

log_to("logs/stage.log", sys.argv[1])
for level in ("debug", "info", "warning"):
    getattr(logging, level)("a message at %s", level)
logging.getLogger("written").info("wrote a file")
"""


@pytest.mark.parametrize(
    ("level", "in_log", "on_screen"),
    [
        ("debug", ["debug", "info", "warning"], ["info", "warning"]),
        ("info", ["info", "warning"], ["info", "warning"]),
        ("warning", ["warning"], ["warning"]),
    ],
)
def test_the_level_selects_messages_for_log_and_screen(tmp_path, level, in_log, on_screen):
    """Sizes of written files are logged at every level, because the next run needs them."""
    done = subprocess.run(
        [sys.executable, "-c", MESSAGES, level], cwd=tmp_path, env={"PYTHONPATH": str(SCRIPTS)},
        stderr=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    log = (tmp_path / "logs/stage.log").read_text()
    assert re.findall(r" (?:DEBUG|INFO|WARNING) a message at (\w+)$", log, re.MULTILINE) == in_log
    assert log.endswith(" INFO wrote a file\n")
    assert done.stderr.splitlines() == [f"stage: a message at {name}" for name in on_screen]


RAISE = """
def stop():
    raise ValueError(
        "3 images are left"
    )
"""


@pytest.mark.parametrize(
    ("code", "is_message"), [(RAISE, True), ("def stop():\n    int('x')\n", False), ("def stop():\n    [][0]\n", False)]
)
def test_only_an_error_that_our_code_raises_is_a_message_to_the_user(tmp_path, capfd, caplog, code, is_message):
    """A ValueError from a compiled function is a bug, although the innermost Python frame is ours."""
    file = tmp_path / ".snakemake/scripts/stage.py"
    file.parent.mkdir(parents=True)
    file.write_text(code)
    names = {}
    exec(compile(code, file, "exec"), names)
    with pytest.raises((ValueError, IndexError)) as caught:
        names["stop"]()
    report_error(caught.type, caught.value, caught.tb, sys.stderr, "stage")
    printed = capfd.readouterr().err
    assert [record.getMessage() for record in caplog.records] == ["3 images are left"] * is_message
    assert ("(a defect; please report it with logs/stage.log)" in printed) is not is_message


@pytest.mark.parametrize("exists", [True, False])
def test_a_file_or_folder_of_another_user_is_named_with_its_owner(tmp_path, monkeypatch, caplog, exists):
    folder, file = tmp_path / "cache", tmp_path / "cache/image.nii.gz"
    folder.mkdir(mode=0o755)
    if exists:
        file.touch(mode=0o600)
    owner = folder.owner()
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    report_error(OSError, OSError(errno.EACCES, "Permission denied", str(file)), None, sys.stderr, "stage")
    place = f"{file} belongs to {owner}, -rw-------" if exists else f"{folder} belongs to {owner}, drwxr-xr-x"
    assert f"Permission denied: {file} ({place}). Fix this and run again" in caplog.text
