from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_contracts.audit import Record
from mallku_contracts.codec import pack
from mallku_contracts.envelope import (
    CommandHeader,
    Envelope,
    ReplyHeader,
    seal_command,
    seal_reply,
    token_hash,
)
from mallku_contracts.identifiers import uuid7
from mallku_contracts.keys import SigningKey
from mallku_contracts.limits import MAX_PAYLOAD_BYTES
from mallku_contracts.protected import VERSION
from mallku_contracts.subjects import CommandSubject, inbox_prefix
from mallku_contracts.tokens import COMMAND_AUDIENCE, REPLY_AUDIENCE
from mallku_deploy.decode import main
from mallku_deploy.decoding.proof import prove
from mallku_deploy.decoding.readable import read_message
from mallku_deploy.decoding.redact import redact
from mallku_deploy.issuer import Issuer

NOW_MS = 1_800_000_000_000
ISSUER = Issuer("mallku-local", SigningKey(bytes(32)))
KEY = SigningKey(bytes([1]) * 32)
SUBJECT = CommandSubject("mallku", "mallku", "memory_anchors", "insert")
SECRET = "what the voices said"
BODY = {"document": {"_key": "k1", "text": SECRET, "weight": 3}}


def _token(principal: str, audience: str) -> bytes:
    token = ISSUER.issue(
        principal, KEY.public, roles=frozenset(), audience=audience, now_s=NOW_MS // 1000
    )
    return token.encode()


def _command() -> bytes:
    token = _token("mallku", COMMAND_AUDIENCE)
    header = CommandHeader(
        v=VERSION,
        kid=KEY.kid,
        id=uuid7(NOW_MS),
        iat=NOW_MS,
        exp=NOW_MS + 10_000,
        budget=10_000,
        attempt=1,
        op="insert",
        db="mallku",
        col="memory_anchors",
        idem="mine",
        reply=inbox_prefix("mallku"),
        ath=token_hash(token),
    )
    return seal_command(SUBJECT, header, pack(BODY), KEY, token)


def _reply(key: SigningKey | None = KEY) -> bytes:
    token = _token("worker-1", REPLY_AUDIENCE)
    header = ReplyHeader(VERSION, KEY.kid, uuid7(NOW_MS), bytes(32), NOW_MS, "w", token_hash(token))
    return seal_reply(header, pack({"result": {"text": SECRET}}), key, token)


def _intent() -> bytes:
    parts = Envelope.split(_command())
    record = Record(
        kind="intent",
        worker="w",
        number=1,
        time=NOW_MS,
        id=uuid7(NOW_MS),
        principal="mallku",
        subject=str(SUBJECT),
        command=(parts.protected, parts.body, parts.signature, KEY.public.raw),
    )
    return record.pack()


def _verdict(data: bytes, subject: str | None = None) -> dict[str, Any]:
    return prove(read_message(data), ISSUER.trust, subject)


@pytest.mark.parametrize(
    ("make", "kind"), [(_command, "command"), (_reply, "reply"), (_intent, "record")]
)
def test_what_the_gateway_sends_is_readable_and_proves_itself(
    make: Callable[[], bytes], kind: str
) -> None:
    """Commands, replies and intents are named, shown with their content, and verified."""
    data = make()
    message = read_message(data)
    assert message.content["kind"] == kind
    assert SECRET in json.dumps(message.content)
    assert _verdict(data)["verified"] is True


@pytest.mark.parametrize("make", [_command, _reply, _intent])
def test_a_redacted_message_holds_nobodys_data(make: Callable[[], bytes]) -> None:
    """Names of fields stay, values go; who asked for what can still be seen."""
    shown = json.dumps(redact(read_message(make()).content))
    assert SECRET not in shown
    assert "text" in shown
    assert "2027-01-15T" in shown


@pytest.mark.parametrize("make", [_command, _reply])
def test_the_token_itself_is_never_shown(make: Callable[[], bytes]) -> None:
    """Its claims are; the text that could be sent again is not."""
    token = Envelope.split(make()).token.decode()
    shown = json.dumps(read_message(make()).content)
    assert "mallku-local" in shown
    assert not any(part in shown for part in token.split("."))


def _proven_after_flips(data: bytes, places: range) -> list[int]:
    def flipped(place: int) -> bytes:
        return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]

    return [place for place in places if _verdict(flipped(place))["verified"]]


@pytest.mark.parametrize("make", [_command, _reply])
def test_no_flipped_bit_is_verified(make: Callable[[], bytes]) -> None:
    """Whatever byte of a message is changed, it is described, and never called verified."""
    data = make()
    assert _proven_after_flips(data, range(0, len(data), 3)) == []


def test_a_changed_command_in_an_intent_is_not_verified() -> None:
    """An intent proves the bytes that its caller signed, each of them."""
    data, body = _intent(), pack(BODY)
    start = data.index(body)
    assert _proven_after_flips(data, range(start, start + len(body))) == []


def test_a_command_is_bound_to_the_subject_it_was_seen_on() -> None:
    """The same bytes on another principal's subject are not verified."""
    other = str(CommandSubject("operator", "mallku", "memory_anchors", "insert"))
    assert _verdict(_command(), str(SUBJECT))["verified"] is True
    assert _verdict(_command(), other)["verified"] is False


def test_an_unsigned_reply_is_not_called_verified() -> None:
    """Without a signature there is nothing to believe."""
    assert _verdict(_reply(None)) == {
        "verified": False,
        "reason": "the worker did not sign this reply",
    }


@given(st.binary(max_size=2_000))
def test_no_bytes_make_it_fail(data: bytes) -> None:
    """Whatever comes, a description comes out that is JSON, redacted or not, proven or not."""
    message = read_message(data)
    json.dumps(message.content)
    json.dumps(redact(message.content))
    assert prove(message, ISSUER.trust, None)["verified"] is False


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    )
)
def test_no_value_makes_it_fail(value: object) -> None:
    """The same for whatever msgpack can hold."""
    json.dumps(read_message(msgpack.packb(value)).content)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty"),
        (b'{"type": "io.nats.micro.v1.ping_response"}', "json"),
        (b"+ACK", "text"),
        (b"\xff\xfe\x00", "unknown"),
        (b"[" * 5_000 + b"]" * 5_000, "text"),
        (b'{"n": NaN}', "text"),
        (msgpack.packb({"a": 1}), "map"),
        (b"\xdf\xff\xff\xff\xff", "unknown"),
    ],
)
def test_what_else_travels_is_named(data: bytes, kind: str) -> None:
    """Other messages are called what they look like."""
    assert read_message(data).content["kind"] == kind


def _run(
    monkeypatch: pytest.MonkeyPatch, data: bytes, *arguments: str
) -> tuple[int, dict[str, Any]]:
    class _Standard:
        def __init__(self, content: bytes) -> None:
            self.buffer = io.BytesIO(content)

    out = _Standard(b"")
    monkeypatch.setattr(sys, "stdin", _Standard(data))
    monkeypatch.setattr(sys, "stdout", out)
    code = main(list(arguments))
    text = out.buffer.getvalue()
    return code, json.loads(text) if text else {}


def test_the_command_reads_and_prints(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One message in, one JSON text out, with a proof when it was asked for."""
    trust = tmp_path / "trust.json"
    trust.write_text(ISSUER.trust.to_json())
    code, shown = _run(
        monkeypatch, _command(), "--verify", "--redact", "--json", f"--trust-file={trust}"
    )
    assert code == 0
    assert (shown["kind"], shown["verified"], shown["principal"]) == ("command", True, "mallku")


def test_too_much_is_said_and_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a message can hold is not taken into memory to be looked at."""
    code, shown = _run(monkeypatch, b"x" * (MAX_PAYLOAD_BYTES + 1))
    assert (code, shown["kind"]) == (0, "too large")


def test_verifying_without_a_trust_file_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says which variable to set, and claims nothing."""
    monkeypatch.delenv("MALLKU_TRUST_FILE", raising=False)
    code, shown = _run(monkeypatch, _command(), "--verify")
    assert (code, shown) == (1, {})
    assert "MALLKU_TRUST_FILE" in capsys.readouterr().err
