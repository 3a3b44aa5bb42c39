"""Who is measured beside whom, and which ratios are looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mallku_deploy.bench import Spread
from tests.benchmarks.stage import LOOPS, PeerOnStage, Stage, sealed_insert

_ECHO = "nats-py echo"
_INSERT, _GET, _SIGNED_GET = "gateway insert", "gateway get, unsigned reply", "gateway get"
_REMEMBERED = ", tokens remembered"


@dataclass(frozen=True, slots=True)
class Contestant:
    """Something to be measured.

    Attributes:
        setting: What its load generator is told.
        processes: Whom to charge with CPU besides the load generator, by part.
    """

    name: str
    setting: dict[str, Any]
    processes: Callable[[], Mapping[str, Sequence[int]]]


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio to be looked at: `ours` over `theirs`, in one figure of a run.

    Attributes:
        wanted: At least this (at most this, where less is better); None where nothing is promised.
    """

    ours: str
    theirs: str
    figure: str
    wanted: float | None

    @property
    def less_is_better(self) -> bool:
        """Whether the figure is a time."""
        return self.figure != "throughput"

    def reached(self, ratio: Spread) -> bool | None:
        """Whether the median of the ratio is as wanted."""
        if self.wanted is None:
            return None
        return ratio.median <= self.wanted if self.less_is_better else ratio.median >= self.wanted


@dataclass(frozen=True, slots=True)
class Casting:
    """Makes the contestants of a stage.

    Attributes:
        size: Bytes of a document's JSON.
        in_flight: Calls under way at once.
        documents: Documents that are there to be read.
    """

    stage: Stage
    size: int
    in_flight: int
    documents: int

    def groups(self) -> list[list[Contestant]]:
        """The contestants; those of a group take turns with each other."""
        stage = self.stage
        groups = [
            [
                self._insert("asyncio"),
                self._echo("asyncio"),
                self._peer("insert", stage.peer),
                self._peer("insert", stage.remembering_peer, _REMEMBERED),
            ],
            [
                self._unsigned_get("asyncio"),
                self._signed_get(),
                self._echo("asyncio"),
                self._peer("get", stage.peer),
                self._peer("get", stage.remembering_peer, _REMEMBERED),
            ],
        ]
        if "uvloop" in LOOPS:
            ours = [self._insert("uvloop"), self._unsigned_get("uvloop")]
            groups.append([ours[0], self._echo("uvloop"), ours[1]])
        return groups

    def _insert(self, loop: str) -> Contestant:
        house = self.stage.signed
        setting = self._setting("gateway", loop, "insert", environment=house.environment)
        return Contestant(_on(_INSERT, loop), setting, house.processes)

    def _signed_get(self) -> Contestant:
        house = self.stage.signed
        setting = self._setting("gateway", "asyncio", "get", environment=house.environment)
        return Contestant(_SIGNED_GET, setting, house.processes)

    def _unsigned_get(self, loop: str) -> Contestant:
        house = self.stage.unsigned
        setting = self._setting("gateway", loop, "get", environment=house.environment)
        return Contestant(_on(_GET, loop), setting, house.processes)

    def _echo(self, loop: str) -> Contestant:
        echo = self.stage.echo
        payload = sealed_insert(self.stage.signed.house, self.size).hex()
        setting = self._setting("echo", loop, "echo", url=echo.url, payload=payload)
        return Contestant(_on(_ECHO, loop), setting, lambda: echo.processes(loop))

    def _peer(self, operation: str, peer: PeerOnStage, note: str = "") -> Contestant:
        """The peer's load runs on the quicker kind of loop."""
        setting = self._setting("peer", LOOPS[-1], operation, port=peer.port, token=peer.token)
        return Contestant(f"peer {operation}{note}", setting, peer.processes)

    def _setting(self, kind: str, loop: str, operation: str, **more: Any) -> dict[str, Any]:
        return more | {
            "kind": kind,
            "loop": loop,
            "operation": operation,
            "size": self.size,
            "in_flight": self.in_flight,
            "documents": self.documents,
        }


def goals(loops: Sequence[str] = LOOPS) -> list[Goal]:
    """What is compared with what; the comparison with the echo is on the same kind of loop."""
    echoes = [
        Goal(_on(ours, loop), _on(_ECHO, loop), "throughput", wanted)
        for loop in loops
        for ours, wanted in ((_INSERT, 0.25), (_GET, 0.3))
    ]
    return [
        *echoes,
        Goal(_SIGNED_GET, _ECHO, "throughput", None),
        *_against("peer insert", _INSERT, promised=True),
        *_against("peer get", _GET, promised=True),
        *_against("peer get", _SIGNED_GET, promised=False),
        *_against("peer insert" + _REMEMBERED, _INSERT, promised=False),
        *_against("peer get" + _REMEMBERED, _GET, promised=False),
    ]


def _against(peer: str, ours: str, *, promised: bool) -> list[Goal]:
    wanted = (2.0, 0.5) if promised else (None, None)
    return [Goal(ours, peer, "throughput", wanted[0]), Goal(ours, peer, "p99_ms", wanted[1])]


def _on(name: str, loop: str) -> str:
    return name if loop == "asyncio" else f"{name} ({loop})"
