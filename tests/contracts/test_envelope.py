"""Envelopes: exactly these bytes, on this subject, now, or nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mallku_contracts.envelope import (
    CommandHeader,
    Envelope,
    Reply,
    ReplyHeader,
    command_signing_input,
    fingerprint,
    reply_signing_input,
    seal_command,
    seal_reply,
    token_hash,
)
from mallku_contracts.errors import (
    CommandFromFuture,
    MalformedEnvelope,
    MallkuError,
    MessageTooLarge,
    StaleCommand,
    UnverifiedReply,
)
from mallku_contracts.identifiers import uuid7
from mallku_contracts.limits import (
    AUDIT_DUPLICATE_WINDOW_S,
    MAX_CLOCK_SKEW_MS,
    MAX_COMMAND_BYTES,
    MAX_COMMAND_LIFE_MS,
    MAX_PROTECTED_BYTES,
    MAX_REPLY_BYTES,
)
from mallku_contracts.subjects import CommandSubject
from tests.contracts.opening import Opening, open_reply
from tests.vectors.commands import DOCUMENT, FIRST, GET, INSERT, question, sealed
from tests.vectors.replies import RECEIPT, reply_header
from tests.vectors.world import CALLER_TOKEN, KEYS, WORKER_TOKEN, header, packed

BODY = packed(DOCUMENT)
MESSAGE = sealed(INSERT, FIRST, BODY)
REPLY_BODY = packed({"result": True, "receipt": RECEIPT})
REPLY = seal_reply(reply_header("insert"), REPLY_BODY, KEYS["worker"], WORKER_TOKEN)
ASKED = question("insert")[1]


def flipped(data: bytes, place: int, mask: int) -> bytes:
    """The data with some bits of one byte turned over."""
    return data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]


@pytest.mark.parametrize("mask", [0x01, 0x10, 0x80, 0xFF])
def test_every_byte_of_a_command_counts(mask: int) -> None:
    """A command with any byte flipped is refused with a code; none is accepted, none crashes."""
    assert Opening(str(INSERT), MESSAGE).refusal() is None
    for place in range(len(MESSAGE)):
        assert Opening(str(INSERT), flipped(MESSAGE, place, mask)).refusal() is not None


@pytest.mark.parametrize("mask", [0x01, 0x10, 0x80, 0xFF])
def test_every_byte_of_a_reply_counts(mask: int) -> None:
    """A reply with any byte flipped is no answer."""
    assert open_reply(REPLY, ASKED)[1]["result"] is True
    for place in range(len(REPLY)):
        with pytest.raises(MallkuError):
            open_reply(flipped(REPLY, place, mask), ASKED)


@given(st.integers(0, len(MESSAGE) - 1), st.integers(1, 255))
def test_any_change_of_any_byte_is_refused(place: int, mask: int) -> None:
    """Not only single bits: no other value of any byte is accepted."""
    assert Opening(str(INSERT), flipped(MESSAGE, place, mask)).refusal() is not None


@given(st.integers(0, len(MESSAGE) - 1))
def test_a_cut_command_is_refused(length: int) -> None:
    """No beginning of a message is one."""
    assert isinstance(Opening(str(INSERT), MESSAGE[:length]).refusal(), MalformedEnvelope)


@settings(max_examples=300)
@given(st.binary(max_size=400))
def test_any_bytes_are_refused_with_a_code(data: bytes) -> None:
    """Whatever arrives is answered with a coded error, as message and inside an envelope."""
    assert Opening(str(INSERT), data).refusal() is not None
    for part in range(4):
        parts = [FIRST.pack(), BODY, bytes(64), CALLER_TOKEN]
        parts[part] = data
        assert Opening(str(INSERT), packed(parts)).refusal() is not None


@given(
    st.dictionaries(
        st.sampled_from([*FIRST.__slots__, "x"]),
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=9)
        | st.floats() | st.binary(max_size=40) | st.lists(st.none(), max_size=1),
    )
)  # fmt: skip
def test_any_header_is_read_or_refused(changes: dict[str, Any]) -> None:
    """A header with any values at all is read as it is written, or refused with a code."""
    fields = {name: getattr(FIRST, name) for name in FIRST.__slots__}
    try:
        read = CommandHeader.read(packed({**fields, **changes}))
    except MallkuError:
        return
    assert read == replace(FIRST, **changes)


@pytest.mark.parametrize(
    "subject",
    [
        GET,
        CommandSubject("mallku", "main", "memory_anchors", "insert", "job"),
        CommandSubject("mallku", "other", "memory_anchors", "insert"),
        CommandSubject("mallku", "main", "other", "insert"),
        CommandSubject("mallku", "main", "@", "insert"),
        CommandSubject("operator", "main", "memory_anchors", "insert"),
    ],
    ids=str,
)
def test_a_command_holds_on_its_own_subject_alone(subject: CommandSubject) -> None:
    """Aimed at any other subject the same bytes are refused."""
    assert Opening(str(subject), MESSAGE).refusal() is not None


@given(st.tuples(*[st.binary(max_size=6)] * 2), st.tuples(*[st.binary(max_size=6)] * 2))
def test_a_signing_input_stands_for_one_message(a: tuple[bytes, ...], b: tuple[bytes, ...]) -> None:
    """Moving a byte from one part to the next changes what is signed; so does the direction."""
    assert (command_signing_input("s", *a) == command_signing_input("s", *b)) == (a == b)
    assert (reply_signing_input(*a) == reply_signing_input(*b)) == (a == b)
    assert command_signing_input("s", *a) != reply_signing_input(*a)


@pytest.mark.parametrize(
    ("now_ms", "kind"),
    [
        (FIRST.iat - 30_001, CommandFromFuture),
        (FIRST.iat - 30_000, None),
        (FIRST.exp + 30_000, None),
        (FIRST.exp + 30_001, StaleCommand),
    ],
)
def test_a_command_is_fresh_within_the_skew(now_ms: int, kind: type[MallkuError] | None) -> None:
    """From `iat` to `exp`, with the allowed skew on both sides and not a millisecond more."""
    refusal = Opening(str(INSERT), MESSAGE, now_ms).refusal()
    assert refusal is None if kind is None else isinstance(refusal, kind)


def test_sizes_are_bounded() -> None:
    """What is larger than a command may be is neither sealed nor split; the largest is."""
    frame = len(sealed(INSERT, FIRST, bytes(70_000))) - 70_000
    largest = sealed(INSERT, FIRST, bytes(MAX_COMMAND_BYTES - frame))
    assert len(largest) == MAX_COMMAND_BYTES
    assert Envelope.split(largest).join() == largest
    with pytest.raises(MessageTooLarge):
        sealed(INSERT, FIRST, bytes(MAX_COMMAND_BYTES - frame + 1))
    with pytest.raises(MessageTooLarge):
        Envelope.split(largest + b"\x00")
    with pytest.raises(MessageTooLarge):
        Reply.open(bytes(MAX_REPLY_BYTES + 1), expected_command=ASKED)


def test_a_long_field_is_refused_with_the_whole_part() -> None:
    """No field can make the protected part longer than it may be."""
    long = seal_command(
        INSERT, replace(FIRST, kid="k" * MAX_PROTECTED_BYTES), BODY, KEYS["caller"], b""
    )
    with pytest.raises(MalformedEnvelope, match="protected is longer"):
        Envelope.split(long)


def test_a_retry_keeps_the_fingerprint_and_nothing_else_does() -> None:
    """The fingerprint changes with principal, database, collection, operation and body alone."""
    base = fingerprint(INSERT, BODY)
    assert fingerprint(replace(INSERT, channel="job"), BODY) == base
    others = {
        fingerprint(replace(INSERT, **{field: "other"}), BODY)
        for field in ("principal", "database", "collection", "operation")
    }
    assert len(others | {base, fingerprint(INSERT, BODY + b"\x00")}) == 6
    ab, ba = (
        replace(INSERT, principal="ab", database="c"),
        replace(INSERT, principal="a", database="bc"),
    )
    assert fingerprint(ab, BODY) != fingerprint(ba, BODY)


def test_a_header_reads_back() -> None:
    """Both headers survive the wire unchanged."""
    assert CommandHeader.read(FIRST.pack()) == FIRST
    head = reply_header("insert")
    assert ReplyHeader.read(head.pack()) == head
    nothing = reply_header(None)
    assert ReplyHeader.read(nothing.pack()) == nothing


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "x"}, {"id": ""}, {"cmd": b""}, {"cmd": bytes(31)}, {"ath": b""}, {"time": -1},
        {"time": 2**48}, {"worker": 1}, {"v": 2}, {"kid": b"k"}, {"more": 1},
    ],
)  # fmt: skip
def test_a_reply_header_out_of_form_is_refused(changes: dict[str, Any]) -> None:
    """A reply's header has exactly its fields, each within its range."""
    head = reply_header("insert")
    fields = {name: getattr(head, name) for name in head.__slots__}
    with pytest.raises(MallkuError):
        ReplyHeader.read(packed({**fields, **changes}))


def test_a_reply_cannot_be_moved() -> None:
    """A good reply to another command of the same caller is no answer to this one."""
    for name in ("get", "find, with an idempotency key of the caller's own"):
        with pytest.raises(UnverifiedReply, match="another command"):
            open_reply(REPLY, question(name)[1])


def test_an_unsigned_reply_does_not_pass_for_a_signed_one() -> None:
    """Without a signature `verify` refuses, whatever else is in order."""
    head = reply_header("insert", ath=token_hash(b""))
    reply = Reply.open(seal_reply(head, REPLY_BODY, None, b""), expected_command=ASKED)
    assert not reply.signed
    with pytest.raises(UnverifiedReply):
        reply.verify(KEYS["worker"].public)


def test_a_repr_shows_neither_body_nor_token() -> None:
    """An envelope in a log or a traceback gives away no document and no token."""
    shown = repr(Envelope.split(MESSAGE))
    assert "khipu" not in shown
    assert CALLER_TOKEN.decode()[:20] not in shown


def test_sealing_is_deterministic() -> None:
    """The same command sealed again is the same bytes; another transmission is another message."""
    assert sealed(INSERT, FIRST, BODY) == MESSAGE
    assert sealed(INSERT, header(INSERT, 8), BODY) != sealed(INSERT, header(INSERT, 9), BODY)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65_535, 65_536, 1_000_000])
def test_parts_of_every_width_are_cut_where_they_end(size: int) -> None:
    """Lengths of one, two and four bytes are read alike, and nothing may follow or be missing."""
    envelope = Envelope(b"p", b"x" * size, b"s" * 64, b"t")
    data = envelope.join()
    assert Envelope.split(data) == envelope
    for spoilt in (data + b"\xc4\x00", data[:-1]):
        with pytest.raises(MalformedEnvelope):
            Envelope.split(spoilt)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x94",
        b"\x94" * 100_000,
        b"\x94\xc6\xff\xff\xff\xff",
        b"\x94\xc4\x05abc",
        b"\x93\xc4\x00\xc4\x00\xc4\x00",
        b"\xdc\x00\x04" + b"\xc4\x00" * 4,
        b"\x94\xc4\x00\xc4\x00\xc4\x00\xa0",
    ],
    ids=["empty", "bare", "nested", "endless", "short", "three", "array16", "text"],
)
def test_what_is_no_frame_is_refused_without_building_it(data: bytes) -> None:
    """Before anything is proven, nothing that a message announces is built."""
    with pytest.raises(MalformedEnvelope):
        Envelope.split(data)


@pytest.mark.parametrize(
    ("made_ms", "holds"),
    [(0, True), (-90_000, True), (-90_001, False), (30_000, True), (30_001, False)],
)
def test_an_id_is_made_when_it_is_sent(made_ms: int, *, holds: bool) -> None:
    """Its time is judged as `iat` is, and a clock that is off by the skew takes nothing from it."""
    header = replace(FIRST, id=uuid7(FIRST.iat + made_ms, 7))
    if holds:
        header.check_times(FIRST.iat)
    else:
        with pytest.raises(MalformedEnvelope, match=r"protected\.id"):
            header.check_times(FIRST.iat)


def _is_taken(header: CommandHeader, now_ms: int) -> bool:
    try:
        header.check_times(now_ms)
    except MallkuError:
        return False
    return True


@pytest.mark.parametrize("job", [{}, {"run_at": 0, "order": ""}])
def test_an_id_is_over_before_the_trail_forgets_it(job: dict[str, Any]) -> None:
    """However commands under one id are dated, the last is taken within the trail's memory."""
    taken = list[int]()
    for iat in range(FIRST.iat - 200_000, FIRST.iat + 200_000, 5_000):
        header = replace(FIRST, iat=iat, exp=iat + MAX_COMMAND_LIFE_MS, **job)
        times = range(iat - MAX_CLOCK_SKEW_MS, iat + 100_000, 5_000)
        taken += [now_ms for now_ms in times if _is_taken(header, now_ms)]
    assert max(taken) - min(taken) == MAX_COMMAND_LIFE_MS + 2 * MAX_CLOCK_SKEW_MS
    assert max(taken) - min(taken) < AUDIT_DUPLICATE_WINDOW_S * 1_000


@pytest.mark.parametrize("skew_ms", [-MAX_CLOCK_SKEW_MS, MAX_CLOCK_SKEW_MS])
def test_a_clock_that_is_off_takes_no_time_from_its_caller(skew_ms: int) -> None:
    """A command is taken, slow clock or fast, from when it is signed until its minute is over."""
    header = replace(FIRST, exp=FIRST.iat + MAX_COMMAND_LIFE_MS)
    for true_ms in (0, MAX_COMMAND_LIFE_MS):
        header.check_times(FIRST.iat + true_ms - skew_ms)
