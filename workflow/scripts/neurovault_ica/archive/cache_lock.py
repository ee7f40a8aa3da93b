"""Coordinate processes that share a cache: no file is downloaded twice, and the number of connections is shared."""

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

# Longest wait for another run, in seconds. A download takes seconds, but the other run may wait for its server.
MAX_WAIT_S = 900.0
# Longest pause between two attempts to lock a file, in seconds.
MAX_LOCK_PAUSE_S = 1.0
# The lock of an id is the byte at this position in the lock file. Larger ids share positions with smaller ones, so a
# run may wait without need. The positions from here on limit the number of requests.
MAX_POSITION = 2**62
# Pause between two attempts to start a request, in seconds. It is shorter than a server's answer takes.
REQUEST_PAUSE_S = 0.01
# A new connection needs several round trips before it is fast, so each process should use few, without a break. It
# takes another one only after this time, in seconds, so that processes that start together get one each.
ANOTHER_AFTER_S = 0.5
# After this time, in seconds, a process gives its place to others, even if it has more requests.
KEPT_S = 10.0


class CacheLock:
    """Locks for the files of a cache, one for each id.

    Each lock covers one byte of a file that stays empty. The kernel holds the locks, so it releases those of a killed
    process. They also work on NFS. If the file system has no locks, or the file cannot be written, nothing is locked.
    Files are then still complete, but two runs may download the same one.

    Use one object per process and kind of file, because closing the file releases all its locks.

    Parameters
    ----------
    folder : Path
        The folder ``neurovault`` of the cache.
    kind : str
        Kind of file, such as images.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self._stream: IO[bytes] | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._stream = (folder / f".lock-{kind}").open("a+b")
        except OSError as error:
            # Do not stop: a cache that cannot be written may already have all files.
            self._give_up(error)

    def close(self) -> None:
        """Release all locks."""
        if self._stream:
            self._stream.close()

    @contextmanager
    def held(self, number: int) -> Iterator[bool]:
        """Hold the lock of one id. Yield whether another run held it first and may have downloaded the file.

        After `MAX_WAIT_S`, or if the cache cannot be locked, the block runs without the lock.
        """
        start, pause_s, has_waited = time.monotonic(), 0.05, False
        while not (is_held := self._take(number % MAX_POSITION)) and self._stream:
            if time.monotonic() - start > MAX_WAIT_S:
                logging.warning(
                    "another run has been downloading file %d for %.0f s; this run no longer waits for it",
                    number,
                    MAX_WAIT_S,
                )
                break
            if not has_waited:
                logging.debug("another run is downloading file %d", number)
            has_waited = True
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, MAX_LOCK_PAUSE_S)
        try:
            yield has_waited
        finally:
            if is_held:
                self._release(number % MAX_POSITION)

    def requests(self, limit: int, *, gradually: bool = True) -> Callable[[], AbstractContextManager[None]]:
        """Return a function that limits the number of simultaneous requests of all processes that share this cache.

        Its result is a context: make each request inside its ``with`` block. The caller limits the requests of its own
        process to `limit`. If the cache cannot be locked, only this limit per process holds.

        Processes that run at the same time share the places evenly, and each keeps using the same connections. Without
        `gradually`, this process takes all free places at once, because others that start with it are not expected.
        """
        taken: dict[int, float] = {}  # positions that this process holds, and since when
        idle: list[int] = []  # those of them that wait for the next request of this process
        waiting, start = 0, time.monotonic()
        changed = threading.Condition()

        def take() -> int | None:
            if idle:
                return idle.pop()
            now = time.monotonic()
            if gradually and len(taken) * ANOTHER_AFTER_S > now - start:
                return None
            for position in range(MAX_POSITION, MAX_POSITION + limit):
                # The kernel locks for the whole process, so `taken` keeps its threads apart.
                if position not in taken and self._take(position):
                    taken[position] = now
                    return position
            return None

        @contextmanager
        def request() -> Iterator[None]:
            nonlocal waiting
            with changed:
                waiting += 1
                while (position := take()) is None and self._stream:
                    changed.wait(REQUEST_PAUSE_S)
                waiting -= 1
            try:
                yield
            finally:
                with changed:
                    if position is not None and waiting and time.monotonic() - taken[position] < KEPT_S:
                        idle.append(position)
                        changed.notify()
                    elif position is not None:
                        del taken[position]
                        self._release(position)

        return request

    def _release(self, position: int) -> None:
        stream = self._stream
        if stream and not stream.closed:
            fcntl.lockf(stream, fcntl.LOCK_UN, 1, position, os.SEEK_SET)

    def _take(self, position: int) -> bool:
        """Try to lock one position."""
        stream = self._stream
        if not stream:
            return False
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, position, os.SEEK_SET)
        except (BlockingIOError, PermissionError):
            return False
        except OSError as error:
            # If the run ends with an error, `close` does not wait for the threads that still download.
            if stream.closed:
                raise ValueError("the lock file of the cache was closed") from None
            self._give_up(error)
            return False
        return True

    def _give_up(self, error: OSError) -> None:
        """Lock nothing from now on."""
        self._stream = None
        logging.info("this cache cannot be locked (%s), so two runs may download the same file", error.strerror)
