from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from mallku_contracts import codec
from mallku_contracts.envelope import Envelope, Reply
from mallku_contracts.keys import SigningKey
from mallku_contracts.limits import MAX_COMMAND_BYTES
from mallku_contracts.tokens import REPLY_AUDIENCE
from tests.support.simulated_caller import (
    ISSUER_KEY,
    SimulatedCaller,
    make_token,
    now_ms,
    read_answer,
)
from tests.workers.world import Worker, message_of

INSERT = {"document": {"_key": "k1"}}
MINUTE_MS = 60_000

FOREIGN = [
    "",
    "$JS.API.STREAM.DELETE.MALLKU_AUDIT",
    "$KV.mallku_policy.current",
    "mallku.v1.audit.other.mallku.a.get.done",
    "_INBOX_mallku.other.box.1",
    "_INBOX_mallku.mallku",
    "_INBOX_mallku.mallku.",
    "_INBOX_mallku.mallku.>",
    "_INBOX_mallku.mallku.*",
    "_INBOX_mallku.mallku.a..b",
    "_INBOX_mallku.mallku.a b",
    "_INBOX_mallku.mallku.a\r\nPUB x 0\r\n",
    "_INBOX_mallku.mallku.box.1\n",
    "_INBOX_mallku.mallku.b\ufffdx",
    "_INBOX.mallku.box.1",
]


@pytest.mark.parametrize("reply", FOREIGN)
async def test_a_reply_that_is_asked_for_elsewhere(
    worker: Worker, caller: SimulatedCaller, reply: str
) -> None:
    """Nothing is published anywhere, nothing is executed, and the refusal is recorded."""
    await worker.pipeline.handle(message_of(caller.seal("insert", INSERT), reply=reply))
    assert worker.bus.posts == []
    assert worker.store.works == []
    assert [record.code for record in worker.trail.records()] == ["foreign_reply_inbox"]


SUBJECTS = [
    ("", 0),
    ("mallku.v1.cmd", 0),
    ("mallku.v1.cmd..mallku.memory_anchors.insert", 0),
    ("mallku.v1.cmd.*.mallku.memory_anchors.insert", 0),
    ("mallku.v1.cmd.mall\ufffdku.mallku.memory_anchors.insert", 0),
    ("mallku.v1.cmd.other.mallku.mem*.insert", 0),
    ("mallku.v1.cmd.mallku.mallku.memory_anchors", 1),
    ("mallku.v1.cmd.mallku.mallku.memory_anchors.insert.more", 1),
    ("mallku.v1.cmd.mallku.mallku.memory anchors.insert", 1),
    ("mallku.v1.cmd.mallku.mallku.*.insert", 1),
    ("mallku.v1.cmd.mallku.mallku.>.insert", 1),
    ("mallku.v1.cmd.mallku.mallku..insert", 1),
    ("mallku.v1.cmd.mallku.mallku.b\ufffd\ufffd.insert", 1),
    (f"mallku.v1.cmd.mallku.mallku.{'a' * 65}.insert", 1),
]


@pytest.mark.parametrize(("subject", "replies"), SUBJECTS)
async def test_a_subject_outside_the_grammar(
    worker: Worker, caller: SimulatedCaller, subject: str, replies: int
) -> None:
    """Recorded, and answered where the subject still names whose inbox it is, nowhere else."""
    await worker.pipeline.handle(message_of(caller.seal("insert", INSERT), subject=subject))
    codes = [post.headers["Nats-Service-Error-Code"] for post in worker.bus.posts]
    assert codes == ["102"] * replies
    assert worker.store.works == []
    (record,) = worker.trail.records()
    assert (record.code, record.subject) == ("invalid_subject", subject)


@pytest.mark.parametrize(
    ("subject", "code"),
    [
        ("mallku.v1.cmd.mallku.mallku.khipu_blocks.insert", "subject_mismatch"),
        ("mallku.v1.cmd.mallku.elsewhere.memory_anchors.insert", "subject_mismatch"),
        ("mallku.v1.cmd.mallku.mallku.memory_anchors.get", "subject_mismatch"),
        ("mallku.v1.job.mallku.mallku.memory_anchors.insert", "subject_mismatch"),
        ("mallku.v1.cmd.mallku.mallku.memory_anchors.explode", "invalid_subject"),
        ("mallku.v1.cmd.mallku.mallku.@.insert", "invalid_subject"),
        ("mallku.v1.cmd.mallku.mallku.memory_anchors.list-collections", "invalid_subject"),
    ],
)
async def test_a_command_that_is_aimed_elsewhere(
    worker: Worker, caller: SimulatedCaller, subject: str, code: str
) -> None:
    """The signed bytes hold for the subject they were signed for, and for no other."""
    sent = caller.seal("insert", INSERT)
    await worker.pipeline.handle(message_of(sent, subject=subject))
    (post,) = worker.bus.posts
    assert post.headers["Nats-Service-Error"].startswith(f"{code}: ")
    assert worker.store.works == []


async def test_somebody_elses_subject(worker: Worker, caller: SimulatedCaller) -> None:
    """A command cannot speak for another principal, even with that one's inbox."""
    sent = caller.seal("insert", INSERT)
    subject = str(replace(sent.subject, principal="other"))
    await worker.pipeline.handle(
        message_of(sent, subject=subject, reply="_INBOX_mallku.other.box.1")
    )
    assert worker.bus.posts[0].headers["Nats-Service-Error"].startswith("subject_mismatch: ")
    other = SimulatedCaller.of("other", "service")
    stolen = other.seal("insert", INSERT, token=caller.token, key=caller.key)
    assert (await worker.take(stolen)).error.code == "principal_mismatch"
    assert worker.store.works == []


async def test_every_byte_flipped_in_turn_is_refused(
    worker: Worker, caller: SimulatedCaller
) -> None:
    """Whichever byte of an envelope is changed: refused with a code, and nothing is executed."""
    sent = caller.seal("insert", INSERT)
    codes: set[str] = set()
    for place in range(len(sent.data)):
        for bit in (0x01, 0x80):
            data = bytearray(sent.data)
            data[place] ^= bit
            await worker.pipeline.handle(message_of(sent, data=bytes(data)))
            text = worker.bus.posts[-1].headers["Nats-Service-Error"]
            codes.add(text.partition(":")[0])
    assert len(worker.bus.posts) == 2 * len(sent.data)
    assert worker.store.works == []
    assert "intent" not in worker.trail.tries
    assert "internal" not in codes
    assert {"malformed_envelope", "invalid_token", "invalid_signature"} <= codes


async def test_every_cut_is_refused(worker: Worker, caller: SimulatedCaller) -> None:
    """An envelope that ends early, or goes on, is refused."""
    sent = caller.seal("insert", INSERT)
    cuts = [sent.data[:end] for end in range(0, len(sent.data), 7)]
    for data in (*cuts, sent.data + b"\x00", sent.data * 2):
        await worker.pipeline.handle(message_of(sent, data=data))
        assert worker.bus.posts[-1].headers["Nats-Service-Error-Code"] == "201"
    assert worker.store.works == []


async def test_a_command_that_is_too_large(worker: Worker, caller: SimulatedCaller) -> None:
    """One byte above the limit is `message_too_large`, whatever is in it."""
    sent = caller.seal("insert", INSERT)
    for data in (b"\x00" * (MAX_COMMAND_BYTES + 1), sent.data.ljust(MAX_COMMAND_BYTES + 1)):
        await worker.pipeline.handle(message_of(sent, data=data))
        assert worker.bus.posts[-1].headers["Nats-Service-Error-Code"] == "101"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"iat": -2 * MINUTE_MS, "exp": -MINUTE_MS}, "stale_command"),
        ({"iat": MINUTE_MS, "exp": 2 * MINUTE_MS}, "command_from_future"),
        ({"exp": 2 * MINUTE_MS}, "malformed_envelope"),
        ({"iat": 0, "exp": 0}, "malformed_envelope"),
        ({"budget": 0}, "malformed_envelope"),
        ({"budget": MINUTE_MS + 1}, "malformed_envelope"),
        ({"attempt": 0}, "malformed_envelope"),
        ({"v": 2}, "unsupported_version"),
        ({"v": True}, "unsupported_version"),
        ({"idem": ""}, "malformed_envelope"),
        ({"reply": "_INBOX_mallku.other"}, "subject_mismatch"),
        ({"kid": SigningKey(b"x" * 32).kid}, "invalid_signature"),
        ({"ath": b"\x00" * 32}, "invalid_token"),
        ({"op": "get"}, "subject_mismatch"),
    ],
)
async def test_a_header_that_does_not_hold(
    worker: Worker, caller: SimulatedCaller, changes: dict[str, Any], code: str
) -> None:
    """Signed or not: what the protected part says has to be true; times are from now on."""
    times = {name: now_ms() + changes[name] for name in ("iat", "exp") if name in changes}
    await worker.take_raw(caller.seal("insert", INSERT, **(changes | times)))
    assert worker.bus.posts[-1].headers["Nats-Service-Error"].startswith(f"{code}: ")
    assert worker.store.works == []


STRANGER = SigningKey(b"s" * 32)


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (make_token(STRANGER, principal="mallku", issuer_key=STRANGER), "invalid_token"),
        (make_token(STRANGER, principal="mallku", issuer="https://else.test"), "invalid_token"),
        (make_token(STRANGER, principal="mallku", audience=REPLY_AUDIENCE), "invalid_token"),
        (make_token(STRANGER, principal="other"), "principal_mismatch"),
        (make_token(ISSUER_KEY, principal="mallku"), "invalid_signature"),
        (
            make_token(STRANGER, principal="mallku", issued_s=time.time() - 7200),
            "token_expired",
        ),
        (make_token(STRANGER, principal="mallku", issued_s=time.time() + 86_400), "token_expired"),
        (b"a.b." + b"A" * 86, "invalid_token"),
        (b"", "invalid_token"),
    ],
)
async def test_a_token_that_does_not_hold(worker: Worker, token: bytes, code: str) -> None:
    """Whoever gave it, for whatever, to whomever: the code says what is wrong."""
    sent = SimulatedCaller("mallku", STRANGER, token or b"").seal("insert", INSERT)
    data = Envelope(sent.envelope.protected, sent.body, sent.envelope.signature, token).join()
    await worker.pipeline.handle(message_of(sent, data=data))
    assert worker.bus.posts[-1].headers["Nats-Service-Error"].startswith(f"{code}: ")
    assert worker.store.works == []


async def test_a_stolen_token_is_useless_without_its_key(
    worker: Worker, caller: SimulatedCaller
) -> None:
    """Signed with another key, under the name of the right one: the signature does not hold."""
    sent = caller.seal("insert", INSERT, key=STRANGER, kid=caller.key.kid)
    assert (await worker.take(sent)).error.code == "invalid_signature"


async def test_unsigned(worker: Worker, caller: SimulatedCaller) -> None:
    """No signature is no command."""
    sent = caller.seal("insert", INSERT)
    data = replace(sent.envelope, signature=b"").join()
    answer = read_answer(await worker.take_raw(sent, data=data), sent)
    assert answer.error.code == "invalid_signature"


BODIES = [
    b"",
    b"\xc1",
    codec.pack_trusted([1]),
    codec.pack_trusted({"document": float("nan")}),
    codec.pack_trusted({"document": {1: 2}}),
    b"\x82\xa1a\x01\xa1a\x02",
    b"\x81\xa1a\xd4\x01\x00",
    codec.pack_trusted({"document": b"bytes"}),
    b"\x81\xa8document" + b"\x81\xa1a" * 70 + b"\x01",
    b"\x81\xa8document" + b"\xdd\xff\xff\xff\xff" * 8,
    codec.pack_trusted({}) + b"\x00",
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
async def test_a_body_that_is_not_plain(
    worker: Worker, caller: SimulatedCaller, body: bytes
) -> None:
    """Well signed nonsense is refused as `malformed_body`, and names nothing it should not."""
    answer = await worker.take(caller.seal("insert", body))
    assert answer.error.code == "malformed_body"
    assert worker.store.works == []


async def test_a_revoked_principal(worker: Worker) -> None:
    """Its token is good and its signature holds; it is refused all the same."""
    banned = SimulatedCaller.of("banned", "service")
    assert (await worker.take(banned.seal("count", {}))).error.code == "revoked"


async def test_the_answer_to_an_unreadable_command_is_not_signed(
    worker: Worker, caller: SimulatedCaller
) -> None:
    """A worker signs for a command, or not at all: such an answer names none."""
    sent = caller.seal("insert", INSERT)
    await worker.pipeline.handle(message_of(sent, data=b"junk"))
    reply = Reply.open(worker.bus.posts[0].body, expected_command=b"")
    assert not reply.signed
    assert reply.header.id == ""


async def test_errors_cannot_write_headers(worker: Worker, caller: SimulatedCaller) -> None:
    """What a caller puts into a name comes back in a header as one printable line."""
    body = {"document": "k1", "a\r\nNats-Msg-Id: x\u2028\x00é": 1}
    await worker.take_raw(caller.seal("get", body))
    (post,) = worker.bus.posts
    assert set(post.headers) == {"Nats-Service-Error", "Nats-Service-Error-Code"}
    assert post.headers["Nats-Service-Error"].isprintable()
    assert len(post.headers["Nats-Service-Error"]) <= 256


async def test_no_refusal_shows_a_secret(
    worker: Worker, caller: SimulatedCaller, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither replies to refusals nor their records hold the token."""
    sent = caller.seal("insert", INSERT, ath=b"\x00" * 32)
    reply = await worker.take_raw(sent)
    assert caller.token not in reply
    assert all(caller.token not in stored.data for stored in worker.trail.stream)
