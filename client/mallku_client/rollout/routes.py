"""Which way a collection is reached now, as the flags in force say."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from mallku_client.rollout.forking import begin_in_children
from mallku_contracts.routes import Route, Routing

if TYPE_CHECKING:  # brings pydantic
    from mallku_contracts.results import FlagsInfo

LOOK_S: Final = 0.5
"""Between two looks at the flags, seconds: how long a switch may take to be heeded."""

_LOG = logging.getLogger(__name__)


class Routes(Protocol):
    """Says which way a collection is reached."""

    def route(self, collection: str) -> Route:
        """The route of a collection, now; asks nobody."""
        ...

    @property
    def default(self) -> Route:
        """The route of what is about no collection."""
        ...


class WatchedRoutes:
    """The routes that a gateway's flags say, looked at again and again in a thread of its own.

    Until flags were seen once everything goes the old way, and flags that cannot be had change
    nothing: who cannot ask the gateway should not start to depend on it. That they cannot be had is
    logged. A forked child looks by itself.

    Args:
        describe_flags: The blocking `describe_flags` of a database; one that connects by itself
            when it is called lets a service start without the gateway.
    """

    def __init__(self, describe_flags: Callable[[], FlagsInfo], look_s: float = LOOK_S) -> None:
        self._describe = describe_flags
        self._look_s = look_s
        self._version = 0
        self._routing = Routing({}, Route.LEGACY)
        self._trouble = ""
        self._ended = threading.Event()
        self._seen = threading.Event()
        self._begin()
        begin_in_children(self)

    def route(self, collection: str) -> Route:
        """The route of a collection by the flags last seen."""
        return self._routing.route(collection)

    @property
    def default(self) -> Route:
        """The route of what no line names."""
        return self._routing.default

    def wait(self, timeout_s: float) -> bool:
        """Wait until flags were seen once; False when they were not in time."""
        return self._seen.wait(timeout_s)

    def close(self) -> None:
        """Look no more."""
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.is_set():
            self.look()
            self._ended.wait(self._look_s)

    def look(self) -> None:
        """Ask once, now."""
        try:
            self._heed(self._describe())
        except Exception as error:  # noqa: BLE001 - no look may be the last one
            trouble = type(error).__name__
            if trouble != self._trouble:  # told once, not at each look
                _LOG.warning("rollout: the flags cannot be had: %s: %s", trouble, error)
            self._trouble = trouble
        else:
            self._trouble = ""
            self._seen.set()

    def begin_in_child(self) -> None:
        """Look on in a forked child, unless it was closed before."""
        if not self._ended.is_set():
            self._ended = threading.Event()  # a lock may have been held during the fork
            self._seen = _event(self._seen.is_set())
            self._begin()

    def _begin(self) -> None:
        threading.Thread(target=self._watch, name="mallku-routes", daemon=True).start()

    def _heed(self, found: FlagsInfo) -> None:
        if found["version"] > self._version:
            self._routing = Routing(found["collections"], found["default"])
            self._version = found["version"]


def _event(happened: bool) -> threading.Event:
    event = threading.Event()
    if happened:
        event.set()
    return event
