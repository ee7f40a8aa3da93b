"""Requests to a NeuroVault with the user's token: reading lists, and creating records."""

import re
import time
from typing import Any
from urllib.parse import urlsplit

import requests
import requests.auth
from neurovault_ica.net.answers import requested_pause
from neurovault_ica.net.retries import MAX_RETRY_AFTER_S

TOKEN = "NEUROVAULT_TOKEN"
# NeuroVault checks an image while it answers, which takes up to a minute. Its proxy gives up after a minute.
TIMEOUT_S = (20, 120)
ATTEMPTS = 3
READ_PAUSE_S = 5.0
# NeuroVault's largest page. It does not order its lists of collections, so pages may repeat and skip records.
PAGE = 1000
LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Status codes below 500 after which a request may be repeated: time-out, and too many requests.
TEMPORARY = (408, 429)
# Characters of an answer that an error quotes.
MOST_QUOTED = 500


class RefusedError(Exception):
    """The server refuses a request for good. `status` is the code of its answer, if it answered."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class ServerError(OSError):
    """The server cannot be reached, or has a fault of its own. The same request may succeed later.

    `pause_s` is the time to wait before it, as the server asks (Retry-After); 0 if it does not.
    """

    def __init__(self, message: str, pause_s: float = 0) -> None:
        super().__init__(message)
        self.pause_s = pause_s


class TokenAuth(requests.auth.AuthBase):
    """Add a token to a request. A password in ~/.netrc or in the address would replace a plain header."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the token."""
        request.headers["Authorization"] = f"Token {self._token}"
        return request


class Server:
    """Requests to one NeuroVault with a token, which is sent to this server only.

    Parameters
    ----------
    url : str
        Must be https, unless the server is on this machine.
    token : str

    Raises
    ------
    ValueError
        If the token would be sent unencrypted, or has characters that no token has. The message never contains it.
    """

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
            raise ValueError(f"{url}: the token would be sent unencrypted; give an address that begins with https://")
        if not re.fullmatch("[!-~]+", token):
            raise ValueError(
                f"{TOKEN} has spaces or other characters that no token has; copy the token alone from the settings of"
                f" your account on {url}"
            )
        self.url = url.rstrip("/")
        self._token = token
        self.session = requests.Session()
        # Use the proxies and certificates of the environment, except for a server on this machine.
        self.session.trust_env = parts.scheme == "https"
        self.session.auth = TokenAuth(token)

    def ask(self, method: str, path: str, **content: Any) -> Any:
        """Send one request and return its JSON answer.

        Raises
        ------
        RefusedError
            If repeating the request would not help.
        ServerError
            If the connection failed, or the server has a fault of its own.
        """
        place = f"{self.url}/api/{path}"
        try:
            answer = self.session.request(method, place, timeout=TIMEOUT_S, allow_redirects=False, **content)
        except requests.Timeout as error:
            raise ServerError(f"{place} did not answer in time") from error
        except requests.RequestException as error:
            raise ServerError(f"the connection to {place} failed ({self._quote(str(error))})") from error
        code = answer.status_code
        if code == 401:
            raise RefusedError(
                f"{self.url} refuses the token in {TOKEN}; make a new one in the settings of your account"
            )
        if 300 <= code < 400:
            raise RefusedError(
                f"{place} redirects to {self._quote(answer.headers.get('Location', 'an unknown address'))}, where the"
                " token is not sent. If this is the address of your NeuroVault, give it with --url"
            )
        if 400 <= code < 500 and code not in TEMPORARY:
            raise RefusedError(f"{place} answered {code}: {self._quote(answer.text)}", code)
        if not answer.ok:
            raise ServerError(f"{place} answered {code}", min(requested_pause(answer), MAX_RETRY_AFTER_S))
        try:
            return answer.json()
        except ValueError as error:
            raise ServerError(f"{place} did not answer with JSON") from error

    def create(self, path: str, **content: Any) -> int:
        """Send one POST request and return the id of the new record; see `ask` for the errors."""
        answer = self.ask("POST", path, **content)
        if not _is_record(answer):
            raise ServerError(f"{self.url}/api/{path} did not answer with a record")
        return int(answer["id"])

    def list_all(self, path: str) -> list[dict[str, Any]]:
        """List the records of all pages, each record once.

        Raises
        ------
        RefusedError
            If the server refuses to list them.
        ServerError
            If the list cannot be read, or stays incomplete.
        """
        found: dict[int, dict[str, Any]] = {}
        count = 0
        for _ in range(ATTEMPTS):
            count = self._read_pages(path, found)
            if len(found) >= count:
                return list(found.values())
        raise ServerError(f"{self.url}/api/{path} states {count} records, but lists only {len(found)} different ones")

    def _read_pages(self, path: str, found: dict[int, dict[str, Any]]) -> int:
        """Add the records of all pages to `found`, by id. Return how many there are, as the server states."""
        offset = 0
        while True:
            page = self._get_page(f"{path}?limit={PAGE}&offset={offset}")
            records = page["results"]
            found.update((int(record["id"]), record) for record in records)
            offset += len(records)
            if not records or not page.get("next"):
                return int(page["count"])

    def _get_page(self, path: str) -> dict[str, Any]:
        """Get a page of records. Temporary failures are repeated, because reading changes nothing."""
        for attempt in range(1, ATTEMPTS):
            try:
                return self._ask_page(path)
            except OSError as error:
                wait_after(error, READ_PAUSE_S * attempt)
        return self._ask_page(path)

    def _ask_page(self, path: str) -> dict[str, Any]:
        page = self.ask("GET", path)
        if not _is_page(page):
            raise ServerError(f"{self.url}/api/{path} did not answer with a list of records")
        return page

    def _quote(self, text: str) -> str:
        """Shorten what the server answered. Pages about errors may repeat the headers of the request."""
        return " ".join(text.replace(self._token, "[token]")[:MOST_QUOTED].split())


def wait_after(error: OSError, usual_s: float) -> None:
    """Wait as long as usual after an error, or longer if the server asks for it."""
    time.sleep(max(usual_s, error.pause_s if isinstance(error, ServerError) else 0))


def _is_page(content: Any) -> bool:
    if not isinstance(content, dict) or not isinstance(content.get("results"), list):
        return False
    return isinstance(content.get("count"), int) and all(map(_is_record, content["results"]))


def _is_record(content: Any) -> bool:
    return isinstance(content, dict) and re.fullmatch("[0-9]{1,18}", str(content.get("id"))) is not None
