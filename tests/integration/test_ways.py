"""One command's way, found on the trail and drawn."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from itertools import pairwise

import pytest
import pytest_asyncio

from mallku_client.trail import AuditReader
from mallku_contracts.errors import ConfigurationError, UniqueViolation
from mallku_contracts.identifiers import uuid7
from mallku_deploy.auditing.hiding import Hiding
from mallku_deploy.ways.drawing import described, draw
from mallku_deploy.ways.finding import find_way
from mallku_deploy.ways.way import Way
from tests.integration.world import World, exchange, running_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "what the voices said"
BEFORE = ["admit", "open", "identify", "replay", "authorize", "throttle", "remember"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[World]:
    """A gateway with a collection."""
    async with running_world(tmp_path_factory.mktemp("ways") / "house", 2) as running:
        async with running.client("operator") as operator:
            await operator.create_collection("khipu")
        yield running


async def _find(world: World, wanted: str, principal: str | None = None) -> Way:
    async with await AuditReader.connect(settings=world.client_settings("auditor")) as reader:
        return await find_way(reader, wanted, Hiding(None), principal=principal)


def _drawn(way: Way, width: int = 100) -> str:
    return "\n".join(line.plain for line in draw(way, width))


async def test_a_commands_way_is_told_by_its_id(world: World) -> None:
    """Signed, received, every step with its time, intent and outcome with their places."""
    async with world.client() as client:
        answer = await client.command("insert", "khipu", {"document": {"_key": "a", "t": SECRET}})
    way = await _find(world, answer.id)
    assert way.is_over
    [attempt] = way.attempts
    assert [each.record.kind for each in attempt.records] == ["intent", "done"]
    assert attempt.signed_ms is not None
    assert attempt.arrived_ms is not None
    assert 0 <= attempt.arrived_ms - attempt.signed_ms + 1 < 1_000
    steps = attempt.steps()
    assert [step.name for step in steps] == [*BEFORE, "intend", "execute"]
    assert all(one.begin_us + one.took_us == other.begin_us for one, other in pairwise(steps))
    drawn = _drawn(way)
    for shown in ("insert khipu/a", "by mallku", answer.id, "service/documents", "1 document"):
        assert shown in drawn
    assert SECRET not in drawn
    assert max(map(len, drawn.splitlines())) <= 100


async def test_the_attempts_of_a_command_are_shown_together(world: World) -> None:
    """Whichever of them is asked for; the later one was answered from the ledger's memory."""
    caller = world.caller()
    first = caller.seal("insert", {"document": {"_key": "b"}}, "khipu")
    again = caller.seal(
        "insert", {"document": {"_key": "b"}}, "khipu", attempt=2, idem=first.header.idem
    )
    async with world.connection() as connection:
        await exchange(connection, first)
        await exchange(connection, again)
    for asked in (first, again):
        way = await _find(world, asked.header.id)
        assert [attempt.id for attempt in way.attempts] == [first.header.id, again.header.id]
        drawn = _drawn(way)
        assert "attempt 1" in drawn
        assert "attempt 2" in drawn
        assert f"answered from {first.header.id}" in drawn


async def test_other_commands_with_the_same_words_stay_out(world: World) -> None:
    """An id that stands in another command's document makes it no part of this one's way."""
    async with world.client() as client:
        answer = await client.command("insert", "khipu", {"document": {"_key": "c"}})
        await client.command("insert", "khipu", {"document": {"about": answer.id}})
    way = await _find(world, answer.id)
    assert [attempt.id for attempt in way.attempts] == [answer.id]


async def test_somebody_elses_command_with_the_same_id_is_told_apart(world: World) -> None:
    """Ids are callers' to choose; with the principal's name only their own is shown."""
    mine, theirs = world.caller(), world.caller("operator")
    first = theirs.seal("count", {}, "khipu")
    second = mine.seal("count", {}, "khipu", id=first.header.id)
    for name, sent in (("operator", first), ("mallku", second)):
        async with world.connection(name) as connection:
            await exchange(connection, sent)
        way = await _find(world, first.header.id, name)
        [attempt] = way.attempts
        assert {each.record.principal for each in attempt.records} == {name}


async def test_a_failure_and_a_refusal_have_their_ways(world: World) -> None:
    """Refused before the intent there is one record, and the steps until then."""
    async with world.client() as client:
        with pytest.raises(UniqueViolation):
            await client.command("insert", "khipu", {"document": {"_key": "a"}})
    caller = world.caller("mallory")
    refused = caller.seal("get", {"document": 7}, "fc_x")
    async with world.connection("mallory") as connection:
        answer = await exchange(connection, refused)
    assert answer.error is not None
    way = await _find(world, refused.header.id)
    [attempt] = way.attempts
    assert [each.record.kind for each in attempt.records] == ["denied"]
    assert [step.name for step in attempt.steps()] == BEFORE[:4]
    assert answer.error.code in _drawn(way)
    assert described(way)["attempts"][0]["records"][0]["code"] == answer.error.code


@pytest.mark.parametrize("wanted", ["", "x", "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"])
async def test_what_is_no_id_is_not_looked_for(world: World, wanted: str) -> None:
    """It says what an id is."""
    with pytest.raises(ConfigurationError, match="version 7"):
        await _find(world, wanted)


async def test_what_is_not_on_the_trail_is_said(world: World) -> None:
    """An id that nobody used; the reasons there can be are named."""
    with pytest.raises(ConfigurationError, match="knows nothing"):
        await _find(world, uuid7(1_790_000_000_000))
