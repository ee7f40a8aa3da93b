"""Get JSON and files over HTTP with several connections, retries, and checks of every answer.

One `Client` sends requests to one server and limits their number. After a temporary failure (dropped connection,
timeout, 429 or 5xx answer, damaged body), a request is repeated after a growing random pause. Permanent failures, such
as 404, are not repeated.
"""

import hashlib
import logging
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
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
from neurovault_ica.net.connections import LimitedAdapter
from neurovault_ica.net.ordered import map_in_order
from neurovault_ica.net.retries import MostTries, Retries

Item = TypeVar("Item")
Result = TypeVar("Result")
USER_AGENT = f"neurovault-ica (Snakemake workflow) python-requests/{requests.__version__}"
# A longer chain of redirects is probably a loop.
MAX_REDIRECTS = 5
# Longest time to connect, in seconds. A server may need a minute to answer, but it accepts connections at once.
CONNECT_S = 20.0
# Larger bodies are refused, so that an endless answer fills neither the memory nor the disk.
MAX_JSON_BYTES = 64_000_000
MAX_FILE_BYTES = 2_000_000_000
# Largest piece of a body that is read at once.
CHUNK_BYTES = 1 << 16


class Saved(NamedTuple):
    """A downloaded file."""

    n_bytes: int
    sha256: str


class _Session(requests.Session):
    """A session that leaves redirects to the client, and reads the environment once per host."""

    def __init__(self) -> None:
        super().__init__()
        self._settings: dict[tuple[str, ...], Any] = {}

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        """Return None, so that requests follows no redirect. The client follows them, and checks each address."""
        return None

    def merge_environment_settings(self, url: Any, *arguments: Any) -> Any:
        """Read proxies and certificates from the environment once per host. It takes a third of a request's time."""
        host = urlsplit(url)[:2]
        if host not in self._settings:
            self._settings[host] = super().merge_environment_settings(url, *arguments)
        return dict(self._settings[host])


class Client:
    """Requests to one server.

    Parameters
    ----------
    url : str
        The server, such as ``https://neurovault.org``. With https, http addresses of the same server become https.
    connections : int
        Largest number of simultaneous requests.
    timeout_s : float
        Longest time without a byte from the server, in seconds.
    attempts : int
        Largest number of tries of one request.
    probe : str or None
        A path that a working server answers with JSON. It is requested after repeated failures. With None, repeated
        failures mean that the server is down.
    backoff_s : float
        Pause before the second try, in seconds; doubled before each further one.
    patience_s : float
        Longest wait for a server that is down, in seconds.
    first_patience_s : float, optional
        Longest wait before the server's first answer, in seconds; at most `patience_s`.
    request : function, optional
        Returns a context for one request. It may wait for other processes.
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
        request: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.url = url.rstrip("/")
        self.connections, self.timeout_s = connections, timeout_s
        self._probe, self._probing = probe, threading.Lock()
        self._retries = Retries(
            self.url,
            None if probe is None else self.is_alive,
            connections=connections,
            attempts=attempts,
            backoff_s=backoff_s,
            patience_s=patience_s,
            first_patience_s=patience_s if first_patience_s is None else min(first_patience_s, patience_s),
            request=request,
        )
        self._session = _Session()
        home = urlsplit(self.url).hostname or ""
        # One connection more than requests, for the probe.
        adapter = LimitedAdapter(home=home, timeout_s=timeout_s, pool_connections=4, pool_maxsize=connections + 1)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        self._session.headers["User-Agent"] = USER_AGENT
        # Without this, requests sends the login that ~/.netrc has for the host.
        self._session.auth = lambda request: request

    def __enter__(self) -> "Client":
        """Return the client."""
        return self

    def __exit__(self, *_: object) -> None:
        """End every pause and close the connections."""
        self._retries.stop()
        self._session.close()

    def get_json(
        self,
        path: str,
        *,
        check: Callable[[Any], bool],
        params: Mapping[str, Any] | None = None,
        most_tries: MostTries | None = None,
    ) -> Any:
        """Get and parse a JSON document of this server.

        Parameters
        ----------
        path : str
            Below the server's address.
        check : function
            Returns whether the document has the expected form.
        params : mapping, optional
            The query.
        most_tries : function, optional
            Returns the largest number of tries for an error. If it returns None, this is `attempts`.

        Raises
        ------
        FetchError
            If no try succeeds.
        """
        return self._document(path, check, params, most_tries)[1]

    def get_bytes(self, path: str, *, check: Callable[[Any], bool], params: Mapping[str, Any] | None = None) -> bytes:
        """Get a JSON document as in `get_json`, but return the bytes that the server sent."""
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
        """Download a file to `path`. An existing file is overwritten.

        Parameters
        ----------
        url : str
            A complete address, from a record.
        path : Path
        expected_bytes : int or None
            The size that the file should have.
        check : function
            Describes a fault of the complete file, or returns None.
        count : function
            Called with the number of bytes of each piece that arrives.

        Raises
        ------
        FetchError
            If no try succeeds.
        """
        if expected_bytes and expected_bytes > MAX_FILE_BYTES:
            raise FetchError("file_too_large", f"{expected_bytes} bytes stated, at most {MAX_FILE_BYTES} are accepted")

        def once() -> tuple[Saved, int | None]:
            digest, size = hashlib.sha256(), 0
            # Request the bytes as stored, because NeuroVault states a Content-Encoding that does not exist.
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
            return Saved(size, digest.hexdigest()), announced

        def examine(found: tuple[Saved, int | None]) -> None:
            if fault := check(path):
                announced = found[1]
                raise FetchError("damaged_file", fault, transient=True, verdict=announced and (fault, announced))

        return self._retries.persist(once, url, check=examine)[0]

    def map_in_order(
        self, function: Callable[[Item], Result], items: Iterable[Item], *, ahead: int | None = None
    ) -> Generator[Result, None, None]:
        """Map `function` over `items` in threads; results come in order.

        At most `ahead` items are started before their turn; by default, as many as there are connections.
        """
        # With more threads than connections, no connection waits while another thread checks an answer.
        return map_in_order(function, items, threads=2 * self.connections, ahead=ahead or self.connections)

    def secure(self, url: str) -> str:
        """Check that `url` is an http or https address. If it is on this server, and the server uses https, use https.

        Raises
        ------
        FetchError
            If `url` is not an http or https address.
        """
        try:
            parts, own = urlsplit(url), urlsplit(self.url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
            usable = usable and parts.port != 0
        except (ValueError, AttributeError):
            usable = False
        if not usable:
            raise FetchError("bad_address", f"{str(url)[:200]!r} is not an http or https address")
        # NeuroVault writes http:// into its records although it supports https.
        is_own = parts.netloc == own.netloc and own.scheme == "https"
        return urlunsplit(parts._replace(scheme="https")) if is_own else url

    def is_alive(self) -> bool:
        """Request the probe's path once, and return whether the server answers with JSON."""
        if self._probe is None:
            return False
        try:
            with self._probing:
                self._read_document(f"{self.url}{self._probe}", lambda _: True)
        except FetchError as error:
            logging.debug("GET %s: %s", self._probe, error)
            return False
        return True

    def _document(
        self, path: str, check: Callable[[Any], bool], params: Mapping[str, Any] | None, most_tries: MostTries | None
    ) -> tuple[bytes, Any]:
        query = "&".join(f"{key}={value}" for key, value in (params or {}).items())
        url = f"{self.url}{path}{'?' if query else ''}{query}"
        return self._retries.persist(lambda: self._read_document(url, check), url, most_tries)

    def _read_document(self, url: str, check: Callable[[Any], bool]) -> tuple[bytes, Any]:
        """Request a JSON document once."""
        with self._open(url, {"Accept": "application/json"}) as response:
            content = b"".join(self._chunks(response, MAX_JSON_BYTES, decode=True))
        return content, parse_json(content, check, response.status_code)

    @contextmanager
    def _open(self, url: str, headers: Mapping[str, str]) -> Iterator[requests.Response]:
        """Send one request, follow redirects, and yield the answer if its status is 200."""
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
        """Read the body piece by piece as it arrives; a body longer than `limit` is an error."""
        size = 0
        while chunk := response.raw.read1(CHUNK_BYTES, decode_content=decode):
            size += len(chunk)
            if size > limit:
                raise FetchError("bad_answer", f"the body continues after {limit} bytes", transient=True)
            self._retries.require_running()
            yield chunk


def connect(url: str, network: Mapping[str, Any], **options: Any) -> Client:
    """Make a client with the network settings of a section of the configuration."""
    keys = ("connections", "timeout_s", "attempts", "backoff_s", "patience_s")
    return Client(url, **({key: network[key] for key in keys if key in network} | options))
