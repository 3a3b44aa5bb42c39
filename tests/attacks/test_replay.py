"""A command that somebody captured is sent again."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from dataclasses import replace

import pytest

from mallku_contracts.identifiers import uuid7
from tests.attacks.arena import Arena, Attacker, refused_by_each_worker
from tests.attacks.cast import SCRATCH, SECRET, VAULT
from tests.integration.world import ask, exchange, until
from tests.support.simulated_caller import Sent, SimulatedCaller, now_ms

pytestmark = pytest.mark.asyncio(loop_scope="session")

COMMANDS = [
    ("insert", {"document": {"kind": "captured"}}),
    ("count", {}),
    ("update-match", {"filters": {"kind": "none"}, "body": {"hit": True}}),
]


async def _of_kind(attacker: Attacker, kind: str) -> int:
    asked = attacker.caller.seal("count", {"filters": {"kind": kind}}, SCRATCH)
    count: int = (await exchange(attacker.connection, asked)).result
    return count


@pytest.mark.parametrize(("operation", "arguments"), COMMANDS)
async def test_a_captured_command_is_replayed_to_another_worker(
    arena: Arena, attacker: Attacker, operation: str, arguments: dict[str, object]
) -> None:
    """The same bytes, until both workers have had them: `replayed`, whether it reads or writes."""
    sent = attacker.caller.seal(operation, arguments, SCRATCH)
    await exchange(attacker.connection, sent)
    codes = await refused_by_each_worker(attacker.connection, sent)
    assert set(codes) == {"replayed"}
    told = Counter({"intent": 1, "done": 1, "replayed": codes["replayed"]})
    await arena.told(attacker.principal, told)


async def test_a_captured_command_is_sent_twenty_times_at_once(
    arena: Arena, attacker: Attacker
) -> None:
    """Copies race each other to both workers: one is executed, and all others are refused."""
    for number in range(10):
        body = {"document": {"kind": f"copied-{number}"}}
        sent = attacker.caller.seal("insert", body, SCRATCH)
        copies = [exchange(attacker.connection, sent) for _ in range(20)]
        answers = await asyncio.gather(*copies)
        codes = [answer.error.code for answer in answers if "error" in answer.body]
        assert codes == ["replayed"] * 19
        assert await _of_kind(attacker, f"copied-{number}") == 1


async def test_a_captured_command_is_replayed_to_a_worker_that_remembers_nothing(
    gateway: Arena,
) -> None:
    """Workers are killed and others take their places: the trail remembers for them."""
    async with gateway.attacker() as attacker:
        sent = attacker.caller.seal("insert", {"document": {"kind": "remembered"}}, SCRATCH)
        await exchange(attacker.connection, sent)
        pid = await gateway.world.kill("worker-1", signal.SIGKILL)
        await gateway.world.replaced(pid)
        await until("two workers", lambda: len(gateway.world.workers) == 2)
        codes = await refused_by_each_worker(attacker.connection, sent)
        assert set(codes) == {"replayed"}
        assert await _of_kind(attacker, "remembered") == 1
    await gateway.served()


async def test_a_captured_command_is_replayed_later(arena: Arena, attacker: Attacker) -> None:
    """Once its time and the allowed difference of clocks are over it is `stale_command`."""
    begun = now_ms()
    sent = attacker.caller.seal(
        "insert",
        {"document": {"kind": "late"}},
        SCRATCH,
        iat=begun - 40_000,
        exp=begun - 29_000,
    )
    assert (await exchange(attacker.connection, sent)).result
    await until("the end of its time", lambda: now_ms() > sent.header.exp + 30_000)
    codes = await refused_by_each_worker(attacker.connection, sent)
    assert set(codes) == {"stale_command"}
    assert await _of_kind(attacker, "late") == 1


async def test_a_captured_command_is_replayed_with_the_attackers_reply_subject(
    arena: Arena, attacker: Attacker, victim: Attacker
) -> None:
    """Even over the victim's own connection: it goes unanswered, and the attacker hears nothing.

    Over the attacker's connection the broker does not take it.
    """
    sent = victim.caller.seal("get", {"document": "v0"}, VAULT)
    heard: list[bytes] = []
    await attacker.connection.listen(attacker.inbox(), lambda _s, _r, b, _h: heard.append(b))
    await attacker.connection.flush()
    victim.connection.post(str(sent.subject), sent.data, reply=attacker.inbox())
    await victim.connection.flush()
    await arena.tells(victim.principal, "foreign_reply_inbox", str(sent.subject))
    await attacker.refused_to_publish(str(sent.subject), sent.data, attacker.inbox())
    await arena.served()
    await attacker.connection.flush()
    assert heard == []
    # It was not used up by the attack: the victim is served.
    assert (await exchange(victim.connection, sent)).result["secret"] == SECRET


async def test_a_captured_command_is_replayed_with_another_reply_subject_of_the_victim(
    arena: Arena, victim: Attacker
) -> None:
    """Wherever the answer to a replay is asked for, there is no data in it."""
    sent = victim.caller.seal("get", {"document": "v0"}, VAULT)
    assert (await exchange(victim.connection, sent)).result["secret"] == SECRET
    codes = await refused_by_each_worker(victim.connection, sent)
    assert set(codes) == {"replayed"}


async def test_a_captured_command_is_sent_on_the_attackers_own_subject(
    arena: Arena, attacker: Attacker, victim: Attacker
) -> None:
    """The bytes name whose inbox the reply belongs to: they hold on no one else's subject."""
    sent = victim.caller.seal("get", {"document": "v0"}, SCRATCH)
    subject = attacker.subject("get")
    codes = await refused_by_each_worker(attacker.connection, sent, subject=subject)
    assert set(codes) == {"subject_mismatch"}
    await arena.told(attacker.principal, codes)


@pytest.mark.parametrize(
    ("shift_ms", "code"), [(-120_000, "stale_command"), (120_000, "command_from_future")]
)
async def test_a_command_is_dated_back_or_ahead(
    arena: Arena, attacker: Attacker, shift_ms: int, code: str
) -> None:
    """To be sent when nobody looks: too old and too new are told apart, by a signed answer.

    It says the worker's time, so that a client whose clock is wrong can correct it.
    """
    then = now_ms() + shift_ms
    sent = attacker.caller.seal("count", {}, SCRATCH, iat=then, exp=then + 10_000)
    answer = await exchange(attacker.connection, sent)
    assert answer.reply.signed
    assert answer.error.code == code
    assert abs(answer.reply.header.time - now_ms()) < 5_000
    codes = await refused_by_each_worker(attacker.connection, sent)
    assert set(codes) == {code}


async def test_a_command_lives_too_long(arena: Arena, attacker: Attacker) -> None:
    """One that would outlive the trail's memory of ids is refused, however well it is signed."""
    begun = now_ms()
    for life_ms in (60_001, 10**9, 0, -1):
        sent = attacker.caller.seal("count", {}, SCRATCH, iat=begun, exp=begun + life_ms)
        codes = await refused_by_each_worker(attacker.connection, sent)
        assert set(codes) == {"malformed_envelope"}


async def test_one_id_is_used_for_two_commands(arena: Arena, attacker: Attacker) -> None:
    """Each well signed, the second dated later: the id goes by its own time, and was seen."""
    first = attacker.caller.seal("insert", {"document": {"kind": "first"}}, SCRATCH)
    assert (await exchange(attacker.connection, first)).result
    for off_ms in (-25_000, 25_000):
        second = _under(attacker.caller, first.header.id, now_ms() + off_ms)
        codes = await refused_by_each_worker(attacker.connection, second)
        assert set(codes) == {"replayed"}
    assert await _of_kind(attacker, "second") == 0


@pytest.mark.parametrize(("made_ms", "off_ms"), [(75_000, 25_000), (-95_000, -45_000)])
async def test_an_id_is_dated_back_or_ahead(
    arena: Arena, attacker: Attacker, made_ms: int, off_ms: int
) -> None:
    """To be used again when the trail has forgotten it: judged by the same clock as `iat`."""
    sent = _under(attacker.caller, uuid7(now_ms() + made_ms), now_ms() + off_ms)
    codes = await refused_by_each_worker(attacker.connection, sent)
    assert set(codes) == {"malformed_envelope"}
    assert await _of_kind(attacker, "second") == 0


def _under(caller: SimulatedCaller, command_id: str, iat_ms: int) -> Sent:
    """A command of its own under an id, with `iat` there."""
    return caller.seal(
        "insert",
        {"document": {"kind": "second"}},
        SCRATCH,
        id=command_id,
        idem=uuid7(now_ms()),
        iat=iat_ms,
        exp=iat_ms + 60_000,
    )


async def test_a_retry_is_made_of_a_captured_command(arena: Arena, victim: Attacker) -> None:
    """Who has no key cannot sign a retry: another attempt number breaks the signature."""
    sent = victim.caller.seal("insert", {"document": {"kind": "retried"}}, SCRATCH)
    await exchange(victim.connection, sent)
    forged = _with_attempt(sent, 2)
    reply = await ask(victim.connection, sent, data=forged)
    assert (reply.headers or {})["Nats-Service-Error"].startswith("invalid_signature: ")
    assert await _of_kind(victim, "retried") == 1


def _with_attempt(sent: Sent, attempt: int) -> bytes:
    header = replace(sent.header, attempt=attempt)
    return replace(sent.envelope, protected=header.pack()).join()
