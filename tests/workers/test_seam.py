"""Where one stream of the trail ends and another begins, nothing is executed twice, or blindly."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from mallku_broker.ranges import StreamState
from mallku_broker.streams import generation
from mallku_contracts.errors import AuditUnavailable, MallkuError, Replayed
from mallku_workers.audit import seam as seams
from mallku_workers.audit.numbers import Numbers
from mallku_workers.audit.seam import WINDOW_MS, Seam
from mallku_workers.audit.writer import AuditWriter
from mallku_workers.message import unix_ms
from tests.support.simulated_trail import Fate, SimulatedTrail
from tests.workers.test_record_settling import LIMITS, case_of

CREATED_MS = 1_760_000_000_000


@dataclass
class Gate:
    """Stands for the seam: lets through for a stream, or refuses."""

    stream: str = generation(1)
    refusal: MallkuError | None = None
    looks: int = 0

    def pass_on(self, _name: str) -> str:
        """Let through, or raise."""
        if self.refusal is not None:
            raise self.refusal
        return self.stream

    def look(self) -> None:
        """Count that somebody should look."""
        self.looks += 1


def _writer(trail: SimulatedTrail, gate: Gate) -> tuple[AuditWriter, Numbers]:
    numbers = Numbers()
    writer: Any = AuditWriter
    return writer(trail, "w1", LIMITS, unix_ms, numbers, seam=gate), numbers


async def test_an_intent_that_another_stream_took_is_not_executed() -> None:
    """It was let through by what the former had seen; in the new one it may be a replay."""
    trail, gate = SimulatedTrail(generation(2)), Gate()
    audit, numbers = _writer(trail, gate)
    case = case_of()
    with pytest.raises(AuditUnavailable):
        await audit.intent(case)
    assert not case.intended
    assert trail.kinds() == ["intent"]
    covered = numbers.next()
    assert covered is not None
    assert covered.void == (1,)


@pytest.mark.parametrize("refusal", [Replayed("seen"), AuditUnavailable("not known yet")])
async def test_an_intent_that_is_not_let_through_is_not_published(refusal: MallkuError) -> None:
    """Its number is void, and nothing of it stands."""
    trail = SimulatedTrail()
    audit, numbers = _writer(trail, Gate(refusal=refusal))
    case = case_of()
    with pytest.raises(type(refusal)):
        await audit.intent(case)
    assert trail.tries == []
    assert not case.intended
    assert not case.announced
    covered = numbers.next()
    assert covered is not None
    assert covered.void == (1,)


async def test_a_record_that_does_not_get_there_has_the_streams_looked_at() -> None:
    """At once, and not a second later."""
    trail, gate = SimulatedTrail(), Gate()
    trail.fate = lambda _record: Fate.UNSENT
    audit, _ = _writer(trail, gate)
    with pytest.raises(AuditUnavailable):
        await audit.intent(case_of())
    assert gate.looks == 1


@dataclass
class Streams:
    """The trail's streams as the server has them, and what they have seen."""

    count: int = 1
    now_ms: int = CREATED_MS
    seen: set[str] | None = field(default_factory=set[str])
    expected: list[str] = field(default_factory=list[str])
    reads: int = 0

    def expect(self, stream: str) -> None:
        """Which stream has to store records now."""
        self.expected.append(stream)

    async def generations(self, _connection: object) -> list[StreamState]:
        """So many, all sealed but the last."""
        created = datetime.fromtimestamp(CREATED_MS / 1_000, UTC).isoformat()
        return [
            StreamState(generation(n), created, 1, 1, n, n, 0, sealed=n < self.count)
            for n in range(1, self.count + 1)
        ]

    async def read(self, _since_ms: int) -> set[int] | None:
        """What was seen; None for too much."""
        self.reads += 1
        return None if self.seen is None else {hash(name) for name in self.seen}


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Streams:
    """One stream, which has seen nothing."""
    made = Streams()
    monkeypatch.setattr(seams, "generations", made.generations)
    monkeypatch.setattr(Seam, "_read", lambda _seam, since_ms: made.read(since_ms))
    return made


def _seam(streams: Streams) -> Seam:
    known: Any = streams
    return Seam(known, known, lambda: streams.now_ms)


async def test_one_stream_costs_nothing(streams: Streams) -> None:
    """Whoever never rotated reads nothing again, and remembers nothing."""
    seam = _seam(streams)
    await seam.begin()
    assert seam.pass_on("i.p.x") == generation(1)
    assert streams.reads == 0


async def test_what_the_former_stream_saw_is_refused_for_as_long_as_it_can_come(
    streams: Streams,
) -> None:
    """And nothing else is; afterwards it is too old for every worker, and forgotten."""
    streams.count, streams.seen = 2, {"i.p.x"}
    seam = _seam(streams)
    await seam.begin()
    assert streams.expected == [generation(2)]
    assert seam.pass_on("i.p.y") == generation(2)
    streams.now_ms += WINDOW_MS
    with pytest.raises(Replayed):
        seam.pass_on("i.p.x")
    streams.now_ms += WINDOW_MS
    assert seam.pass_on("i.p.x") == generation(2)


async def test_with_too_much_to_remember_nothing_is_executed(streams: Streams) -> None:
    """Until none of it can be sent again; and it is read once."""
    streams.count, streams.seen = 2, None
    seam = _seam(streams)
    await seam.begin()
    for _ in range(3):
        with pytest.raises(AuditUnavailable):
            seam.pass_on("i.p.y")
    assert streams.reads == 1
    streams.now_ms += 2 * WINDOW_MS
    assert seam.pass_on("i.p.y") == generation(2)


async def test_a_stream_that_is_old_enough_remembers_by_itself(streams: Streams) -> None:
    """A worker that starts an hour after a rotation reads nothing of the stream before."""
    streams.count, streams.now_ms = 3, CREATED_MS + 3_600_000
    seam = _seam(streams)
    await seam.begin()
    assert seam.pass_on("i.p.x") == generation(3)
    assert streams.reads == 0
