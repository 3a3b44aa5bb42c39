from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from mallku_broker.durability import Fill, StreamDurability, StreamState
from mallku_contracts.durability import Durability
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable
from mallku_contracts.subjects import CommandSubject, audit_subject
from mallku_workers.durability import DeclaredDurability, StreamWatch
from tests.workers.world import until

FLUSH = StreamDurability(Durability.FLUSH, "n1 does not sync every write")
FSYNC = StreamDurability(Durability.FSYNC, "its server syncs every write")
ROOM = Fill(10, 100)
DECLARED = DeclaredDurability(FSYNC, Durability.FSYNC)


class Written:
    """Takes records about the gateway."""

    def __init__(self) -> None:
        self.records: list[tuple[str, dict[str, Any]]] = []

    def administrative(self, subject: CommandSubject, kind: str, **fields: Any) -> None:
        """Take one."""
        self.records.append((audit_subject(subject, kind), fields["facts"]))


async def _never() -> StreamState:
    raise AssertionError


def _watch(audit: Written, required: Durability = Durability.MEMORY) -> StreamWatch:
    return StreamWatch(_never, audit, "MALLKU_AUDIT", DECLARED, required)


@pytest.mark.parametrize("stream", list(Durability))
@pytest.mark.parametrize("store", list(Durability))
@pytest.mark.parametrize("wanted", list(Durability))
def test_the_weaker_part_is_declared_and_held_to_what_is_required(
    stream: Durability, store: Durability, wanted: Durability
) -> None:
    """Whichever of the two it is; the complaint names both, and why the stream has its level."""
    declared = DeclaredDurability(StreamDurability(stream, "because"), store)
    assert declared.level == min(stream, store)
    assert declared.in_groups == (stream in {Durability.FSYNC, Durability.QUORUM})
    if min(stream, store) >= wanted:
        declared.require(wanted)
        return
    with pytest.raises(ConfigurationError) as caught:
        declared.require(wanted)
    said = caught.value.message
    assert f"durability {wanted} is required" in said
    assert f"stream has {stream} (because), the store {store}" in said


def test_a_stream_that_fills_is_told_once() -> None:
    """One warning and one record when it crosses four fifths; again only after there was room."""
    audit = Written()
    watch = _watch(audit)
    with capture_logs() as logs:
        for used in (10, 79, 80, 90, 100):
            watch.see(StreamState(FSYNC, Fill(used, 100)))
        watch.see(StreamState(FSYNC, Fill(100, 1_000)))
        watch.see(StreamState(FSYNC, Fill(850, 1_000)))
    facts = [{"advisory": "filling", "stream": "MALLKU_AUDIT"}] * 2
    assert audit.records == [
        ("mallku.v1.audit._gateway.mallku_audit.@.advisory.done", one | more)
        for one, more in zip(
            facts, ({"bytes": 80, "limit": 100}, {"bytes": 850, "limit": 1_000}), strict=True
        )
    ]
    warnings = [log for log in logs if log["event"] == "stream_filling"]
    assert [log["percent"] for log in warnings] == [80, 85]


def test_a_promise_that_is_no_longer_kept_is_told() -> None:
    """The declared durability follows what the server says now."""
    watch = _watch(Written())
    with capture_logs() as logs:
        watch.see(StreamState(FSYNC, ROOM))
        watch.see(StreamState(FLUSH, ROOM))
        watch.see(StreamState(FLUSH, ROOM))
    assert watch.declared == replace(DECLARED, stream=FLUSH)
    assert [(log["former"], log["now"]) for log in logs] == [("fsync", "flush")]


def test_below_what_is_required_nobody_serves() -> None:
    """A server that was restarted without syncing ends a worker that has to promise more."""
    watch = _watch(Written(), Durability.FSYNC)
    watch.see(StreamState(FSYNC, ROOM))
    with pytest.raises(ConfigurationError, match="fsync is required"):
        watch.see(StreamState(FLUSH, ROOM))


def test_a_server_that_is_away_has_not_changed_its_mind() -> None:
    """While one of them does not answer, what it said before holds."""
    watch = _watch(Written(), Durability.FSYNC)
    watch.see(StreamState(FLUSH, ROOM, silent=("n1",)))
    assert watch.declared == DECLARED


async def test_a_silent_broker_does_not_end_the_watch() -> None:
    """It looks again; what it finds then is taken in."""
    answers: list[StreamState | None] = [None, None, StreamState(FSYNC, Fill(99, 100))]
    audit = Written()

    async def read() -> StreamState:
        state = answers.pop(0) if len(answers) > 1 else answers[0]
        if state is None:
            raise GatewayUnreachable("silent")
        return state

    watch = StreamWatch(read, audit, "MALLKU_AUDIT", DECLARED, Durability.MEMORY)
    looking = asyncio.create_task(watch.keep_looking(0.001))
    async with asyncio.timeout(5):
        await until(lambda: bool(audit.records))
    looking.cancel()
    assert len(audit.records) == 1
