"""Queries through a real gateway: streamed, cut off, refused, recorded, repeated."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest
import pytest_asyncio

from mallku_broker.connection import GatewayConnection
from mallku_client import Answer, QueryCursor, SecuredDatabaseInterface
from mallku_contracts.errors import CursorLost, InvalidQuery, PermissionDenied
from mallku_contracts.limits import MIB
from tests.integration.world import POLICY, World, exchange, running_world
from tests.support.simulated_caller import SimulatedCaller

pytestmark = pytest.mark.asyncio(loop_scope="session")

STREAMED_ROWS = 200_000
STREAMED = f"FOR i IN 1..{STREAMED_ROWS} RETURN {{i, text: @text}}"
TEXT = "x" * 200
MOST_GROWTH_BYTES = 48 * MIB
"""What a process may grow by while rows of altogether some 50 MB pass through it, bytes."""

APPROVED = "FOR a IN khipu_blocks FILTER a.owner == @me RETURN a.text"
GOVERNED = (
    POLICY.replace(
        "principals:",
        "  asker:\n    rules: [{id: ask, collections: ['@'], operations: [aql, next]}]\n"
        "principals:",
    ).replace("  mallory:", "  asker: {roles: [asker]}\n  mallory:")
    + f"queries:\n  mine: {{text: '{APPROVED}', roles: [asker], set: {{me: $principal}}}}\n"
)


@pytest_asyncio.fixture(scope="module", autouse=True, loop_scope="session")
async def collections(world: World) -> None:
    """What these tests write to, and no others count."""
    async with world.client() as client:
        for name in ("asked_notes", "asked_anchors"):
            await client.create_collection(name)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def governed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A gateway where somebody may run approved queries alone."""
    async with running_world(tmp_path_factory.mktemp("house"), policy=GOVERNED) as world:
        async with world.client() as client:
            blocks = await client.create_collection("khipu_blocks")
            await blocks.insert_many([{"owner": "asker", "text": "a"}, {"owner": "x", "text": "b"}])
        yield world


def resident_bytes(*pids: int) -> int:
    """What these processes hold in memory."""
    return sum(int(psutil.Process(pid).memory_info().rss) for pid in pids)


async def test_many_rows_stream_through_in_bounded_memory(
    world: World, client: SecuredDatabaseInterface
) -> None:
    """Every row once and in order, and neither workers nor client keep what has passed."""
    workers = list(world.workers.values())
    async for _ in await client.aql.execute("FOR i IN 1..20000 RETURN {i}"):
        pass  # whatever the first query loads is there now
    before, own = resident_bytes(*workers), resident_bytes(psutil.Process().pid)
    expected = 0
    async with await client.aql.execute(
        STREAMED, bind_vars={"text": TEXT}, batch_size=2_000
    ) as cursor:
        async for row in cursor:
            expected += 1
            assert row["i"] == expected
    assert expected == STREAMED_ROWS
    assert resident_bytes(*workers) - before < MOST_GROWTH_BYTES
    assert resident_bytes(psutil.Process().pid) - own < MOST_GROWTH_BYTES


async def read_until_lost(cursor: QueryCursor, rows: list[int]) -> None:
    """Read on."""
    async for row in cursor:
        rows.append(row)  # noqa: PERF401 - it ends with an error, and the rows are looked at


async def test_the_cursor_of_a_dead_worker_is_lost(own_world: World) -> None:
    """`CursorLost`, never a wrong row and never one twice; the query can be asked again."""
    async with own_world.client() as client:
        cursor = await client.aql.execute("FOR i IN 1..5000 RETURN i", batch_size=10)
        rows = [await cursor.next() for _ in range(25)]
        pids = [await own_world.kill(place, signal.SIGKILL) for place in own_world.workers]
        with pytest.raises(CursorLost) as lost:
            await read_until_lost(cursor, rows)
        assert lost.value.retryable
        assert rows == list(range(1, len(rows) + 1))
        assert len(rows) < 5_000
        for pid in pids:
            await own_world.replaced(pid)
        with pytest.raises(CursorLost):
            await cursor.next()
        again = await client.aql.execute("FOR i IN 1..5000 RETURN i", batch_size=1_000)
        assert await again.all() == list(range(1, 5_001))


async def test_pages_come_from_the_worker_that_holds_them(
    raw: GatewayConnection, caller: SimulatedCaller
) -> None:
    """Twelve cursors over two workers, read in turns: each page from its own worker."""
    text = "FOR i IN 1..30 RETURN i + @offset"
    firsts = []
    for n in range(12):
        asked = {"query": text, "bind_vars": {"offset": n * 100}, "batch_size": 10}
        firsts.append(await exchange(raw, caller.seal("aql", asked, None)))
    for page in (2, 2, 3):
        for n, first in enumerate(firsts):
            cursor = first.result["cursor"]
            answer = await exchange(raw, caller.ask_page(cursor, page))
            assert answer.reply.header.worker == cursor["worker"]
            begin = n * 100 + (page - 1) * 10
            assert answer.result["result"] == list(range(begin + 1, begin + 11))


async def test_a_cursor_is_given_back_early(client: SecuredDatabaseInterface) -> None:
    """So that the next one finds room, however many were begun and not read to their end."""
    for _ in range(150):
        async with await client.aql.execute("FOR i IN 1..100 RETURN i", batch_size=1) as cursor:
            assert await cursor.next() == 1


async def test_approved_queries_alone(governed: World) -> None:
    """Who may run those gets their rows, and for any other text the reason."""
    async with governed.client("asker") as client:
        assert await (await client.aql.execute(APPROVED)).all() == ["a"]
        for text in ("FOR a IN khipu_blocks RETURN a", APPROVED + " ", "RETURN 1"):
            with pytest.raises(PermissionDenied, match="approved queries alone"):
                await client.aql.execute(text)
        with pytest.raises(PermissionDenied):
            await client.collection("khipu_blocks").count()


async def test_a_refused_query_says_why(client: SecuredDatabaseInterface, world: World) -> None:
    """A reserved name, a function that reads past the policy, a text that is no query."""
    with pytest.raises(InvalidQuery) as wrong:
        await client.aql.execute("FOR a IN memory_anchors\n FILTER a. RETURN a")
    assert (wrong.value.error_code, wrong.value.details["line"]) == (1501, 2)
    with pytest.raises(PermissionDenied, match="DOCUMENT"):
        await client.aql.execute("RETURN DOCUMENT('memory_anchors/a')")
    async with world.client("mallory") as stranger:
        with pytest.raises(PermissionDenied):
            await stranger.aql.execute("RETURN 1")


async def test_queries_are_on_the_trail(
    world: World, raw: GatewayConnection, caller: SimulatedCaller
) -> None:
    """Each query and each page has its intent and its outcome; a change has its documents."""
    reading = caller.seal("aql", {"query": "FOR i IN 1..3 RETURN i", "batch_size": 2}, None)
    first = await exchange(raw, reading)
    page = caller.ask_page(first.result["cursor"], 2)
    assert (await exchange(raw, page)).result == {"result": [3], "more": False}
    changing = caller.seal("aql", {"query": "INSERT {_key: 'trail'} INTO asked_notes"}, None)
    changed = await exchange(raw, changing)
    trail = await world.trail()
    for sent in (reading, page, changing):
        kinds = sorted(one.kind for one in trail.records if one.id == sent.header.id)
        assert kinds == ["done", "intent"]
    [done] = [one for one in trail.records if one.id == changing.header.id and one.kind == "done"]
    assert [effect["key"] for effect in done.effects or ()] == ["trail"]
    assert trail.hashes[changed.body["receipt"]["sequence"]] == changed.body["receipt"]["hash"]


async def test_a_retried_query_changes_once(
    raw: GatewayConnection, caller: SimulatedCaller
) -> None:
    """Signed anew and sent many times, to both workers: one change, one answer."""
    await exchange(raw, caller.seal("insert", {"document": {"_key": "turn"}}, "asked_notes"))
    text = "UPDATE 'turn' WITH {n: @n} IN asked_notes RETURN [OLD.n, NEW.n]"
    sent = caller.seal("aql", {"query": text, "bind_vars": {"n": 1}}, None)
    first = await exchange(raw, sent)
    assert first.result["result"] == [[None, 1]]
    for attempt in (1, 2, 2, 3, 4):
        answer = await exchange(raw, caller.again(sent, attempt=attempt))
        assert answer.body["replayed"]
        assert answer.result == first.result


async def test_transactions_and_graphs(client: SecuredDatabaseInterface, world: World) -> None:
    """All or none through the whole gateway; a graph needs whoever may make its collections."""
    answers: list[Answer] = []
    async with client.transaction(on_answer=answers.append) as tx:
        made = tx.collection("asked_notes").insert({"_key": "tx"})
        tx.collection("asked_anchors").insert({"_key": "tx", "block": "asked_notes/tx"})
    meta: Any = made.result()
    assert meta["_key"] == "tx"
    assert answers[0].receipt is not None
    async with world.client("operator") as operator:
        definition: Any = {
            "edge_collection": "walks",
            "from_vertex_collections": ["asked_notes"],
            "to_vertex_collections": ["asked_anchors"],
        }
        await operator.create_graph("ways", [definition])
        assert await operator.has_graph("ways")
        edge = {"_from": "asked_notes/tx", "_to": "asked_anchors/tx"}
        await operator.collection("walks").insert(edge)
        walked = "FOR v IN 1..1 OUTBOUND 'asked_notes/tx' GRAPH 'ways' RETURN v._key"
        assert await (await operator.aql.execute(walked)).all() == ["tx"]
        assert await operator.delete_graph("ways")
    with pytest.raises(PermissionDenied):
        await client.create_graph("mine")
