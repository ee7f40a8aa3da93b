"""Repeat requests that fail, and wait for a server that is down."""

import logging
import random
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from neurovault_ica.net.answers import FetchError

Result = TypeVar("Result")
# Returns the largest number of tries for an error; None for the configured number.
MostTries = Callable[[FetchError], int | None]
# Longest pause between two tries of a request, in seconds. The doubling stops here.
MAX_PAUSE_S = 60.0
# Longest pause at the server's request (Retry-After), in seconds, so that a wrong value cannot stop the run for hours.
MAX_RETRY_AFTER_S = 300.0
# After this many consecutive failures across all connections, probe whether the server is reachable. Fewer failures may
# be chance.
FAILURES_BEFORE_PROBE = 8
# After an outage, the tries of a request are counted from zero again. A request that has failed in this many outages
# may cause them, so its tries are no longer reset.
MAX_OUTAGES = 5
# A firewall in front of the server gives these statuses to everybody, and the server itself for private records only.
BLOCKED = {401, 403}


class Retries:
    """Repeats the requests of all connections to one server.

    Parameters
    ----------
    url : str
        The server, for messages.
    is_alive : function
        Probes the server once and returns whether it answers; None if it cannot be probed.
    connections : int
        Largest number of simultaneous requests.
    attempts : int
        Largest number of tries of one request.
    backoff_s : float
        Pause before the second try, in seconds; doubled before each further one.
    patience_s : float
        Longest wait for a server that is down, in seconds.
    first_patience_s : float
        Longest wait before the server's first answer, in seconds.
    request : function
        Returns a context for one request. It may wait for other processes.
    """

    def __init__(
        self,
        url: str,
        is_alive: Callable[[], bool] | None,
        *,
        connections: int,
        attempts: int,
        backoff_s: float,
        patience_s: float,
        first_patience_s: float,
        request: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._url, self._is_alive = url, is_alive
        self._attempts, self._backoff_s = attempts, backoff_s
        self._patience_s, self._first_patience_s = patience_s, first_patience_s
        self._request = request
        self._slots = threading.BoundedSemaphore(connections)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._outage_lock = threading.Lock()
        self._n_failures, self._has_answered, self._resume_at = 0, False, 0.0
        self._n_outages = 0
        self._down_error: FetchError | None = None

    def stop(self) -> None:
        """End every pause, and allow no further requests."""
        self._stop.set()

    def require_running(self) -> None:
        """Raise `FetchError` after `stop`."""
        if self._stop.is_set():
            raise FetchError("stopped", "the run was stopped")

    def persist(
        self,
        once: Callable[[], Result],
        url: str,
        most_tries: MostTries | None = None,
        *,
        check: Callable[[Result], object] | None = None,
    ) -> Result:
        """Call `once` until it succeeds, fails permanently, or has failed too often.

        Parameters
        ----------
        once : function
            Makes one request.
        url : str
            Address of the request, for the log.
        most_tries : function, optional
            Returns the largest number of tries for a kind of error, or None. Other errors do not count as such tries.
        check : function, optional
            Raises `FetchError` if the result of `once` is faulty. It runs outside the limit of simultaneous requests.

        Raises
        ------
        FetchError
            The last error, or ``server_down`` if the server is down for longer than `patience_s`.
        """
        tries, limited, outages, verdict = 0, 0, 0, None
        while True:
            tries += 1
            self._pause(self._resume_at - time.monotonic())
            self._require_up()
            n_outages = self._n_outages
            try:
                with self._slots, self._request():
                    # The server may have asked for a pause while this request waited for its turn.
                    self._pause(self._resume_at - time.monotonic())
                    start = time.monotonic()
                    result = self._once(once)
                logging.debug("GET %s: %.0f ms", url, 1000 * (time.monotonic() - start))
                if check:
                    check(result)
            except FetchError as error:
                logging.debug("GET %s: try %d: %s", url, tries, error)
                most = most_tries(error) if most_tries else None
                # Other failures do not count towards the limit for this kind of error.
                limited += most is not None
                is_last = tries >= self._attempts or (most is not None and limited >= most)
                is_final = not _may_pass(error) or (error.verdict is not None and error.verdict == verdict)
                is_last = is_last or not error.transient
                verdict = error.verdict
                self._count_failure(error, is_last=is_last)
                if not is_final and n_outages != self._n_outages and outages < MAX_OUTAGES:
                    # A failure during an outage says nothing about the request, so count its tries from zero.
                    tries, limited, outages = 0, 0, outages + 1
                elif is_final or is_last:
                    self._require_up()
                    raise
                self._pause(min(MAX_PAUSE_S, self._backoff_s * 2 ** max(0, tries - 1)) * random.uniform(0.5, 1))
            else:
                self._n_failures, self._has_answered = 0, True
                return result

    def _once(self, once: Callable[[], Result]) -> Result:
        """Call `once`. If there are too many requests, all connections pause, and not only the one that was told so."""
        try:
            return once()
        except FetchError as error:
            # Without Retry-After, the server leaves the pause to us.
            usual_s = self._backoff_s if error.status == 429 else 0.0
            wait_s = min(error.retry_after_s or usual_s, MAX_RETRY_AFTER_S)
            with self._lock:
                now = time.monotonic()
                if error.retry_after_s and self._resume_at <= now:
                    logging.info("%s requests a pause of %.0f s (%s)", self._url, wait_s, error)
                self._resume_at = max(self._resume_at, now + wait_s)
            raise

    def _pause(self, seconds: float) -> None:
        if seconds > 0:
            self._stop.wait(seconds)
        self.require_running()

    def _require_up(self) -> None:
        if self._down_error is not None:
            raise FetchError("server_down", f"{self._url} does not answer ({self._down_error})")

    def _count_failure(self, error: FetchError, *, is_last: bool) -> None:
        """Count a failure. Probe the server after many, or if an outage may be why the last try of a request failed."""
        may_be_outage = is_last and _may_pass(error) and self._is_alive is not None and error.verdict is None
        if not self._has_answered and (error.reason == "bad_answer" or not error.transient):
            # This is probably another server, or one that needs a login, so do not wait for it.
            may_be_outage = False
        # Status 429 comes from a server that is only busy. A probe would tell whether it is busy for everything.
        is_failure = error.transient and not (error.status == 429 and self._is_alive is None)
        with self._lock:
            self._n_failures = self._n_failures + 1 if is_failure else 0
            if self._n_failures < FAILURES_BEFORE_PROBE and not may_be_outage:
                return
            n_outages = self._n_outages
        with self._outage_lock:
            # Another connection may already have waited for the end of this outage.
            if self._n_outages == n_outages and self._down_error is None:
                self._wait_out(error)
                self._n_failures = 0

    def _wait_out(self, error: FetchError) -> None:
        """Wait until the server answers the probe, at most `patience_s`, or `first_patience_s` if it never answered."""
        patience_s = self._patience_s if self._has_answered else self._first_patience_s
        pause_s, waited_s = 2 * self._backoff_s, 0.0
        self._pause(self._resume_at - time.monotonic())
        while self._is_alive is None or not self._is_alive():
            if waited_s >= patience_s:
                self._down_error = error
                return
            pause_s = min(pause_s, patience_s - waited_s)
            logging.warning("%s does not answer (%s); trying again in %.0f s", self._url, error, pause_s)
            self._pause(pause_s)
            waited_s, pause_s = waited_s + pause_s, min(2 * pause_s, 60 * self._backoff_s)
        if waited_s:
            self._n_outages += 1


def _may_pass(error: FetchError) -> bool:
    """Return whether an error may be one of the whole server, and pass with an outage."""
    return error.transient or error.status in BLOCKED
