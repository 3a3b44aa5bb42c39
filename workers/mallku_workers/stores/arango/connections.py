"""Kept-alive HTTP connections to several coordinators, and which of them is asked next.

A request is tried at another coordinator only where it provably reached none: nobody listens there,
the name is unknown, or the connection did not come up in time. Once a byte may have been read by a
server, what became of the request is that server's to say.
"""

from __future__ import annotations

import http.client
import select
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from mallku_contracts.errors import ConfigurationError, Unavailable
from mallku_workers.stores.arango.budget import Budget

RETRY_AFTER_S: Final = 1.0
"""Advice to callers while no coordinator can be reached, seconds."""

_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Coordinator:
    """Where one coordinator listens."""

    host: str
    port: int
    tls: bool

    @classmethod
    def parse(cls, url: str) -> Coordinator:
        """Read `http://host:port` or `https://host:port`; `ConfigurationError` where it is not."""
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            raise ConfigurationError(f"ArangoDB's URL {url!r:.200}: no such port") from None
        if parts.scheme not in _PORTS or not parts.hostname or parts.username or parts.query:
            raise ConfigurationError(
                f"ArangoDB's URL {url.rpartition('@')[2]!r:.200}: write http://host:port or"
                " https://host:port, without a name or password"
            )
        if parts.path not in ("", "/"):
            raise ConfigurationError(f"ArangoDB's URL {url!r:.200}: a path leads nowhere")
        return cls(parts.hostname, port or _PORTS[parts.scheme], parts.scheme == "https")

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(slots=True)
class Wire:
    """One connection, and when it was last used (monotonic seconds)."""

    http: http.client.HTTPConnection
    place: int
    used: float = field(default_factory=time.monotonic)

    def is_usable(self, idle_s: float) -> bool:
        """Whether nobody closed it while it lay idle."""
        socket = self.http.sock
        if socket is None or time.monotonic() - self.used > idle_s:
            return False
        # An idle connection has nothing to say: what can be read is its end, or rubbish.
        readable, _, _ = select.select([socket], [], [], 0)
        return not readable

    def set_timeout(self, seconds: float) -> None:
        """How long the next wait on the socket may last."""
        self.http.timeout = seconds
        if self.http.sock is not None:
            self.http.sock.settimeout(seconds)


class Connections:
    """The idle connections of all coordinators; safe for several threads.

    Args:
        idle_s: After so long without use a connection is not trusted any more, seconds.
        connect_s: To bring up one connection, seconds.
    """

    def __init__(
        self,
        coordinators: tuple[Coordinator, ...],
        *,
        tls: ssl.SSLContext | None,
        idle_s: float,
        connect_s: float,
    ) -> None:
        if not coordinators:
            raise ConfigurationError("the ArangoDB store was given no URL")
        self._coordinators = coordinators
        self._tls = tls
        self._idle_s = idle_s
        self._connect_s = connect_s
        self._idle: dict[int, list[Wire]] = {place: [] for place in range(len(coordinators))}
        self._lock = threading.Lock()
        self._first = 0

    @property
    def tries(self) -> int:
        """How often a request may be begun: once at each coordinator, and once more."""
        return len(self._coordinators) + 1

    def take(self, budget: Budget) -> Wire:
        """A connection that is up: an idle one, or a new one to the first coordinator that answers.

        Raises:
            Unavailable: none of them can be reached; nothing was sent.
        """
        tried: list[str] = []
        for place in self._order():
            wire = self._idle_wire(place)
            if wire is not None:
                return wire
            try:
                wire = self._connect(place, budget)
            except OSError as error:
                tried.append(f"{self._coordinators[place]} ({_reason(error)})")
                continue
            self._prefer(place)
            return wire
        raise Unavailable(
            f"ArangoDB cannot be reached: {', '.join(tried)}; nothing was done",
            retry_after=RETRY_AFTER_S,
        )

    def give_back(self, wire: Wire) -> None:
        """Keep a connection whose answer was read to the end."""
        wire.used = time.monotonic()
        with self._lock:
            self._idle[wire.place].append(wire)

    def pass_over(self, wire: Wire) -> None:
        """Ask another coordinator first from now on, where there is one."""
        wire.http.close()
        with self._lock:
            if self._first == wire.place:
                self._first = (wire.place + 1) % len(self._coordinators)

    def close(self) -> None:
        """Close all that is idle."""
        with self._lock:
            wires = [wire for idle in self._idle.values() for wire in idle]
            for idle in self._idle.values():
                idle.clear()
        for wire in wires:
            wire.http.close()

    def _order(self) -> Iterator[int]:
        count, first = len(self._coordinators), self._first
        return ((first + step) % count for step in range(count))

    def _prefer(self, place: int) -> None:
        with self._lock:
            self._first = place

    def _idle_wire(self, place: int) -> Wire | None:
        while True:
            with self._lock:
                idle = self._idle[place]
                wire = idle.pop() if idle else None
            if wire is None or wire.is_usable(self._idle_s):
                return wire
            wire.http.close()

    def _connect(self, place: int, budget: Budget) -> Wire:
        coordinator = self._coordinators[place]
        timeout_s = min(self._connect_s, budget.patience_s)
        if coordinator.tls:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                coordinator.host, coordinator.port, timeout=timeout_s, context=self._tls
            )
        else:
            connection = http.client.HTTPConnection(
                coordinator.host, coordinator.port, timeout=timeout_s
            )
        connection.connect()
        return Wire(connection, place)


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not to be believed: {error.verify_message}"
    return error.strerror or type(error).__name__
