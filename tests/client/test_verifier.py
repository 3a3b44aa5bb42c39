from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mallku_broker.trust import TrustFile
from mallku_client.clock import Clock
from mallku_client.verifier import MAX_REMEMBERED_TOKENS, Verifier
from mallku_contracts import codec
from mallku_contracts.envelope import Envelope
from mallku_contracts.errors import OutcomeUnknown, UnverifiedReply
from mallku_contracts.keys import SigningKey
from mallku_contracts.tokens import COMMAND_AUDIENCE, REPLY_AUDIENCE
from mallku_contracts.trust import Trust
from tests.client.world import ISSUER, Keys, MemoryGateway, Opened, World

OTHER = SigningKey(b"o" * 32)
RESULT = {"result": {"_key": "forged"}}
Bend = Callable[[Keys], dict[str, Any]]

BENT: dict[str, Bend] = {
    "unsigned": lambda _: {"signed": False},
    "for another command": lambda _: {"cmd": b"x" * 32},
    "signed by a key the token does not name": lambda _: {"key": OTHER},
    "with a token for callers": lambda keys: {
        "token": keys.token(keys.worker, audience=COMMAND_AUDIENCE)
    },
    "with a caller's own key and token": lambda keys: {
        "token": keys.token(keys.client, audience=COMMAND_AUDIENCE),
        "key": keys.client,
    },
    "with a token of an unknown issuer": lambda keys: {
        "token": keys.token(keys.worker, audience=REPLY_AUDIENCE, issuer_key=OTHER)
    },
    "with a token that is over": lambda keys: {
        "token": keys.token(
            keys.worker, audience=REPLY_AUDIENCE, issued_at=time.time() - 9_000, life_s=60
        )
    },
    "with no token": lambda _: {"token": ""},
    "with a token that is none": lambda _: {"token": "a.b.c"},
}


@pytest.mark.parametrize("how", BENT)
async def test_a_mutation_believes_no_bent_reply(world: World, how: str) -> None:
    """A reply that is not exactly right is no answer: the fate is unknown, whatever it says."""
    changes = BENT[how](world.keys)

    async def bent(gateway: MemoryGateway, command: Opened) -> bytes | None:
        return gateway.reply(command, RESULT, **changes)

    world.gateway.script = [bent] * 9
    async with await world.connect(max_attempts=2) as db:
        with pytest.raises(OutcomeUnknown) as caught:
            await db.collection("anchors").insert({})
    assert isinstance(caught.value.__cause__, UnverifiedReply)
    assert len(world.gateway.seen) == 2


@pytest.mark.parametrize("how", [how for how in BENT if how != "unsigned"])
async def test_a_read_believes_no_bent_signature(world: World, how: str) -> None:
    """A read may come without a signature, never with a wrong one; it is not asked again."""
    changes = BENT[how](world.keys)

    async def bent(gateway: MemoryGateway, command: Opened) -> bytes | None:
        return gateway.reply(command, RESULT, **changes)

    world.gateway.script = [bent]
    async with await world.connect() as db:
        with pytest.raises(UnverifiedReply):
            await db.collection("anchors").get("a")
    assert len(world.gateway.seen) == 1


@pytest.mark.parametrize("required", [False, True])
async def test_unsigned_reads_are_a_setting(world: World, required: bool) -> None:
    """An unsigned reply to a read is believed unless `require_signed_reads` is set."""

    async def unsigned(gateway: MemoryGateway, command: Opened) -> bytes | None:
        return gateway.reply(command, {"result": {"_key": "a"}}, signed=False)

    world.gateway.script = [unsigned]
    async with await world.connect(require_signed_reads=required) as db:
        if required:
            with pytest.raises(UnverifiedReply, match="not signed"):
                await db.collection("anchors").get("a")
        else:
            assert await db.collection("anchors").get("a") == {"_key": "a"}


async def test_every_flipped_byte_is_refused(world: World) -> None:
    """Change any one byte of a signed reply: no result comes out of it."""
    opened: list[Opened] = []

    async def keep(gateway: MemoryGateway, command: Opened) -> bytes | None:
        opened.append(command)
        return gateway.execute(command)

    world.gateway.script = [keep]
    async with await world.connect() as db:
        await db.collection("anchors").insert({"a": 1})
    good = world.gateway.reply(opened[0], RESULT)
    verifier = _verifier(world)
    verifier.open(good, expected_command=opened[0].hash, mutates=True)
    for place in range(len(good)):
        bent = bytearray(good)
        bent[place] ^= 1
        with pytest.raises(UnverifiedReply):
            verifier.open(bytes(bent), expected_command=opened[0].hash, mutates=True)


@pytest.mark.parametrize(
    "body",
    [b"", b"\xc1", codec.pack([]), codec.pack({}), codec.pack({"receipt": 1}), b"\x81"],
)
async def test_a_signed_body_of_another_shape_is_no_answer(world: World, body: bytes) -> None:
    """Bytes that hold neither a result nor an error leave the fate of a mutation unknown."""

    async def odd(gateway: MemoryGateway, command: Opened) -> bytes | None:
        return gateway.reply(command, body)

    world.gateway.script = [odd]
    async with await world.connect(max_attempts=1) as db:
        with pytest.raises(OutcomeUnknown, match="body"):
            await db.collection("anchors").insert({})


def _verifier(
    world: World,
    monotonic_s: Callable[[], float] = time.monotonic,
    complain: Callable[[str], None] | None = None,
) -> Verifier:
    trust_file = world.settings.trust_file
    assert trust_file is not None
    complain = pytest.fail if complain is None else complain
    trust = TrustFile(trust_file, complain, monotonic_s=monotonic_s)
    return Verifier(trust, Clock(), require_signed_reads=False)


class _Replies:
    """Signed replies to one command that was never sent."""

    def __init__(self, world: World) -> None:
        self.world = world
        subject: Any = None
        header: Any = SimpleNamespace(id="01a2098d-6ed9-7fd0-874a-9ae54837e8ff")
        self.command = Opened(subject, header, {}, b"", b"c" * 32)

    def make(self, **changes: Any) -> bytes:
        """One of them."""
        return self.world.gateway.reply(self.command, RESULT, **changes)


def test_a_changed_trust_file_is_read_again(world: World, tmp_path: Path) -> None:
    """An issuer that is taken out is not believed any more, though its token was remembered."""
    now = 0.0
    verifier, replies = _verifier(world, lambda: now), _Replies(world)
    verifier.open(replies.make(), expected_command=b"c" * 32, mutates=True)
    (tmp_path / "trust").write_text(Trust.of(ISSUER, OTHER.public).to_json())
    os.utime(tmp_path / "trust", (1, 1))
    verifier.open(replies.make(), expected_command=b"c" * 32, mutates=True)
    now = 1.5
    with pytest.raises(UnverifiedReply):
        verifier.open(replies.make(), expected_command=b"c" * 32, mutates=True)
    token = world.keys.token(world.keys.worker, audience=REPLY_AUDIENCE, issuer_key=OTHER)
    verifier.open(replies.make(token=token), expected_command=b"c" * 32, mutates=True)


@pytest.mark.parametrize("text", [None, "{}", "not json"])
def test_a_spoilt_trust_file_changes_nothing(
    world: World, tmp_path: Path, text: str | None
) -> None:
    """When the file goes away or breaks, that is told once by its name; trust stays as it was."""
    now = 0.0
    told: list[str] = []
    verifier, replies = _verifier(world, lambda: now, told.append), _Replies(world)
    if text is None:
        (tmp_path / "trust").unlink()
    else:
        (tmp_path / "trust").write_text(text)
    for _ in range(3):
        now += 1.5
        verifier.open(replies.make(), expected_command=b"c" * 32, mutates=True)
    assert len(told) == 1
    assert told[0].startswith(f"trust file {tmp_path / 'trust'}")
    stranger = world.keys.token(world.keys.worker, audience=REPLY_AUDIENCE, issuer_key=OTHER)
    with pytest.raises(UnverifiedReply):
        verifier.open(replies.make(token=stranger), expected_command=b"c" * 32, mutates=True)


def test_remembered_tokens_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many workers' tokens push out the oldest; a remembered one is not verified again."""
    verifier, replies = _verifier(world), _Replies(world)
    verified = 0
    plain = Verifier._verify_token

    def counted(self: Verifier, token: bytes, now_ms: int) -> Any:
        nonlocal verified
        verified += 1
        return plain(self, token, now_ms)

    monkeypatch.setattr(Verifier, "_verify_token", counted)
    for _ in range(3):
        verifier.open(replies.make(), expected_command=b"c" * 32, mutates=True)
    assert verified == 1
    for n in range(MAX_REMEMBERED_TOKENS + 1):
        token = world.keys.token(world.keys.worker, audience=REPLY_AUDIENCE, principal=f"w{n}")
        verifier.open(replies.make(token=token), expected_command=b"c" * 32, mutates=True)
    assert len(verifier._workers) == MAX_REMEMBERED_TOKENS
    assert Envelope.split(replies.make()).token not in verifier._workers
