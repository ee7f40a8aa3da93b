"""Two runs that share a cache do not download the same file twice, and share the number of requests."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading

import pytest
from fetching import Run
from neurovault_ica.archive.cache_lock import REQUEST_PAUSE_S, CacheLock
from neurovault_server import Archive, Faults, Server, nifti

HOLD = """
import sys, time
from pathlib import Path
from neurovault_ica.archive.cache_lock import CacheLock
lock = CacheLock(Path(sys.argv[1]), "images")
with lock.held(7):
    print("held", flush=True)
    time.sleep(600)
"""
REQUEST = HOLD.replace("lock.held(7)", "lock.requests(2)()")
FETCH = """
import sys
from pathlib import Path
from types import SimpleNamespace
from fetching import Run
run = Run(Path(sys.argv[1]), server=SimpleNamespace(url=sys.argv[2]), data_dir=Path(sys.argv[3]))
run.select()
assert {row["status"] for row in run.download()} == {"ok"}
run.terms()
"""


def start(code, *arguments, **options):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], env=environment, **options)


def test_a_thread_that_is_left_when_a_run_stops_does_not_call_the_cache_unlockable(tmp_path, monkeypatch, caplog):
    lock = CacheLock(tmp_path, "images")

    def close_first(*_):
        lock.close()
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(fcntl, "lockf", close_first)
    caplog.set_level("INFO")
    with pytest.raises(ValueError, match="was closed"), lock.held(7):
        pass
    assert caplog.text == ""


def test_two_runs_request_each_file_once(tmp_path):
    archive = Archive.small({1: 6, 2: 6}, content=nifti(shape=(16, 16, 16)))
    with Server(archive, faults=Faults(latency_s=0.05)) as server:
        server.misbehave("/media/images/1/map_101", "slow")
        runs = [start(FETCH, tmp_path / name, server.url, tmp_path / "data") for name in ("a", "b")]
        assert [run.wait() for run in runs] == [0, 0]
        assert server.count("/media/") == 12
        assert server.count("/api/decode/") == 12


def test_the_lock_of_a_killed_run_is_free(tmp_path, monkeypatch):
    holder = start(HOLD, tmp_path, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    monkeypatch.setattr("neurovault_ica.archive.cache_lock.MAX_WAIT_S", 0.2)
    lock = CacheLock(tmp_path, "images")
    with lock.held(8) as has_waited:
        assert not has_waited
    # The wait ends after MAX_WAIT_S, although the other run still holds the lock.
    with lock.held(7) as has_waited:
        assert has_waited
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with lock.held(7) as has_waited:
        assert not has_waited
    lock.close()


def test_processes_share_the_number_of_requests(tmp_path, monkeypatch):
    holder = start(REQUEST, tmp_path, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    waits = []

    def wait(*_):
        waits.append(holder.poll())
        holder.kill()
        holder.wait()

    monkeypatch.setattr("neurovault_ica.archive.cache_lock.threading.Condition.wait", wait)
    monkeypatch.setattr("neurovault_ica.archive.cache_lock.ANOTHER_AFTER_S", 0)
    lock = CacheLock(tmp_path, "images")
    request = lock.requests(2)
    # The other process has one of the two allowed requests until it is killed.
    with request():
        assert waits == []
        with request():
            assert waits == [None]
    # A finished request makes room for another one, and an id is locked independently of the requests.
    with request(), lock.held(2**62 + 1), request():
        assert waits == [None]
    lock.close()


def test_reading_metadata_shares_the_number_of_requests(tmp_path, monkeypatch):
    with Server(Archive.small({1: 2, 2: 1})) as server:
        run = Run(tmp_path, server=server)
        holder = start(
            REQUEST.replace("(2)()", "(1)()"), run.data_dir / "neurovault", stdout=subprocess.PIPE, text=True
        )
        assert holder.stdout.readline() == "held\n"
        asked, wait = [], threading.Condition.wait

        def wait_for_place(condition, timeout=None):
            if timeout != REQUEST_PAUSE_S:
                return wait(condition, timeout)
            asked.append(list(server.asked))
            holder.kill()
            return holder.wait()

        monkeypatch.setattr(threading.Condition, "wait", wait_for_place)
        _, images, _ = run.select(network={"connections": 1})
    # The other process has the only request that is allowed, until it is killed.
    assert asked[0] == []
    assert len(images) == 3


@pytest.mark.parametrize(("kept_s", "operations"), [(3600, ["take", "release"]), (0, ["take", "release"] * 2)])
def test_a_process_that_waits_uses_the_place_of_its_last_request(tmp_path, monkeypatch, kept_s, operations):
    done = []
    names = {fcntl.LOCK_UN: "release", fcntl.LOCK_EX | fcntl.LOCK_NB: "take"}
    monkeypatch.setattr("fcntl.lockf", lambda _, operation, *__: done.append(names[operation]))
    monkeypatch.setattr("neurovault_ica.archive.cache_lock.KEPT_S", kept_s)
    lock = CacheLock(tmp_path, "images")
    request = lock.requests(4)
    first = request()
    # Other places are free, but the second request waits, because the first has just begun. It ends during this wait.
    monkeypatch.setattr(
        "neurovault_ica.archive.cache_lock.threading.Condition.wait", lambda *_: first.__exit__(None, None, None)
    )
    first.__enter__()
    with request():
        assert done == operations[:-1]
    assert done == operations
    lock.close()


def test_a_file_system_without_locks_is_no_obstacle(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(37, "No locks available")

    caplog.set_level("INFO")
    monkeypatch.setattr("fcntl.lockf", refuse)
    lock = CacheLock(tmp_path, "images")
    for number in (1, 2**63):
        with lock.held(number) as has_waited:
            assert not has_waited
    with lock.requests(1)():
        assert caplog.text.count("No locks available") == 1


def test_a_cache_that_cannot_be_written_is_read_without_locks(serve, caplog):
    server, run = serve(Archive.small({1: 2}))
    rows = run.download()
    lock_file = run.data_dir / "neurovault/.lock-images"
    lock_file.unlink()
    lock_file.mkdir()  # root may write everywhere, but not into a folder
    caplog.set_level("INFO")
    assert run.download() == rows
    assert "this cache cannot be locked (Is a directory)" in caplog.text
    assert server.count("/media/") == 2
