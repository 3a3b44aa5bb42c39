"""Bytes that others read: replies at the client, records of the trail, anything for human eyes."""

from __future__ import annotations

import json
from functools import cache
from random import Random
from typing import Any, Final

from mallku_client.clock import Clock
from mallku_client.verifier import Verifier
from mallku_contracts.audit import Record, RecordError
from mallku_contracts.errors import UnverifiedReply
from mallku_contracts.limits import MAX_PAYLOAD_BYTES
from mallku_deploy.decoding.proof import prove
from mallku_deploy.decoding.readable import read_message
from mallku_deploy.decoding.redact import redact
from tests.fuzz.envelopes import message_target
from tests.fuzz.gateway import SUBJECT_END
from tests.fuzz.mutate import mutated
from tests.fuzz.seeds import records, replies
from tests.fuzz.structures import bent, pack
from tests.fuzz.targets import Target
from tests.vectors.world import NOW_S, TRUST

MAX_READING_MS: Final = 2_000.0
"""What reading one message for human eyes, or a record, may cost, milliseconds of CPU time."""


class _Trusting:
    """Stands for a trust file that does not change."""

    trust = TRUST

    def changed(self) -> bool:
        """Never."""
        return False


@cache
def _signed() -> dict[bytes, dict[str, Any]]:
    return {bytes.fromhex(one["message"]): one for one in replies() if one["signed"]}


@cache
def _commands() -> tuple[bytes, ...]:
    return tuple(bytes.fromhex(one["header"]["cmd"]["hex"]) for one in _signed().values())


def reply_target() -> Target:
    """Replies, as a client opens them."""
    return Target(
        "reply", run_reply, make_reply, tuple(_signed()), limit_ms=MAX_READING_MS, weight=0.5
    )


def run_reply(data: bytes) -> None:
    """Nothing is believed but what the worker signed, in answer to its own command."""
    verifier = Verifier(_Trusting(), Clock(lambda: NOW_S), require_signed_reads=True)  # type: ignore[arg-type]
    for command in _commands():
        try:
            verifier.open(data, expected_command=command, mutates=False)
        except UnverifiedReply:
            continue
        header = _signed().get(data, {}).get("header", {})
        assert header, "a reply was believed that nobody signed"
        assert bytes.fromhex(header["cmd"]["hex"]) == command, "an answer to another command"


def make_reply(rng: Random) -> bytes:
    """A signed reply with other bytes."""
    return mutated(rng, rng.choice(tuple(_signed())), rng.choice(tuple(_signed())))


def record_target() -> Target:
    """Audit records."""
    return Target("record", run_record, make_record, records(), limit_ms=MAX_READING_MS, weight=0.3)


def run_record(data: bytes) -> None:
    """Bytes are a record that says the same when it is written again, or they are refused."""
    try:
        record = Record.read(data)
    except RecordError:
        return
    assert Record.read(record.pack()) == record


def make_record(rng: Random) -> bytes:
    """A record bent in its fields or in its bytes."""
    data = rng.choice(records())
    if rng.random() < 0.5:
        return mutated(rng, data, rng.choice(records()))
    record = Record.read(data)
    fields = {name: getattr(record, name) for name in Record.__slots__}
    try:
        return pack(rng, bent(rng, {"v": 1, **fields}))
    except (ValueError, TypeError, OverflowError):
        return b"\xc1"


def readable_target() -> Target:
    """Anything, as `decode` shows it."""
    return Target(
        "readable",
        run_readable,
        make_readable,
        (*records(), *_signed(), b"{}", b"text"),
        limit_ms=MAX_READING_MS,
        weight=0.3,
    )


def run_readable(data: bytes) -> None:
    """Whatever the bytes are, they are described, judged, and can be printed."""
    if len(data) > MAX_PAYLOAD_BYTES:
        return
    message = read_message(data)
    json.dumps(message.content)
    json.dumps(redact(message.content))
    verdict = prove(message, TRUST, None)
    if verdict["verified"] and message.record is None:
        assert data in _signed(), "proven, and signed by nobody"


@cache
def _envelopes() -> tuple[bytes, ...]:
    return tuple(seed.split(SUBJECT_END, 2)[2] for seed in message_target().seeds)


def make_readable(rng: Random) -> bytes:
    """Some message, with other bytes."""
    data = rng.choice((*records(), *_signed(), *_envelopes()))
    return mutated(rng, data, rng.choice(records()))
