"""Somebody answers in a worker's place, with what no caller has: a way into the inbox."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mallku_broker.connection import ConnectionSettings, GatewayConnection, connect
from mallku_broker.files import load_signing_key, load_token
from mallku_client.collection import Collection
from mallku_contracts import codec
from mallku_contracts.envelope import (
    Envelope,
    ReplyHeader,
    command_hash,
    seal_reply,
    token_hash,
)
from mallku_contracts.errors import MallkuError, UnverifiedReply
from mallku_contracts.identifiers import uuid7
from mallku_contracts.keys import SigningKey
from mallku_contracts.protected import VERSION
from mallku_contracts.tokens import REPLY_AUDIENCE
from tests.attacks.arena import Arena, Attacker
from tests.attacks.cast import VAULT, VICTIM
from tests.attacks.interfering import Interfered, ask_through
from tests.integration.world import ask
from tests.support.simulated_caller import make_token, now_ms

pytestmark = pytest.mark.asyncio(loop_scope="session")

LIE = {"result": 666}


async def test_a_caller_publishes_into_the_victims_inbox(arena: Arena, attacker: Attacker) -> None:
    """The broker takes nothing from callers for an inbox, be it the victim's or their own."""
    for inbox in (f"_INBOX_mallku.{VICTIM}.known.1", attacker.inbox(), "_INBOX.x"):
        await attacker.refused_to_publish(inbox, b"reply")
    await arena.told(attacker.principal, Counter())


@dataclasses.dataclass(frozen=True)
class Forger:
    """Somebody with a worker's NATS credentials, which open inboxes, and what they sign with."""

    key: SigningKey
    token: bytes

    def reply(self, subject: str, payload: bytes, body: object = LIE, **changes: Any) -> bytes:
        """A reply to this command, signed with what the forger has."""
        asked = Envelope.split(payload)
        fields: dict[str, Any] = {
            "v": VERSION,
            "kid": self.key.kid,
            "id": codec.unpack(asked.protected, allow_bytes=True)["id"],
            "cmd": command_hash(subject, asked.protected, asked.body),
            "time": now_ms(),
            "worker": "rogue",
            "ath": token_hash(self.token),
        }
        header = ReplyHeader(**(fields | changes))
        return seal_reply(header, codec.pack(body), self.key, self.token)


async def _rogue(arena: Arena) -> GatewayConnection:
    """A connection with a worker's credentials for the bus: the one way into an inbox."""
    files = arena.world.furnished.workers[0]
    settings = ConnectionSettings(url=arena.world.gateway.url, credentials=files.bus)
    return await connect(settings, name="rogue", inbox_prefix="_INBOX_mallku_worker.rogue")


Forge = Callable[[Arena, Attacker, str, bytes], bytes]
STRANGER = SigningKey(b"s" * 32)


def _unsigned(_arena: Arena, attacker: Attacker, subject: str, payload: bytes) -> bytes:
    forger = Forger(attacker.caller.key, b"")
    signed = Envelope.split(forger.reply(subject, payload))
    return dataclasses.replace(signed, signature=b"").join()


def _with_own_token(_arena: Arena, attacker: Attacker, subject: str, payload: bytes) -> bytes:
    return Forger(attacker.caller.key, attacker.caller.token).reply(subject, payload)


def _by_a_stranger(_arena: Arena, _attacker: Attacker, subject: str, payload: bytes) -> bytes:
    token = make_token(
        STRANGER,
        principal="worker-1",
        audience=REPLY_AUDIENCE,
        issuer="mallku-local",
        issuer_key=STRANGER,
    )
    return Forger(STRANGER, token).reply(subject, payload)


def _with_a_workers_token(arena: Arena, attacker: Attacker, subject: str, payload: bytes) -> bytes:
    token = load_token(arena.world.furnished.workers[0].token).encode()
    return Forger(attacker.caller.key, token).reply(subject, payload)


def _under_a_workers_key_id(
    arena: Arena, attacker: Attacker, subject: str, payload: bytes
) -> bytes:
    files = arena.world.furnished.workers[0]
    forger = Forger(attacker.caller.key, load_token(files.token).encode())
    return forger.reply(subject, payload, kid=load_signing_key(files.key).kid)


FORGERIES: dict[str, Forge] = {
    "unsigned": _unsigned,
    "with the forger's own key and token": _with_own_token,
    "by another issuer": _by_a_stranger,
    "with a worker's token and another key": _with_a_workers_token,
    "under a worker's key id": _under_a_workers_key_id,
}

Call = Callable[[Collection], Awaitable[Any]]
CALLS: dict[str, Call] = {
    "a read": lambda vault: vault.count(),
    "a write": lambda vault: vault.update_match({"_key": "none"}, {"hit": True}),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_reply_is_spoofed(
    arena: Arena, attacker: Attacker, forgery: str, call: str
) -> None:
    """A client as it comes believes a reply for a worker's signature alone, of reads as of writes.

    Even if somebody found a way into its inbox and came first.
    """
    with pytest.raises(MallkuError) as refusal:
        await _answered(
            arena,
            lambda subject, payload: FORGERIES[forgery](arena, attacker, subject, payload),
            CALLS[call],
        )
    assert UnverifiedReply in {type(refusal.value), type(refusal.value.__cause__)}


async def _answered(arena: Arena, forge: Callable[[str, bytes], bytes], call: Call) -> Any:
    """What the victim's client makes of one call while a forged reply comes first."""
    rogue = await _rogue(arena)

    async def interfere(subject: str, payload: bytes, inbox: str) -> None:
        rogue.post(inbox, forge(subject, payload))
        await rogue.flush()

    try:
        async with arena.victim() as victim:
            return await ask_through(arena, Interfered(victim.connection, interfere), call)
    finally:
        await rogue.close()


async def test_the_spoofer_would_be_believed_with_a_workers_key(arena: Arena) -> None:
    """The forgeries above fail for what they lack: with key and token of a worker one is believed.

    That is what a compromised worker can do, and why its keys are not for others.
    """
    files = arena.world.furnished.workers[0]
    worker = Forger(load_signing_key(files.key), load_token(files.token).encode())
    assert await _answered(arena, worker.reply, CALLS["a read"]) == 666


async def test_a_reply_is_moved_to_another_question(arena: Arena, victim: Attacker) -> None:
    """A worker's true and signed reply answers the command that it was made for, and no other."""
    sent = victim.caller.seal("count", {}, VAULT)
    genuine = (await ask(victim.connection, sent)).data
    with pytest.raises(UnverifiedReply, match="another command"):
        await _answered(arena, lambda _subject, _payload: genuine, CALLS["a read"])


async def test_a_moved_reply_is_made_to_fit(arena: Arena, victim: Attacker) -> None:
    """Another hash or id in a worker's signed reply, or another body: the signature breaks."""
    sent = victim.caller.seal("count", {}, VAULT)
    genuine = Envelope.split((await ask(victim.connection, sent)).data)
    header = ReplyHeader.read(genuine.protected)

    def fitted(subject: str, payload: bytes) -> bytes:
        asked = Envelope.split(payload)
        cmd = command_hash(subject, asked.protected, asked.body)
        moved = dataclasses.replace(header, cmd=cmd, id=uuid7(now_ms()))
        return dataclasses.replace(genuine, protected=moved.pack()).join()

    with pytest.raises(UnverifiedReply, match="signature does not hold"):
        await _answered(arena, fitted, CALLS["a read"])


async def test_a_refusal_is_spoofed_to_have_a_write_repeated(
    arena: Arena, attacker: Attacker
) -> None:
    """A forged "nothing was done" is no answer: the client does not know what became of it."""
    refusal = {"error": {"code": "busy", "number": 104, "message": "later", "retryable": True}}
    forger = Forger(attacker.caller.key, attacker.caller.token)
    with pytest.raises(MallkuError) as caught:
        await _answered(
            arena,
            lambda subject, payload: forger.reply(subject, payload, refusal),
            CALLS["a write"],
        )
    assert caught.value.code in {"unverified_reply", "outcome_unknown"}
