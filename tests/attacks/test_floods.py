"""One principal takes as much as it can; everybody else is still served."""

from __future__ import annotations

import asyncio
import time
from statistics import median
from typing import Any

import pytest

from mallku_broker.headers import decode_headers
from mallku_broker.streams import AUDIT
from tests.attacks.arena import Arena, Attacker
from tests.attacks.cast import BYSTANDER, IN_FLIGHT, REFUSALS_RECORDED_PER_MINUTE, SCRATCH
from tests.integration.world import exchange, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

LANES = 6 * IN_FLIGHT
"""Commands that the flooder has under way; with two workers three times what its role allows."""

AT_ONCE = 4_000
"""Commands that are sent without waiting for an answer; two workers have 2,048 slots."""

SEARCHED = 200
"""Documents that a search goes through."""

LONG_TEXTS, DEPTH, CHARACTERS = 12, 16, 100_000
"""Documents with one long text each, levels around it, and how long it is, characters."""

SHORT_BUDGET_MS = 400
"""How long the flooder waits for a search over them."""

LATE = frozenset({"deadline_exceeded", "unavailable"})
"""What is told of a command whose caller's time was used up in the store."""

MUCH_LONGER_S = 2.0
"""How much longer a bystander's slowest command may take than alone, on a crowded machine."""

AMONG_QUERIES_S = 4.0
"""The same where two threads of each worker are at work on a flooder's queries all the time."""


Asked = tuple[str, dict[str, Any], str | None]
"""Operation, arguments and collection of a command."""

COUNT: Asked = ("count", {}, SCRATCH)
QUERY: Asked = ("aql", {"query": "RETURN 1"}, None)


async def _latencies(arena: Arena, commands: int, asked: Asked = COUNT) -> list[float]:
    """How long a bystander's commands take, one after the other; each of them succeeds."""
    caller, took = arena.world.caller(BYSTANDER), list[float]()
    for _ in range(commands):
        begun = time.monotonic()
        answer = await exchange(arena.bystander, caller.seal(*asked))
        took.append(time.monotonic() - begun)
        assert answer.result is not None
    return took


ENDLESS = "FOR a IN 1..1000000000 FILTER a < 0 RETURN a"
FLOOD_BUDGET_MS = 3_000
"""How long the flooder waits for one command: queries take all of it."""

FLOODS: dict[str, tuple[Asked, Asked]] = {
    "of reads": (COUNT, COUNT),
    "of writes": (("insert", {"document": {"text": "x" * 1_000}}, SCRATCH), COUNT),
    "of searches": (("find", {"filters": {"text": "none"}}, SCRATCH), COUNT),
    "of queries": (("aql", {"query": ENDLESS}, None), QUERY),
    "of refusals": (("get", {"nonsense": 1}, SCRATCH), COUNT),
}
"""What the flooder sends, and what a bystander wants meanwhile."""


@pytest.mark.parametrize("flood", FLOODS)
async def test_one_principal_floods_all_slots(arena: Arena, flooder: Attacker, flood: str) -> None:
    """Hundreds of its commands at once: a bystander is never turned away, and waits little longer.

    The flooder is told `busy` or `rate_limited` for what is too much, and when to come back.
    """
    await arena.operator.collection(SCRATCH).truncate()
    await arena.operator.collection(SCRATCH).insert_many([{"text": "x" * 100}] * SEARCHED)
    flooding, wanted = FLOODS[flood]
    alone = await _latencies(arena, 20, wanted)
    codes, stopping = set[str](), False

    async def lane() -> None:
        while not stopping:
            sent = flooder.caller.seal(*flooding, budget=FLOOD_BUDGET_MS)
            answer = await exchange(flooder.connection, sent)
            if "error" in answer.body:
                codes.add(answer.error.code)
                if answer.error.code in ("busy", "rate_limited"):
                    assert answer.error.retry_after

    lanes = [asyncio.create_task(lane()) for _ in range(LANES)]
    try:
        crowded = await _latencies(arena, 20, wanted)
    finally:
        stopping = True
        await asyncio.gather(*lanes)
    longer_s = AMONG_QUERIES_S if flood == "of queries" else MUCH_LONGER_S
    assert max(crowded) < median(alone) + longer_s
    late = LATE if flood == "of queries" else frozenset[str]()
    assert codes <= {"busy", "rate_limited", "invalid_arguments"} | late
    assert "busy" in codes or flood == "of refusals"  # which takes no slot for long


LONG_SEARCHES: dict[str, dict[str, Any]] = {
    "sorted": {
        "sort": [{"sort_by": ".".join(["x"] * depth)} for depth in range(1, DEPTH + 1)],
        "limit": 1,
    },
    "filtered": {"filters": {"x": {"y": 1}}},
}


@pytest.mark.parametrize("search", LONG_SEARCHES)
async def test_searches_over_long_texts_flood_a_store(
    arena: Arena, flooder: Attacker, search: str
) -> None:
    """A text of which it is slow to say where it is sorted, again and again, in every document.

    A search ends with its caller's time, so that others' searches are still answered.
    """
    nested: Any = "é" * CHARACTERS
    for _ in range(DEPTH):
        nested = {"x": nested}
    for _ in range(LONG_TEXTS):
        sent = flooder.caller.seal("insert", {"document": nested}, SCRATCH)
        await exchange(flooder.connection, sent)
    stopping, codes = False, set[str]()

    async def lane() -> None:
        while not stopping:
            arguments = LONG_SEARCHES[search]
            sent = flooder.caller.seal("find", arguments, SCRATCH, budget=SHORT_BUDGET_MS)
            answer = await exchange(flooder.connection, sent)
            codes.add(answer.error.code if "error" in answer.body else "")

    lanes = [asyncio.create_task(lane()) for _ in range(4)]
    try:
        crowded = await _latencies(arena, 5)
    finally:
        stopping = True
        await asyncio.gather(*lanes)
        await arena.operator.collection(SCRATCH).truncate()
    assert max(crowded) < MUCH_LONGER_S
    assert codes & LATE  # whichever of store and worker came to say so first


async def test_one_without_limits_floods_all_slots(arena: Arena) -> None:
    """What its role does not bound the worker does: nobody holds more slots than are free."""
    codes: list[str] = []
    async with arena.greedy() as greedy:

        def listen(_subject: str, _reply: str, _body: bytes, header: bytes | None) -> None:
            text = decode_headers(header).get("Nats-Service-Error", "")
            codes.append(text.partition(":")[0])

        await greedy.connection.listen(greedy.inbox(), listen)
        sent = [greedy.caller.seal("count", {}, SCRATCH) for _ in range(AT_ONCE)]
        for one in sent:
            greedy.connection.post(str(one.subject), one.data, reply=greedy.inbox())
        await greedy.connection.flush()
        took = await _latencies(arena, 20)
        await until("an answer to each", lambda: len(codes) == AT_ONCE)
    assert max(took) < MUCH_LONGER_S
    assert set(codes) == {"", "busy"}


async def test_junk_floods_workers_and_trail(arena: Arena, flooder: Attacker) -> None:
    """Thousands of refusals a second: summed up in the trail, and commands are still answered."""
    _, before = await arena.stream(AUDIT)
    for _ in range(3_000):
        flooder.connection.post(flooder.subject("count"), b"junk", reply=flooder.inbox())
    await flooder.connection.flush()
    took = await _latencies(arena, 20)
    assert max(took) < MUCH_LONGER_S
    _, after = await arena.stream(AUDIT)
    assert after - before < 2 * REFUSALS_RECORDED_PER_MINUTE + 4 * len(took) + 100


async def test_messages_without_a_reply_flood_the_workers(arena: Arena, flooder: Attacker) -> None:
    """What asks for no answer costs a worker no more than a look, and is summed up all the same."""
    _, before = await arena.stream(AUDIT)
    sent = flooder.caller.seal("count", {}, SCRATCH)
    for _ in range(3_000):
        flooder.connection.post(str(sent.subject), sent.data)
    await flooder.connection.flush()
    assert max(await _latencies(arena, 20)) < MUCH_LONGER_S
    _, after = await arena.stream(AUDIT)
    assert after - before < 2 * REFUSALS_RECORDED_PER_MINUTE + 200


async def test_a_client_never_reads_its_replies(arena: Arena) -> None:
    """Large replies to somebody who takes none hold up nobody else."""
    async with arena.flooder() as flooder:
        body = {"document": {"_key": flooder.principal, "text": "x" * 500_000}}
        await exchange(flooder.connection, flooder.caller.seal("insert", body, SCRATCH))
        for _ in range(60):
            asked = flooder.caller.seal("get", {"document": flooder.principal}, SCRATCH)
            flooder.connection.post(str(asked.subject), asked.data, reply=flooder.inbox())
        await flooder.connection.flush()
        # Nobody subscribes to the inbox; the server drops what comes there.
        assert max(await _latencies(arena, 20)) < MUCH_LONGER_S
