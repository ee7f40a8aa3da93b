"""Get JSON and files over HTTP: several connections, patient with a weak line or server, trusting nothing it says.

One `Client` serves one server. It limits the number of requests at a time, repeats what may pass (dropped lines,
time-outs, 429 and 5xx answers, bodies that are not what they should be) after a growing, jittered pause, and does not
repeat what will not (404 and its like).
"""

import hashlib
import logging
import random
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit, urlunsplit

import requests

from neurovault_ica.net.answers import (
    FetchError,
    compare_sizes,
    content_length,
    parse_json,
    redirected,
    require_no_page,
    status_error,
    translated,
)
from neurovault_ica.net.connections import CarefulAdapter

Item = TypeVar("Item")
Result = TypeVar("Result")
MostTries = Callable[[FetchError], int | None]
USER_AGENT = f"neurovault-ica (Snakemake workflow) python-requests/{requests.__version__}"
MAX_REDIRECTS = 5
# A server may think for a minute, but says at once that it is there.
CONNECT_S = 20.0
MAX_PAUSE_S = 60.0
MAX_RETRY_AFTER_S = 300.0
MAX_JSON_BYTES = 64_000_000
MAX_FILE_BYTES = 2_000_000_000
CHUNK_BYTES = 1 << 16
# So many tries that fail in a row, over all connections, and we ask whether the server is there at all.
FAILURES_BEFORE_PROBE = 8
# A request that fails in so many outages is perhaps their cause.
MAX_OUTAGES = 5


class Saved(NamedTuple):
    """A file that was downloaded."""

    n_bytes: int
    sha256: str


class _Session(requests.Session):
    """What requests does with every request, and need not."""

    def __init__(self) -> None:
        super().__init__()
        self._settings: dict[tuple[str, ...], Any] = {}

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        """Leave redirects alone: requests would read the body and parse the address, whatever they are."""
        return None

    def merge_environment_settings(self, url: Any, *arguments: Any) -> Any:
        """Look for proxies and certificates in the environment once for each host: it takes a third of a request."""
        host = urlsplit(url)[:2]
        if host not in self._settings:
            self._settings[host] = super().merge_environment_settings(url, *arguments)
        return dict(self._settings[host])


class Client:
    """Requests to one server.

    Parameters
    ----------
    url : str
        The server, such as ``https://neurovault.org``. Addresses on it given as http are asked for as https if this is.
    connections : int
        Most requests at a time.
    timeout_s : float
        Longest silence of the server, in seconds.
    attempts : int
        Most tries of one request.
    probe : str or None
        A path that a server in order answers; asked when everything else fails. None: then it counts as down.
    backoff_s : float
        Pause before the second try, in seconds; doubled before each further one.
    patience_s : float
        How long an outage is waited out, in seconds.
    first_patience_s : float, optional
        The same before the first answer of the server, if that is less.
    """

    def __init__(
        self,
        url: str,
        *,
        connections: int,
        timeout_s: float,
        attempts: int,
        probe: str | None = None,
        backoff_s: float = 1.0,
        patience_s: float = 600.0,
        first_patience_s: float | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.connections, self.timeout_s, self.attempts = connections, timeout_s, attempts
        self._probe, self._backoff_s, self._patience_s = probe, backoff_s, patience_s
        self._first_patience_s = patience_s if first_patience_s is None else min(first_patience_s, patience_s)
        self._slots = threading.BoundedSemaphore(connections)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._outage = threading.Lock()
        self._failures, self._answered, self._resume_at = 0, False, 0.0
        self._n_outages = 0
        self._down_since: FetchError | None = None
        self._session = _Session()
        home = urlsplit(self.url).hostname or ""
        adapter = CarefulAdapter(home=home, timeout_s=timeout_s, pool_connections=4, pool_maxsize=connections)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        self._session.headers["User-Agent"] = USER_AGENT
        # Otherwise requests sends what ~/.netrc has for the host.
        self._session.auth = lambda request: request

    def __enter__(self) -> "Client":
        """Return the client; leaving the block stops every pause and closes the connections."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop every pause and close the connections."""
        self._stop.set()
        self._session.close()

    def get_json(
        self,
        path: str,
        *,
        check: Callable[[Any], bool],
        params: Mapping[str, int] | None = None,
        most_tries: MostTries | None = None,
    ) -> Any:
        """Get and parse a JSON document of this server; `check` says whether it has the right form.

        Parameters
        ----------
        path : str
            Below the server's address.
        check : function
        params : mapping, optional
            The query.
        most_tries : function, optional
            How often at most to try if this is what goes wrong; as often as anything else where it returns None.

        Raises
        ------
        FetchError
        """
        return self._document(path, check, params, most_tries)[1]

    def get_bytes(self, path: str, *, check: Callable[[Any], bool], params: Mapping[str, int] | None = None) -> bytes:
        """Get a JSON document of this server as the bytes that it sent; otherwise as `get_json`."""
        return self._document(path, check, params, None)[0]

    def save(
        self,
        url: str,
        path: Path,
        *,
        expected_bytes: int | None,
        check: Callable[[Path], str | None],
        count: Callable[[int], object],
    ) -> Saved:
        """Download a file to `path`, whatever was there before.

        Parameters
        ----------
        url : str
            A whole address, from a record.
        path : Path
        expected_bytes : int or None
            The size it should have.
        check : function
            Looks at the complete file and says what is wrong with it, or None.
        count : function
            Is told of the bytes as they come.

        Raises
        ------
        FetchError
        """
        if expected_bytes and expected_bytes > MAX_FILE_BYTES:
            raise FetchError("file_too_large", f"more than {MAX_FILE_BYTES} bytes stated")

        def once() -> Saved:
            digest, size = hashlib.sha256(), 0
            # The bytes are wanted as they lie on the server: NeuroVault sends a Content-Encoding that does not exist.
            with self._open(url, {"Accept": "*/*", "Accept-Encoding": "identity"}) as response:
                announced = content_length(response)
                limit = min(announced or expected_bytes or MAX_FILE_BYTES, MAX_FILE_BYTES)
                chunks = self._chunks(response, limit, decode=False)
                start = next(chunks, b"")
                if announced is None or announced != expected_bytes:
                    require_no_page(start, response.status_code)
                compare_sizes(announced, expected_bytes, "announced", verdict=("announced", announced))
                with path.open("wb") as stream:
                    for chunk in chain([start], chunks):
                        stream.write(chunk)
                        digest.update(chunk)
                        size += len(chunk)
                        count(len(chunk))
            compare_sizes(size, announced, "received")
            compare_sizes(size, expected_bytes, "received")
            if fault := check(path):
                raise FetchError("damaged_file", fault, transient=True, verdict=announced and (fault, announced))
            return Saved(size, digest.hexdigest())

        return self._persist(once, url)

    def in_order(
        self, function: Callable[[Item], Result], items: Iterable[Item], *, ahead: int | None = None
    ) -> Generator[Result, None, None]:
        """Map `function` over `items` in threads; results come in order.

        At most `ahead` items are begun before their turn. The more there are, the less one slow item holds up. There
        are more threads than connections, so that none waits while an answer is looked at.
        """
        ahead = ahead or self.connections
        source = iter(items)
        pool = ThreadPoolExecutor(2 * self.connections, thread_name_prefix="connection")
        try:
            waiting: list[Future[Result]] = [pool.submit(function, item) for item in islice(source, ahead)]
            while waiting:
                result = waiting.pop(0).result()
                waiting += [pool.submit(function, item) for item in islice(source, 1)]
                yield result
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def secure(self, url: str) -> str:
        """Check that `url` is one to ask for; if it is on this server and that is https, make it https.

        Raises
        ------
        FetchError
            If it is no http or https address.
        """
        try:
            parts, own = urlsplit(url), urlsplit(self.url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
            usable = usable and parts.port != 0
        except (ValueError, AttributeError):
            usable = False
        if not usable:
            raise FetchError("bad_address", f"{str(url)[:200]!r} is no http address")
        # Behind TLS, NeuroVault still writes http:// into what it sends.
        is_own = parts.netloc == own.netloc and own.scheme == "https"
        return urlunsplit(parts._replace(scheme="https")) if is_own else url

    def _document(
        self, path: str, check: Callable[[Any], bool], params: Mapping[str, int] | None, most_tries: MostTries | None
    ) -> tuple[bytes, Any]:
        query = "&".join(f"{key}={value}" for key, value in (params or {}).items())
        url = f"{self.url}{path}{'?' if query else ''}{query}"

        def once() -> tuple[bytes, Any]:
            with self._open(url, {"Accept": "application/json"}) as response:
                content = b"".join(self._chunks(response, MAX_JSON_BYTES, decode=True))
            return content, parse_json(content, check, response.status_code)

        return self._persist(once, url, most_tries)

    @contextmanager
    def _open(self, url: str, headers: Mapping[str, str]) -> Iterator[requests.Response]:
        """Ask once, follow redirects, and give the answer if its status is 200."""
        times_s = min(CONNECT_S, self.timeout_s), self.timeout_s
        for _ in range(MAX_REDIRECTS + 1):
            url = self.secure(url)
            with (
                translated(),
                self._session.get(
                    url, headers=headers, stream=True, timeout=times_s, allow_redirects=False
                ) as response,
            ):
                if not response.is_redirect:
                    if response.status_code != 200:
                        raise status_error(response)
                    yield response
                    return
                url = redirected(url, response.headers["Location"])
        raise FetchError("bad_address", f"more than {MAX_REDIRECTS} redirects")

    def _chunks(self, response: requests.Response, limit: int, *, decode: bool) -> Iterator[bytes]:
        """Read the body piece by piece, as it comes; too long a body is an error."""
        size = 0
        while chunk := response.raw.read1(CHUNK_BYTES, decode_content=decode):
            size += len(chunk)
            if size > limit:
                raise FetchError("bad_answer", f"the body goes on after {limit} bytes", transient=True)
            if self._stop.is_set():
                raise FetchError("stopped", "the run was stopped")
            yield chunk

    def _persist(self, once: Callable[[], Result], url: str, most_tries: MostTries | None = None) -> Result:
        """Try until it works, or is known not to, or has been tried often enough."""
        tries, outages, verdict = 0, 0, None
        while True:
            tries += 1
            self._pause(self._resume_at - time.monotonic())
            self._require_up()
            n_outages = self._n_outages
            try:
                with self._slots:
                    start = time.monotonic()
                    result = once()
                logging.debug("GET %s: %.0f ms", url, 1000 * (time.monotonic() - start))
            except FetchError as error:
                logging.debug("GET %s: try %d: %s", url, tries, error)
                most = (most_tries(error) if most_tries else None) or self.attempts
                is_certain = not error.transient or (error.verdict is not None and error.verdict == verdict)
                verdict = error.verdict
                self._count_failure(error, is_last=tries >= most)
                if not is_certain and n_outages != self._n_outages and outages < MAX_OUTAGES:
                    # What failed in an outage says nothing about the request.
                    tries, outages = 0, outages + 1
                elif is_certain or tries >= most:
                    self._require_up()
                    raise
                if error.retry_after_s:
                    # What the server asks of one connection it means for all.
                    wait_s = min(error.retry_after_s, MAX_RETRY_AFTER_S)
                    logging.info("%s asks for a pause of %.0f s (%s)", self.url, wait_s, error)
                    self._resume_at = time.monotonic() + wait_s
                self._pause(min(MAX_PAUSE_S, self._backoff_s * 2 ** max(0, tries - 1)) * random.uniform(0.5, 1))
            else:
                self._failures, self._answered = 0, True
                return result

    def _pause(self, seconds: float) -> None:
        if seconds > 0:
            self._stop.wait(seconds)
        if self._stop.is_set():
            raise FetchError("stopped", "the run was stopped")

    def _require_up(self) -> None:
        if self._down_since is not None:
            raise FetchError("server_down", f"{self.url} does not answer ({self._down_since})")

    def _count_failure(self, error: FetchError, *, is_last: bool) -> None:
        """Notice when nothing works any more, or a request is about to be given up that an outage may have spoiled."""
        # A status such as 500 or 429 comes from the server itself.
        may_be_outage = is_last and error.transient and (error.status is None or error.status > 500)
        may_be_outage = may_be_outage and self._probe is not None and error.verdict is None
        with self._lock:
            self._failures = self._failures + 1 if error.transient else 0
            if self._failures < FAILURES_BEFORE_PROBE and not may_be_outage:
                return
            n_outages = self._n_outages
        with self._outage:
            # Another connection may have waited it out in the meantime.
            if self._n_outages == n_outages and self._down_since is None:
                self._wait_out(error)
                self._failures = 0

    def _wait_out(self, error: FetchError) -> None:
        """Wait until the server answers its probe, within the limits of patience."""
        patience_s = self._patience_s if self._answered else self._first_patience_s
        pause_s, waited_s = 2 * self._backoff_s, 0.0
        while not self.is_alive():
            if waited_s >= patience_s:
                self._down_since = error
                return
            pause_s = min(pause_s, patience_s - waited_s)
            logging.warning("%s does not answer (%s); trying again in %.0f s", self.url, error, pause_s)
            self._pause(pause_s)
            waited_s, pause_s = waited_s + pause_s, min(2 * pause_s, 60 * self._backoff_s)
        if waited_s:
            self._n_outages += 1

    def is_alive(self) -> bool:
        """Ask for the probe's address, once."""
        if self._probe is None:
            return False
        try:
            with self._open(f"{self.url}{self._probe}", {"Accept": "*/*"}):
                return True
        except FetchError as error:
            return error.status is not None and error.status < 500


def connect(url: str, network: Mapping[str, Any], **options: Any) -> Client:
    """Make a client with the keys of `network` (a section of the configuration) that are about connections."""
    keys = ("connections", "timeout_s", "attempts", "backoff_s", "patience_s")
    return Client(url, **({key: network[key] for key in keys if key in network} | options))
