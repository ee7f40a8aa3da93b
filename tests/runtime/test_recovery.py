"""Resources that jobs request, and recovery after failed jobs and killed runs."""

import os
from types import SimpleNamespace

import pytest
from neurovault_ica.runtime import recovery
from neurovault_ica.runtime.commands import Call, Configuration
from neurovault_ica.runtime.recovery import check_results, drop_stale_locks, quote_errors
from neurovault_ica.runtime.resources import growing


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


def log(path, time, sizes):
    path.write_text("".join(f"2026-01-02 03:04:05 INFO wrote {file}, {size} bytes\n" for file, size in sizes.items()))
    os.utime(path, (time, time))
