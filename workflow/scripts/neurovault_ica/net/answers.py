"""Interpret HTTP answers: why a request failed, whether another try may help, and how long to wait before it."""

import json
import logging
import re
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urljoin

import requests
import urllib3

# HTTP statuses after which another try may succeed. 520 to 527 are Cloudflare's own.
TRANSIENT = {408, 425, 429, 500, 502, 503, 504, *range(520, 528)}


class FetchError(Exception):
    """A request that failed.

    Parameters
    ----------
    reason : str
        Key for tables: not_found, refused, server_error, timeout, no_connection, bad_answer, bad_address,
        private_address, damaged_file, file_too_large, no_values, server_down or stopped.
    detail : str
        What was found, for the log.
    status : int, optional
        HTTP status of the answer, if there was one.
    transient : bool
        Whether another try may help.
    verdict : optional
        Identifies what is wrong with a complete answer. If the next try gives the same verdict, more tries do not help.
    retry_after_s : float
        The pause that the server asks for, in seconds.
    """

    def __init__(
        self,
        reason: str,
        detail: str,
        *,
        status: int | None = None,
        transient: bool = False,
        verdict: Hashable = None,
        retry_after_s: float = 0,
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail, self.status = reason, detail, status
        self.transient, self.verdict, self.retry_after_s = transient, verdict, retry_after_s


@contextmanager
def translated() -> Iterator[None]:
    """Turn the errors of requests and urllib3 into `FetchError`."""
    try:
        yield
    except (
        requests.exceptions.ProxyError,
        requests.exceptions.InvalidProxyURL,
        requests.exceptions.InvalidSchema,
    ) as error:
        # Our address was checked before, so an unknown scheme, such as socks5, is that of the proxy.
        advice = "check the variables http_proxy, https_proxy, all_proxy and no_proxy"
        is_broken = isinstance(error, requests.exceptions.ProxyError)
        reason = "no_connection" if is_broken else "bad_address"
        raise FetchError(reason, f"proxy: {_brief(error).rstrip('.')}; {advice}", transient=is_broken) from error
    except (requests.exceptions.SSLError, urllib3.exceptions.SSLError) as error:
        found = _brief(error)
        # Other TLS errors are broken connections, so another try may succeed.
        is_certificate = "CERTIFICATE_VERIFY_FAILED" in found
        advice = "; if you trust it, name the file with the certificate in REQUESTS_CA_BUNDLE" if is_certificate else ""
        raise FetchError("no_connection", f"TLS: {found}{advice}", transient=not is_certificate) from error
    except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError) as error:
        raise FetchError("timeout", _brief(error), transient=True) from error
    except (requests.exceptions.ConnectionError, urllib3.exceptions.HTTPError, ConnectionError) as error:
        raise FetchError("no_connection", _brief(error), transient=True) from error
    except (requests.RequestException, UnicodeError) as error:
        raise FetchError("bad_address", str(error)) from error


def _brief(error: BaseException) -> str:
    """Return the message of the innermost error, without the Python object at its start."""
    while True:
        # urllib3 writes an error as a text and its cause.
        causes = (getattr(error, "reason", None), *error.args)
        inner = next((cause for cause in causes if isinstance(cause, Exception)), None)
        if inner is None or not str(inner):
            # A status line that is no HTTP may contain any bytes.
            text = str(error) if str(error).isprintable() else repr(error)
            return re.sub(r"^(<[^>]*>|HTTPS?Connection(Pool)?\([^)]*\)): ", "", text)
        error = inner


def requested_pause(response: requests.Response) -> float:
    """Return the pause in seconds that a server asks for (Retry-After), or 0."""
    asked = response.headers.get("Retry-After")
    if asked is None:
        return 0.0
    try:
        return urllib3.Retry().parse_retry_after(asked)
    except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
        logging.debug("no valid Retry-After: %r", asked[:100])
        return 0.0


def status_error(response: requests.Response) -> FetchError:
    """Make the error for a status other than 200."""
    status = response.status_code
    is_transient = status in TRANSIENT or status < 400
    if status in (404, 410):
        reason = "not_found"
    elif status < 400:
        # No content, a part of it, or a redirect to nowhere, none of which was requested.
        reason = "bad_answer"
    else:
        reason = "server_error" if status >= 500 or is_transient else "refused"
    retry_after_s = requested_pause(response) if is_transient else 0.0
    return FetchError(reason, f"status {status}", status=status, transient=is_transient, retry_after_s=retry_after_s)


def parse_json(content: bytes, check: Callable[[Any], bool], status: int) -> Any:
    """Parse an answer as JSON, or raise `FetchError` if it is not JSON or `check` rejects it."""
    try:
        document = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        found = "HTML instead of JSON" if content.lstrip()[:1] == b"<" else f"no valid JSON ({error})"
        raise FetchError("bad_answer", f"{found}, with status {status}", transient=True) from error
    if not check(document):
        raise FetchError("bad_answer", f"JSON of an unexpected form: {content[:80]!r}", transient=True)
    return document


def content_length(response: requests.Response) -> int | None:
    """Read the length of the body from the headers; None if they do not state it."""
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() and len(text) < 20 else None


def compare_sizes(size: int | None, expected: int | None, what: str, *, verdict: Hashable = None) -> None:
    """Raise `FetchError` if both sizes are known and differ."""
    if size is not None and expected and size != expected:
        raise FetchError("damaged_file", f"{size} bytes {what}, but {expected} stated", transient=True, verdict=verdict)


def require_no_page(start: bytes, status: int) -> None:
    """Raise `FetchError` if the first bytes of a download are those of a web page."""
    if start.lstrip()[:1] == b"<":
        raise FetchError("bad_answer", f"HTML instead of an image, with status {status}", transient=True)


def redirected(url: str, location: str) -> str:
    """Return the address to which a redirect leads, or raise `FetchError`."""
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise FetchError("bad_address", f"redirected to {location[:200]!r}: {error}") from error
