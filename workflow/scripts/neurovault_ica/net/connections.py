"""Connections that go where they may, and end.

A record or a redirect can name any address, that of a router or of a cloud's metadata service too; so what is not
public is not asked, unless it is the server of the configuration itself. And time-outs of sockets are of each read, so
that a server that sends a byte now and then could hold a connection for ever; here the whole answer must come.
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

MAX_HEADER_BYTES = 100_000
# What comes more slowly, once timeout_s is over, is given up; and so is what takes longer than this, however fast.
MIN_BYTES_PER_S = 1000
MAX_ANSWER_S = 3600.0


class CarefulAdapter(requests.adapters.HTTPAdapter):
    """Makes careful connections.

    Parameters
    ----------
    home : str
        The host of the configuration, whose addresses need not be public.
    timeout_s : float
        Longest time for the headers of an answer, once they begin, in seconds.
    """

    def __init__(self, *, home: str, timeout_s: float, **options: Any) -> None:
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        settings = {"home": home, "timeout_s": timeout_s, "opened": self._sockets}
        self._pools = {
            "http": _pool(HTTPConnectionPool, type("HTTPConnection", (_Careful, HTTPConnection), settings)),
            "https": _pool(HTTPSConnectionPool, type("HTTPSConnection", (_Careful, HTTPSConnection), settings)),
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
        """Close all connections, those that wait for an answer too."""
        for opened in list(self._sockets):
            with suppress(OSError):
                socket.socket.shutdown(opened, socket.SHUT_RDWR)
        super().close()


def _pool(kind: type, connection: type) -> type:
    return type("Pool", (kind,), {"ConnectionCls": connection})


class _Careful:
    """What is added to the connections of urllib3."""

    home: str
    timeout_s: float
    opened: weakref.WeakSet[socket.socket]
    proxy: Any
    host: str
    sock: Any

    def connect(self) -> None:
        """Connect, if the address is public. Behind a proxy, that is the proxy's to decide."""
        if self.proxy is None:
            _require_public(self.host, _addresses(self.host), self.home)
        super().connect()  # type: ignore[misc]
        self.opened.add(self.sock)
        if self.proxy is None:
            # A name may mean another address every time that it is asked for.
            _require_public(self.host, [self.sock.getpeername()[0]], self.home)

    def response_class(self, *args: Any, **options: Any) -> "_Answer":
        """Make the answer of `http.client`, which calls this."""
        return _Answer(*args, timeout_s=self.timeout_s, **options)


class _Answer(http.client.HTTPResponse):
    """An answer that must come in time."""

    def __init__(self, *args: Any, timeout_s: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self._watched = _Watched(self.fp.detach(), timeout_s)
        self.fp = io.BufferedReader(self._watched)

    def begin(self) -> None:
        """Read the headers."""
        super().begin()
        self._watched.in_headers = False


class _Watched(io.RawIOBase):
    """The bytes of an answer, while they come fast enough; the silence before the first is the socket's to bound."""

    def __init__(self, raw: io.RawIOBase, timeout_s: float) -> None:
        self._raw, self._timeout_s = raw, timeout_s
        self._start: float | None = None
        self._size = 0
        self.in_headers = True

    def readable(self) -> bool:
        """Say that this is for reading."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what there is."""
        size = self._raw.readinto(buffer)
        now = time.monotonic()
        self._start = self._start or now
        self._size += size or 0
        self._check(now - self._start)
        return size

    def close(self) -> None:
        """Let go of the socket."""
        self._raw.close()
        super().close()

    def _check(self, took_s: float) -> None:
        found = f"only {self._size} bytes in {took_s:.0f} s"
        if self.in_headers and self._size > MAX_HEADER_BYTES:
            raise FetchError("bad_answer", f"more than {MAX_HEADER_BYTES} bytes of headers", transient=True)
        if took_s > MAX_ANSWER_S:
            raise FetchError("timeout", found)
        if took_s > self._timeout_s and (self.in_headers or self._size < MIN_BYTES_PER_S * took_s):
            raise FetchError("timeout", found, transient=True)


def _require_public(host: str, addresses: Iterable[str], home: str) -> None:
    """Raise `FetchError` if any of a host's addresses is private, of this machine or the like, and not `home`'s."""
    hidden = {address for address in addresses if not _is_public(address)}
    if hidden and not hidden <= _addresses(home):
        raise FetchError(
            "private_address",
            f"{host} is {min(hidden)}, which is no public address, and so not asked; if it is the server that you mean,"
            " archive.url must name it",
        )


def _addresses(host: str) -> set[str]:
    """Look up a host's addresses; none if there are none, which connecting will say better."""
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return set()


def _is_public(address: str) -> bool:
    found = ipaddress.ip_address(address)
    found = getattr(found, "ipv4_mapped", None) or found
    return found.is_global and not found.is_multicast
