"""Connections to public addresses only, with a time limit for the whole answer.

A record or a redirect can name any address, for example that of a router or of a cloud's metadata service. Requests to
addresses that are not public are refused, unless they belong to the configured server.

A socket's timeout limits only single reads, so a server could hold a connection forever by sending single bytes. So the
whole answer has a time limit, too.
"""

import http.client
import io
import ipaddress
import socket
import time
import weakref
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import requests
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from neurovault_ica.net.answers import FetchError

# Longer headers are refused. Servers send a few kB.
MAX_HEADER_BYTES = 100_000
# An answer that takes longer than timeout_s, and is slower than this, is abandoned. At this rate, 4 MB take an hour.
MIN_BYTES_PER_S = 1000
# An answer that takes longer than this is abandoned, in seconds.
MAX_ANSWER_S = 3600.0


class LimitedAdapter(requests.adapters.HTTPAdapter):
    """Makes connections to public addresses, with limits on time and size, for a `requests` session.

    Parameters
    ----------
    home : str
        The configured host. Its addresses need not be public.
    timeout_s : float
        Longest time for the headers of an answer, in seconds. It starts with their first byte.
    """

    def __init__(self, *, home: str, timeout_s: float, **options: Any) -> None:
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        settings = {"home": home, "timeout_s": timeout_s, "opened": self._sockets}
        self._pools = {
            "http": _pool(HTTPConnectionPool, type("HTTPConnection", (_LimitedConnection, HTTPConnection), settings)),
            "https": _pool(
                HTTPSConnectionPool, type("HTTPSConnection", (_LimitedConnection, HTTPSConnection), settings)
            ),
        }
        super().__init__(**options)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the manager of direct connections."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        """Make the manager of the connections to a proxy."""
        manager = super().proxy_manager_for(*args, **options)
        manager.pool_classes_by_scheme = self._pools
        return manager

    def close(self) -> None:
        """Close all connections, including those that wait for an answer."""
        for opened in list(self._sockets):
            with suppress(OSError):
                socket.socket.shutdown(opened, socket.SHUT_RDWR)
        super().close()


def _pool(kind: type, connection: type) -> type:
    return type("Pool", (kind,), {"ConnectionCls": connection})


class _LimitedConnection:
    """Methods that are added to urllib3's connections."""

    home: str
    timeout_s: float
    opened: weakref.WeakSet[socket.socket]
    proxy: Any
    host: str
    sock: Any

    def connect(self) -> None:
        """Connect if the address is public. With a proxy, the proxy decides which addresses are allowed."""
        if self.proxy is None:
            _require_public(self.host, _addresses(self.host), self.home)
        super().connect()  # type: ignore[misc]
        self.opened.add(self.sock)
        if self.proxy is None:
            # Check again: the name may have resolved to another address for the connection.
            _require_public(self.host, [self.sock.getpeername()[0]], self.home)

    def response_class(self, *args: Any, **options: Any) -> "_LimitedResponse":
        """Make the response object; `http.client` calls this."""
        return _LimitedResponse(*args, timeout_s=self.timeout_s, **options)


class _LimitedResponse(http.client.HTTPResponse):
    """A response whose time and size are limited."""

    def __init__(self, *args: Any, timeout_s: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self._stream = _LimitedStream(self.fp.detach(), timeout_s)
        self.fp = io.BufferedReader(self._stream)

    def begin(self) -> None:
        """Read the headers."""
        super().begin()
        self._stream.in_headers = False


class _LimitedStream(io.RawIOBase):
    """The bytes of an answer, with limits on time and size. The socket's timeout limits the wait for the first byte."""

    def __init__(self, raw: io.RawIOBase, timeout_s: float) -> None:
        self._raw, self._timeout_s = raw, timeout_s
        self._start: float | None = None
        self._size = 0
        self.in_headers = True

    def readable(self) -> bool:
        """Return True: this stream is for reading."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read the bytes that have arrived."""
        size = self._raw.readinto(buffer)
        now = time.monotonic()
        self._start = now if self._start is None else self._start
        self._size += size or 0
        self._check(now - self._start)
        return size

    def close(self) -> None:
        """Close the socket."""
        self._raw.close()
        super().close()

    def _check(self, took_s: float) -> None:
        found = f"{self._size} bytes in {took_s:.0f} s"
        if self.in_headers and self._size > MAX_HEADER_BYTES:
            raise FetchError("bad_answer", f"more than {MAX_HEADER_BYTES} bytes of headers", transient=True)
        if took_s > MAX_ANSWER_S:
            raise FetchError("timeout", found)
        if took_s > self._timeout_s and (self.in_headers or self._size < MIN_BYTES_PER_S * took_s):
            raise FetchError("timeout", found, transient=True)


def _require_public(host: str, addresses: Iterable[str], home: str) -> None:
    """Raise `FetchError` if a host has an address that is not public and does not belong to `home`."""
    hidden = {address for address in addresses if not _is_public(address)}
    if hidden and not hidden <= _addresses(home):
        raise FetchError(
            "private_address",
            f"{host} has the address {min(hidden)}, which is not public; requests to it are refused unless archive.url"
            " names this server",
        )


def _addresses(host: str) -> set[str]:
    """Look up a host's addresses; empty if that fails, because connecting will then give a better error."""
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return set()


def _is_public(address: str) -> bool:
    found = ipaddress.ip_address(address)
    found = getattr(found, "ipv4_mapped", None) or found
    return found.is_global and not found.is_multicast
