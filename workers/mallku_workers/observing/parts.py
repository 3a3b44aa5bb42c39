"""The parts of a worker that are looked at, and what each says of itself at one moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mallku_broker.connection import GatewayConnection
from mallku_broker.durability import StreamState
from mallku_broker.group_commit import GroupCommit
from mallku_contracts.errors import ConfigurationError, InvalidToken
from mallku_contracts.unverified import read_unverified
from mallku_workers.admission import Slots
from mallku_workers.audit import Trail
from mallku_workers.durability import StreamWatch
from mallku_workers.governance import Governor
from mallku_workers.identity import Identifier
from mallku_workers.jobs.desk import Desk
from mallku_workers.observing.health import Health, Signs, judge
from mallku_workers.observing.loop_lag import LoopLag
from mallku_workers.queries.cursors import Cursors
from mallku_workers.replies import Answering, WorkerIdentity

_NS_PER_MS: Final = 1_000_000


class Clocks:
    """How far the wall clock went away from the monotonic one, and stands from the broker's.

    Args:
        offset_ms: The wall clock less the monotonic one, milliseconds.
    """

    def __init__(self, offset_ms: Callable[[], float]) -> None:
        self._offset_ms = offset_ms
        self._first_ms = offset_ms()
        self._heard: tuple[float, float] | None = None
        self._state: StreamState | None = None

    @property
    def jumped_ms(self) -> float:
        """How far the wall clock jumped since the start, milliseconds; forward is positive."""
        return self._offset_ms() - self._first_ms

    @property
    def apart_ms(self) -> float | None:
        """How far it is ahead of the broker's now, milliseconds; None while nobody has said."""
        if self._heard is None:
            return None
        apart_ms, offset_ms = self._heard
        return apart_ms + self._offset_ms() - offset_ms

    def see(self, state: StreamState | None) -> None:
        """Take in what the broker said last."""
        if state is not None and state is not self._state and state.apart_ms is not None:
            self._heard = state.apart_ms, self._offset_ms()
        self._state = state


def wall_less_monotonic_ms() -> float:
    """The wall clock less the monotonic one, milliseconds."""
    return (time.time_ns() - time.monotonic_ns()) / _NS_PER_MS


@dataclass(slots=True)
class Parts:
    """What there is to look at; None until it is there.

    Attributes:
        stage: What is being done before the worker serves; empty once it does.
        draining: It finishes what has come.
        away: It has left its queue groups for a fault of its own.
        store: The name of the store.
        under_way: Commands that have come and are not answered yet.
        breakers: Where the breaker of each class stands.
        at_work: Of each class, what is inside the store and what waits for it.
        jobs_stored: Durable jobs that are not done; of the whole gateway, None before it is known.
        http: `HOST:PORT` of the metrics; empty for none.
    """

    instance: str
    skew_ms: float
    stage: str = "beginning"
    draining: bool = False
    away: bool = False
    store: str = ""
    http: str = ""
    started_s: float = field(default_factory=time.time)
    lag: LoopLag = field(default_factory=LoopLag)
    clocks: Clocks = field(default_factory=lambda: Clocks(wall_less_monotonic_ms))
    connections: dict[str, GatewayConnection] = field(default_factory=dict)
    under_way: Callable[[], int] | None = None
    identity: WorkerIdentity | None = None
    governor: Governor | None = None
    trail: Trail | None = None
    groups: GroupCommit | None = None
    watch: StreamWatch | None = None
    slots: Slots | None = None
    breakers: Callable[[], Mapping[str, str]] = dict
    at_work: Callable[[], Mapping[str, tuple[int, int]]] = dict
    desk: Desk | None = None
    jobs_stored: int | None = None
    cursors: Cursors | None = None
    identifier: Identifier | None = None
    replies: Answering | None = None

    @property
    def policy_version(self) -> int | None:
        """The version of the policy in force; None for none."""
        try:
            return None if self.governor is None else self.governor.policy.version
        except ConfigurationError:
            return None

    @property
    def durability(self) -> str:
        """What an acknowledged mutation survives now; empty before it is known."""
        return "" if self.watch is None else str(self.watch.declared.level)

    @property
    def token(self) -> dict[str, Any]:
        """The claims of the worker's own token; empty before it has one."""
        if self.identity is None:
            return {}
        try:
            return read_unverified(self.identity.token().decode())[1]
        except InvalidToken:
            return {}

    @property
    def jobs(self) -> dict[str, int]:
        """Durable jobs by their state: in this worker's hands, and kept by the whole gateway."""
        here = {} if self.desk is None else {"under_way": self.desk.under_way}
        return here if self.jobs_stored is None else here | {"stored": self.jobs_stored}

    def signs(self) -> Signs:
        """What can be seen of the worker now."""
        trail = self.trail
        if self.watch is not None:
            self.clocks.see(self.watch.state)
        return Signs(
            stage=self.stage,
            draining=self.draining,
            down=tuple(name for name, each in self.connections.items() if not each.is_up),
            trail_answers=trail is None or trail.audit.answers,
            trail_has_room=trail is None or trail.audit.has_room,
            breakers=self.breakers(),
            policy=self.policy_version,
            jumped_ms=self.clocks.jumped_ms,
            apart_ms=self.clocks.apart_ms,
            skew_ms=self.skew_ms,
            lag_s=self.lag.usual_s,
            away=self.away,
        )

    def health(self) -> Health:
        """What that amounts to."""
        return judge(self.signs())
