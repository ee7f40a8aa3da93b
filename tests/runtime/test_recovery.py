"""Resources that jobs request, and recovery after failed jobs and killed runs."""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from neurovault_ica.runtime import recovery
from neurovault_ica.runtime.commands import Call, Configuration
from neurovault_ica.runtime.recovery import check_results, correct_times, drop_stale_locks, quote_errors
from neurovault_ica.runtime.resources import growing
from neurovault_ica.runtime.tables import write_table


def test_a_resource_grows_with_the_input_and_the_attempt():
    memory = growing(1000, per_mb=1.5)
    assert memory({}, SimpleNamespace(size_mb=100.0), 1) == 1150
    assert memory({}, SimpleNamespace(size_mb=100.0), 3) == 3450


def test_a_fixed_resource_needs_no_input():
    assert growing(10)({}, None, 2) == 20


def test_errors_in_the_logs_of_this_run_are_quoted(tmp_path):
    texts = {
        "fine": "2026-01-02 03:04:05 INFO 24 images\n",
        "refused": "2026-01-02 03:04:05 INFO 3 images\n2026-01-02 03:04:05 ERROR too few images:\n  one\n"
        "2026-01-02 03:04:06 WARNING image 7: status 429\n",
        "defect": "Traceback (most recent call last):\n  File ...\nKeyError: 'image_id'\n",
        "earlier": "2026-01-02 03:04:05 ERROR of another run\n",
    }
    for number, (name, text) in enumerate(texts.items()):
        (tmp_path / f"{name}.log").write_text(text)
        os.utime(tmp_path / f"{name}.log", (100 - number, 100 - number))
    assert list(quote_errors(tmp_path, since=98)) == [
        f"{tmp_path}/defect.log: KeyError: 'image_id'",
        f"{tmp_path}/refused.log: too few images:\n  one",
    ]
    assert list(quote_errors(tmp_path / "nothing", since=0)) == []


def test_times_in_the_future_become_those_of_the_present_in_the_same_order(tmp_path):
    """The clock was two days ahead during the last run. Files from before, and from now, keep their times."""
    start = time.time()
    ages_s = {"mask": 500, "images": -172_800, "status": -172_801, "quality": -172_801, "now": 0}
    for name, age_s in ages_s.items():
        path = tmp_path / "results" / f"{name}.tsv"
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.utime(path, (start - age_s, start - age_s))
    assert correct_times(tmp_path / "results", tmp_path / "logs") == 3
    times = {name: (tmp_path / "results" / f"{name}.tsv").stat().st_mtime for name in ages_s}
    assert times["mask"] == pytest.approx(start - 500)
    assert times["now"] == pytest.approx(start)
    assert start < times["images"] < times["status"] == times["quality"] < time.time()
    assert correct_times(tmp_path / "results") == 0


def test_only_locks_of_a_killed_run_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(recovery, "_running", [])
    lock = tmp_path / ".snakemake/locks/0.input.lock"

    def still_there():
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
        drop_stale_locks(tmp_path / ".snakemake")
        return lock.exists()

    assert still_there(), "it is unknown which run made the lock"
    assert still_there(), "the first run is alive"
    recovery._running.clear()
    assert not still_there()
    recovery._running.clear()
    (tmp_path / ".snakemake/running").write_text("another-machine")
    assert still_there()


def test_results_with_another_size_than_in_their_log_are_reported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("logs", "results"):
        (tmp_path / folder).mkdir()
    for number, name in enumerate(["a", "b", "shared"]):
        (tmp_path / "results" / name).write_bytes(bytes(number))
    log(tmp_path / "logs/one.log", 1, {"results/a": 0, "results/shared": 7, "results/deleted": 5})
    log(tmp_path / "logs/two-3.log", 2, {"results/b": 1, "results/shared": 2})
    call = Call(["--cores", "2", "results/b", "--configfile", "mine.yaml"], ".", Configuration(("mine.yaml",)))
    check_results("logs", call)
    (tmp_path / "results/b").write_bytes(b"")
    with pytest.raises(RuntimeError) as stopped:
        check_results("logs", call)
    assert str(stopped.value).splitlines()[1:] == [
        "  results/b has 0 bytes, but 1 according to logs/two-3.log",
        "To compute them again: rm results/b; snakemake --cores 2 --forcerun two --configfile mine.yaml",
        "To keep them as they are: rm logs/two-3.log",
    ]


def test_deleted_descriptions_of_tables_are_written_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tables = [Path("results/fetch_terms/terms-0.tsv"), Path("results/fetch_terms/terms-1.tsv")]
    for table in tables:
        write_table(table, [{"image_id": 1, "term": "pain", "weight": 0.5}])
    description = Path("results/fetch_terms/terms.json")
    content = description.read_bytes()
    Path("logs").mkdir()
    sizes = {table: table.stat().st_size for table in tables} | {"results/run_ica/desc-ICA_mixing.tsv": 7}
    call = Call([], ".", Configuration(()))
    log(Path("logs/one.log"), 1, sizes | {description: len(content)})
    description.unlink()
    check_results("logs", call)
    assert description.read_bytes() == content
    # Another version of the workflow wrote another description. Its rule will run again.
    log(Path("logs/one.log"), 1, sizes | {description: 9})
    description.unlink()
    check_results("logs", call)
    assert not description.exists()


def log(path, time, sizes):
    path.write_text("".join(f"2026-01-02 03:04:05 INFO wrote {file}, {size} bytes\n" for file, size in sizes.items()))
    os.utime(path, (time, time))
