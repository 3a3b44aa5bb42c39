"""Four real workers and one rate for all of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from bisect import bisect_right
from collections.abc import AsyncIterator
from statistics import median

import pytest
import pytest_asyncio
from nats.errors import NoRespondersError

from mallku_broker.connection import GatewayConnection
from mallku_broker.streams import RATES
from mallku_contracts.errors import MallkuError
from mallku_contracts.limits import KIB
from mallku_contracts.policy import Limits
from mallku_deploy.server import connect_as
from mallku_workers.throttle.account import CREDIT_NS, NS, SLACK_NS, command_terms
from tests.integration.world import EVENT_S, LOOK_S, World, exchange, running_world, until
from tests.support.simulated_caller import Answer, SimulatedCaller

pytestmark = pytest.mark.asyncio(loop_scope="session")

WORKERS = 4
RATE, BURST = 100, 10
WINDOW_S = 10.0
BYTES_PER_S = 64 * KIB
PATIENT_S = 3.0

POLICY = f"""
version: 1
roles:
  steady:
    rules: [{{id: all, collections: ["*"], operations: [read, write, create-collection]}}]
    limits: {{rate_per_s: {RATE}, burst: {BURST}}}
  classes:
    rules: [{{id: all, collections: ["*"], operations: [read, write]}}]
    limits:
      rate_per_s: 1000
      burst: 1000
      write: {{rate_per_s: 1, burst: 2, payload_bytes: 4096}}
  wordy:
    rules: [{{id: all, collections: ["*"], operations: [read, write]}}]
    limits: {{bytes_per_s: {BYTES_PER_S}}}
  greedy:
    rules: [{{id: all, collections: ["*"], operations: [read, write]}}]
    limits: {{rate_per_s: 1000000, burst: 1000000, in_flight: 100000}}
  service:
    rules: [{{id: all, collections: ["*"], operations: [read, write, create-collection]}}]
principals:
  mallku: {{roles: [service]}}
  steady: {{roles: [steady]}}
  patient: {{roles: [steady]}}
  survivor: {{roles: [steady]}}
  classes: {{roles: [classes]}}
  wordy: {{roles: [wordy]}}
  greedy: {{roles: [greedy]}}
  junk: {{roles: [greedy]}}
  auditor: {{kind: auditor}}
  administrator: {{kind: administrator}}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def limited(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A gateway with four workers and the policy above."""
    folder = tmp_path_factory.mktemp("limited")
    async with running_world(folder, WORKERS, policy=POLICY) as world:
        async with world.client() as client:
            await client.create_collection("memory_anchors")
        yield world


def _error(answer: Answer) -> MallkuError | None:
    return answer.error if "error" in answer.body else None


async def _flood(
    raw: GatewayConnection, caller: SimulatedCaller, *, seconds: float, lanes: int
) -> tuple[list[float], set[str]]:
    """When commands passed, from so many lanes that never wait; and which workers answered."""
    passed, workers = list[float](), set[str]()
    ends = time.monotonic() + seconds

    async def lane() -> None:
        while time.monotonic() < ends:
            answer = await exchange(raw, caller.seal("count", {}))
            workers.add(answer.reply.header.worker)
            error = _error(answer)
            if error is None:
                passed.append(time.monotonic())
            else:
                assert error.code == "rate_limited"
                await asyncio.sleep(0.01)  # a flood, but not one that starves the machine

    await asyncio.gather(*(lane() for _ in range(lanes)))
    return passed, workers


def _most(passed: list[float]) -> int:
    ends = (bisect_right(passed, begin + WINDOW_S) for begin in passed)
    return max(end - first for first, end in enumerate(ends))


async def test_four_workers_hold_a_principal_to_one_rate(limited: World) -> None:
    """In any 10 s of a flood the burst and at most 10 % above the rate pass, and not much less."""
    async with limited.connection("steady") as raw:
        caller = limited.caller("steady")
        passed, workers = await _flood(raw, caller, seconds=WINDOW_S + 1, lanes=6)
    assert len(workers) == WORKERS
    # A machine that has more to do sends less; in simulated time the rate itself is the bound.
    assert 0.5 * RATE * WINDOW_S <= _most(passed) <= BURST + 1.1 * RATE * WINDOW_S


async def test_who_waits_as_told_passes(limited: World) -> None:
    """After `retry_after` a command passes at any worker.

    Or it waits again, in all no longer than what three other workers had not told anybody yet, and
    how far a counter may lag.
    """
    credit = command_terms(Limits(rate_per_s=RATE, burst=BURST)).credit
    others_s = ((WORKERS - 1) * credit + SLACK_NS) / NS
    async with limited.connection("patient") as raw:
        caller, waits = limited.caller("patient"), 0
        while waits < 8:
            burst = [exchange(raw, caller.seal("count", {})) for _ in range(BURST)]
            errors = [error for answer in await asyncio.gather(*burst) if (error := _error(answer))]
            if not errors:
                continue
            await asyncio.sleep(max(error.retry_after or 0 for error in errors))
            waits, longer_s = waits + 1, 0.0
            while (again := _error(await exchange(raw, caller.seal("count", {})))) is not None:
                longer_s += again.retry_after or others_s
                assert longer_s <= others_s
                await asyncio.sleep(again.retry_after or 0)


async def test_classes_have_limits_of_their_own(limited: World) -> None:
    """Writes are held to theirs on all workers together, and reads go on."""
    async with limited.connection("classes") as raw:
        caller = limited.caller("classes")
        large = caller.seal("insert", {"document": {"text": "x" * 4_096}})
        error = _error(await exchange(raw, large))
        assert error is not None
        assert error.code == "message_too_large"
        writes = [exchange(raw, caller.seal("insert", {"document": {}})) for _ in range(12)]
        codes = [error and error.code for error in map(_error, await asyncio.gather(*writes))]
        assert 2 <= codes.count(None) <= 2 + WORKERS
        assert set(codes) == {None, "rate_limited"}
        reads = [exchange(raw, caller.seal("count", {})) for _ in range(100)]
        assert all(_error(answer) is None for answer in await asyncio.gather(*reads))


async def test_bytes_are_limited_over_all_workers(limited: World) -> None:
    """What is accepted, and what it writes, stays within a second's worth and the rate."""
    async with limited.connection("wordy") as raw:
        caller, accepted, begun = limited.caller("wordy"), 0, time.monotonic()
        refused = None
        while time.monotonic() - begun < PATIENT_S:
            sent = caller.seal("insert", {"document": {"text": "x" * 8 * KIB}})
            error = _error(await exchange(raw, sent))
            if error is None:
                accepted += len(sent.data)
                continue
            refused = error
            assert error.retry_after is not None
            await asyncio.sleep(min(error.retry_after, PATIENT_S))
        took_s = time.monotonic() - begun
    assert refused is not None
    assert refused.code == "rate_limited"
    assert "bytes" in refused.message
    # A document comes in the command, goes out in the outcome's record, and is not replied with.
    allowed = BYTES_PER_S * (1 + took_s + WORKERS * CREDIT_NS / NS + SLACK_NS / NS)
    assert 2 * accepted <= allowed + WORKERS * 20 * KIB
    assert 3 * accepted >= BYTES_PER_S


async def _latencies(world: World, commands: int) -> list[float]:
    """How long a bystander's commands take, one after the other; each of them succeeds."""
    took = []
    async with world.connection("mallku") as raw:
        caller = world.caller("mallku")
        for _ in range(commands):
            sent, begun = caller.seal("count", {}), time.monotonic()
            assert _error(await exchange(raw, sent)) is None
            took.append(time.monotonic() - begun)
    return took


async def test_one_who_takes_every_slot_starves_nobody(limited: World) -> None:
    """Hundreds of commands in flight, with no limit in the policy: a bystander is never `busy`.

    Its commands take their share of the machine longer, and no more than that.
    """
    alone = await _latencies(limited, 20)
    async with limited.connection("greedy") as raw:
        caller, stopping = limited.caller("greedy"), False

        async def lane() -> None:
            while not stopping:
                await exchange(raw, caller.seal("count", {}))

        lanes = [asyncio.create_task(lane()) for _ in range(300)]
        try:
            crowded = await _latencies(limited, 20)
        finally:
            stopping = True
            await asyncio.gather(*lanes)
    assert max(crowded) < median(alone) + 2.0


async def test_junk_is_soon_refused_unseen(limited: World) -> None:
    """A flood of junk: refused early, summed up in the trail, and bystanders are answered."""
    subject = "mallku.v1.cmd.junk.mallku.memory_anchors.count"
    codes: list[str] = []
    async with limited.connection("junk") as raw:

        def listen(_subject: str, _reply: str, _body: bytes, header: bytes | None) -> None:
            codes.append("303" if b"Code: 303" in (header or b"") else "201")

        await raw.listen("_INBOX_mallku.junk.x", listen)
        begun, bursts = time.monotonic(), 0
        while bursts < 3 * WORKERS or ("303" not in codes and bursts < 20 * WORKERS):
            for _ in range(1_000):
                raw.post(subject, b"junk", reply="_INBOX_mallku.junk.x")
            await raw.flush()
            bursts += 1
        assert max(await _latencies(limited, 10)) < 5.0
        await until("an answer to each", lambda: len(codes) == bursts * 1_000)
        looked_at = WORKERS * (1_000 + 200 * (time.monotonic() - begun))
        assert codes.count("201") <= looked_at
        assert "303" in codes
        good = limited.caller("junk").seal("count", {})
        held = _error(await exchange(raw, good))
        while held is not None:
            assert held.code == "rate_limited"
            assert held.retry_after is not None
            await asyncio.sleep(held.retry_after)
            held = _error(await exchange(raw, limited.caller("junk").seal("count", {})))
    trail = await limited.trail()
    mine = [record for record in trail.records if record.principal == "junk"]
    assert len(mine) < WORKERS * 100


async def _counted(world: World) -> int:
    """How often workers have added to counters."""
    connection = await connect_as(world.furnished, "administrator", world.gateway.url)
    try:
        answer = await connection.request(f"$JS.API.STREAM.INFO.{RATES}", b"", timeout=5)
    finally:
        await connection.close()
    return int(json.loads(answer.data)["state"]["last_seq"])


async def _all_serve(world: World) -> None:
    """Wait until every worker has answered a command again."""
    workers = set[str]()
    async with world.connection("mallku") as raw, asyncio.timeout(EVENT_S):
        while len(workers) < WORKERS:
            try:
                answer = await exchange(raw, world.caller("mallku").seal("count", {}))
            except (NoRespondersError, TimeoutError):
                await asyncio.sleep(LOOK_S)
                continue
            if _error(answer) is None:
                workers.add(answer.reply.header.worker)


async def test_the_rate_holds_after_the_broker_died(limited: World) -> None:
    """Kill -9 on nats-server: counters and rates are there again when it is."""
    os.kill(limited.gateway.pids["nats-server"], signal.SIGKILL)
    await until("the broker's end", lambda: "nats-server" not in limited.gateway.pids)
    await until("another broker", lambda: "nats-server" in limited.gateway.pids)
    await _all_serve(limited)
    async with limited.connection("survivor") as raw:
        caller = limited.caller("survivor")
        await _flood(raw, caller, seconds=2.0, lanes=6)
        before = await _counted(limited)
        passed, _ = await _flood(raw, caller, seconds=3.0, lanes=6)
        credit = command_terms(Limits(rate_per_s=RATE, burst=BURST)).credit
        assert await _counted(limited) - before > 10
    assert 1.5 * RATE <= len(passed) <= BURST + 3.3 * RATE + WORKERS * credit * RATE / NS
