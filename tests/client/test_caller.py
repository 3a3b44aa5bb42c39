from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from mallku_client import MemoryTransport, SecuredDatabaseInterface
from mallku_client.caller import GATEWAY_TIME
from mallku_client.clock import Clock
from mallku_client.transport import NotDelivered
from mallku_contracts.errors import (
    Busy,
    ClientClosed,
    DeadlineExceeded,
    GatewayUnreachable,
    InternalError,
    MallkuError,
    MessageTooLarge,
    OutcomeUnknown,
    PermissionDenied,
    StaleCommand,
    TokenExpired,
)
from mallku_contracts.limits import MAX_COMMAND_BYTES
from mallku_contracts.tokens import COMMAND_AUDIENCE, REPLY_AUDIENCE
from tests.client.world import MemoryGateway, Opened, Step, World


async def _busy(gateway: MemoryGateway, command: Opened) -> bytes | None:
    return gateway.reply(command, {"error": Busy("full", retry_after=0.01).to_wire()})


async def _denied(gateway: MemoryGateway, command: Opened) -> bytes | None:
    return gateway.reply(command, {"error": PermissionDenied("no rule").to_wire()})


async def _internal(gateway: MemoryGateway, command: Opened) -> bytes | None:
    return gateway.reply(command, {"error": InternalError("oops", correlation="c1").to_wire()})


async def _silence(gateway: MemoryGateway, command: Opened) -> bytes | None:
    return None


async def _done_but_silent(gateway: MemoryGateway, command: Opened) -> bytes | None:
    gateway.execute(command)
    return None


async def test_a_retry_is_signed_anew_with_the_same_key_and_body(
    world: World, db: SecuredDatabaseInterface
) -> None:
    """New id and attempt number; the idempotency key, the first id, and the body's bytes stay."""
    world.gateway.script = [_busy, _busy]
    await db.collection("anchors").insert({"a": 1})
    seen = world.gateway.seen
    assert [command.header.attempt for command in seen] == [1, 2, 3]
    assert len({command.header.id for command in seen}) == 3
    assert {command.header.idem for command in seen} == {seen[0].header.id}
    assert len({command.raw_body for command in seen}) == 1


async def test_the_deadline_travels(world: World, db: SecuredDatabaseInterface) -> None:
    """The command says how long this attempt is waited for, and is not valid for longer."""
    await db.collection("anchors").get("a", timeout=5)
    header = world.gateway.seen[0].header
    assert header.budget == header.exp - header.iat
    assert 1_400 < header.budget <= 1_500
    assert abs(header.iat - time.time() * 1000) < 1_000


async def test_a_lost_read_is_repeated(world: World, db: SecuredDatabaseInterface) -> None:
    """Silence costs the attempt's share of the time, then the next attempt is answered."""
    world.gateway.script = [_silence]
    assert await db.collection("anchors").get("a", timeout=0.5) is None
    assert len(world.gateway.seen) == 2


async def test_a_read_that_is_never_answered_ends_in_time(
    world: World, db: SecuredDatabaseInterface
) -> None:
    """The caller waits for its timeout and no longer, and is told that time ran out."""
    world.gateway.script = [_silence] * 9
    begin = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"timeout: 0\.3 s"):
        await db.collection("anchors").get("a", timeout=0.3)
    assert time.monotonic() - begin < 5.0


async def test_a_lost_mutation_that_is_refused_later_is_unknown(
    world: World, db: SecuredDatabaseInterface
) -> None:
    """The refusal of the second attempt says nothing about the first; it is the cause."""
    world.gateway.script = [_done_but_silent, _denied]
    with pytest.raises(OutcomeUnknown) as caught:
        await db.collection("anchors").insert({"_key": "a"}, timeout=0.5)
    assert isinstance(caught.value.__cause__, PermissionDenied)
    assert caught.value.details["idempotency_key"] == world.gateway.seen[0].header.id


async def test_an_internal_error_of_a_mutation_is_unknown(
    world: World, db: SecuredDatabaseInterface
) -> None:
    """Nobody knows how far it came; the correlation id for the worker's log is kept."""
    world.gateway.script = [_internal]
    with pytest.raises(OutcomeUnknown) as caught:
        await db.collection("anchors").insert({})
    assert caught.value.correlation == "c1"
    assert len(world.gateway.seen) == 1


async def test_a_cancelled_call_sends_nothing_more(
    world: World, db: SecuredDatabaseInterface
) -> None:
    """Cancelling the caller's task ends the call at once, whatever it waits for."""
    arrived = asyncio.Event()

    async def silence(gateway: MemoryGateway, command: Opened) -> bytes | None:
        arrived.set()
        return None

    world.gateway.script = [silence]
    task = asyncio.create_task(db.collection("anchors").insert({}))
    async with asyncio.timeout(5):
        await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(world.gateway.seen) == 1


async def test_a_newer_token_is_fetched_when_the_gateway_wants_one(
    world: World, db: SecuredDatabaseInterface
) -> None:
    """`token_expired` makes the client look into the file, and repeat once with what is new."""
    fresh = world.keys.token(world.keys.client, audience=COMMAND_AUDIENCE, life_s=7_200)

    async def expired(gateway: MemoryGateway, command: Opened) -> bytes | None:
        world.write_token(fresh)
        return gateway.reply(command, {"error": TokenExpired("over").to_wire()})

    world.gateway.script = [expired]
    await db.collection("anchors").insert({})
    first, second = world.gateway.seen
    assert first.header.ath != second.header.ath


async def test_an_expired_token_without_a_newer_one_is_final(
    world: World, db: SecuredDatabaseInterface
) -> None:
    """The same token again would be refused again: one attempt."""

    async def expired(gateway: MemoryGateway, command: Opened) -> bytes | None:
        return gateway.reply(command, {"error": TokenExpired("over").to_wire()})

    world.gateway.script = [expired]
    with pytest.raises(TokenExpired):
        await db.collection("anchors").insert({})
    assert len(world.gateway.seen) == 1


async def test_a_broken_token_file_says_nothing_of_a_lost_mutation(
    world: World, db: SecuredDatabaseInterface
) -> None:
    """Looking for a newer token is no answer: after silence the fate stays unknown."""

    async def expired(gateway: MemoryGateway, command: Opened) -> bytes | None:
        world.write_token("no token")
        return gateway.reply(command, {"error": TokenExpired("over").to_wire()})

    world.gateway.script = [_done_but_silent, expired]
    with pytest.raises(OutcomeUnknown) as caught:
        await db.collection("anchors").insert({"_key": "a"}, timeout=0.5)
    assert isinstance(caught.value.__cause__, TokenExpired)


async def test_closing_ends_a_call_that_waits_for_its_retry(
    world: World, db: SecuredDatabaseInterface
) -> None:
    """It is told at once, not when it would have been tried again."""
    arrived = asyncio.Event()

    async def later(gateway: MemoryGateway, command: Opened) -> bytes | None:
        arrived.set()
        return gateway.reply(command, {"error": Busy("full", retry_after=50).to_wire()})

    world.gateway.script = [later]
    task = asyncio.create_task(db.collection("anchors").insert({}, timeout=59))
    async with asyncio.timeout(10):
        await arrived.wait()
        await db.close()
        with pytest.raises(ClientClosed):
            await task


async def _nobody(_subject: str, _payload: bytes) -> bytes | None:
    raise NotDelivered("nobody there")


@pytest.mark.parametrize("error", [MessageTooLarge, TokenExpired])
async def test_what_never_left_says_nothing_of_the_gateway(
    world: World, error: type[MallkuError]
) -> None:
    """A gateway that is left alone stays so while calls fail on this machine."""
    world.write_token(world.keys.token(world.keys.client, audience=COMMAND_AUDIENCE, life_s=300))
    transport = MemoryTransport(_nobody)
    db = await SecuredDatabaseInterface.connect(settings=world.settings, transport=transport)
    anchors, caller = db.collection("anchors"), db._commands._caller
    for _ in range(2):
        with pytest.raises(GatewayUnreachable):
            await anchors.get("a")
    assert caller._breaker.is_open
    if error is TokenExpired:
        caller.signer._clock.offset_ms = 400_000
    with pytest.raises(error):
        await anchors.insert({"text": "x" * MAX_COMMAND_BYTES})
    assert caller._breaker.is_open


def _stale_for(ahead_ms: int, token: str | None = None) -> Step:
    async def stale(gateway: MemoryGateway, command: Opened) -> bytes | None:
        now = int(time.time() * 1000) + ahead_ms
        changes: dict[str, Any] = {"time": now}
        if token is not None:
            changes["token"] = token
        return gateway.reply(command, {"error": StaleCommand("old").to_wire()}, **changes)

    return stale


async def test_the_clock_is_corrected_by_a_signed_time(
    world: World, db: SecuredDatabaseInterface
) -> None:
    """A command that came too late by our clock is repeated by the gateway's."""
    world.gateway.script = [_stale_for(120_000)]
    await db.collection("anchors").insert({})
    first, second = world.gateway.seen
    assert 119_000 < second.header.iat - first.header.iat < 125_000


async def test_a_clock_is_not_corrected_without_a_signature(world: World) -> None:
    """An unsigned refusal of a read moves nothing, whatever time it claims."""

    async def unsigned(gateway: MemoryGateway, command: Opened) -> bytes | None:
        wire = StaleCommand("old", details={GATEWAY_TIME: 0}).to_wire()
        return gateway.reply(command, {"error": wire}, signed=False, time=0)

    world.gateway.script = [unsigned]
    async with await world.connect(require_signed_reads=False) as db:
        with pytest.raises(StaleCommand) as caught:
            await db.collection("anchors").get("a")
        assert GATEWAY_TIME not in caught.value.details
        await db.collection("anchors").get("a")
    assert abs(world.gateway.seen[-1].header.iat - time.time() * 1000) < 1_000


async def test_a_worker_from_our_future_may_only_correct_the_clock(
    world: World, db: SecuredDatabaseInterface
) -> None:
    """Its token is not valid yet by our clock: no other word of it is believed."""
    token = world.keys.token(
        world.keys.worker, audience=REPLY_AUDIENCE, issued_at=time.time() + 120
    )

    async def ordinary(gateway: MemoryGateway, command: Opened) -> bytes | None:
        return gateway.reply(command, {"result": {"_key": "x"}}, token=token)

    world.gateway.script = [ordinary] * 9
    with pytest.raises(OutcomeUnknown, match="not valid at this machine's time"):
        await db.collection("anchors").insert({}, timeout=1)
    world.gateway.script = [_stale_for(120_000, token), ordinary]
    assert await db.collection("anchors").insert({}) == {"_key": "x"}


def test_a_clock_moves_within_its_bounds() -> None:
    """Ten minutes at most from this machine's own clock, and not for less than a second."""
    clock = Clock(lambda: 1_000.0)
    assert not clock.correct(1_000_500)
    assert clock.correct(1_000_000 + 600_000)
    assert clock.now_ms() == 1_600_000
    assert not clock.correct(1_000_000 + 600_001)
    assert not clock.correct(1_600_000)
    assert clock.correct(1_000_000)
    assert clock.now_ms() == 1_000_000
