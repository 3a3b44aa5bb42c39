"""Audit records: what is written is read back, and nothing else is taken for a record."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_contracts import codec
from mallku_contracts.audit import (
    VERSION,
    Record,
    RecordError,
    Resolution,
    message_id,
    pack_fields,
    record_hash,
)
from mallku_contracts.limits import MAX_DEPTH
from mallku_contracts.subjects import OUTCOMES
from tests.contracts.test_codec import PLAIN, nested
from tests.vectors.records import DENIED, DONE, FAILED, INTENT
from tests.vectors.world import packed

COUNTS = st.integers(0, 2**63)
TEXTS = st.text(max_size=20)
RECORDS = st.builds(
    Record,
    kind=st.sampled_from(OUTCOMES),
    worker=TEXTS, number=COUNTS, time=COUNTS, id=TEXTS, principal=TEXTS, subject=TEXTS,
    attempt=COUNTS, kid=TEXTS, roles=st.lists(TEXTS, max_size=3).map(tuple),
    policy=st.none() | COUNTS, rule=st.none() | TEXTS,
    command=st.none() | st.tuples(*[st.binary(max_size=9)] * 4),
    code=st.none() | TEXTS, number_of=st.none() | COUNTS,
    effects=st.lists(st.dictionaries(TEXTS, PLAIN, max_size=3), max_size=3).map(tuple),
    position=st.none() | COUNTS, replayed_of=st.none() | TEXTS,
    steps=st.dictionaries(TEXTS, COUNTS, max_size=3), count=COUNTS,
    trace=TEXTS, facts=st.dictionaries(TEXTS, PLAIN, max_size=3),
    resolves=st.fixed_dictionaries({"worker": TEXTS, "number": COUNTS, "sequence": COUNTS}),
    resolution=st.sampled_from([str(each) for each in Resolution]),
)  # fmt: skip


@given(RECORDS)
def test_a_record_reads_back(record: Record) -> None:
    """Every field survives, and reading and packing again gives the same bytes."""
    data = record.pack()
    assert Record.read(data) == record
    assert Record.read(data).pack() == data


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Whatever lies in the stream is a record or a `RecordError`."""
    with pytest.raises(RecordError):
        Record.read(data)


@given(st.sampled_from([entry.name for entry in fields(Record)]), PLAIN)
def test_any_field_is_read_or_refused(name: str, value: Any) -> None:
    """A field of another kind is refused by its name; none reaches whoever reads the trail."""
    values = codec.unpack(FAILED.pack(), allow_bytes=True)
    data = packed({**values, name: value})
    try:
        record = Record.read(data)
    except RecordError:
        with pytest.raises(RecordError, match=f"^{name}: "):
            Record.read(data)
        return
    assert getattr(record, name) in (value, tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"v": 2}, "not a record of version 1"),
        ({"v": True}, "not a record of version 1"),
        ({"kind": "other"}, "kind: "),
        ({"more": 1}, "more: unknown"),
        ({"number": -1}, "number: "),
        ({"number": True}, "number: "),
        ({"command": [b"", b"", b""]}, "command: "),
        ({"command": [b"", b"", b"", "x"]}, "command: "),
        ({"effects": [1]}, "effects: "),
        ({"steps": {"admit": "x"}}, "steps: "),
        ({"roles": "writer"}, "roles: "),
        ({"policy": None}, "policy: "),
    ],
)
def test_what_is_no_record_is_refused_by_field(changes: dict[str, Any], message: str) -> None:
    """Another version, an unknown field or one of another kind is refused by its name."""
    values = {"v": VERSION, "kind": "done", "worker": "w", "number": 1, "time": 1}
    rest = {"id": "", "principal": "p", "subject": "s"}
    with pytest.raises(RecordError, match=message):
        Record.read(packed({**values, **rest, **changes}))


def test_a_missing_field_is_refused() -> None:
    """What has no default must be there."""
    with pytest.raises(RecordError, match="missing"):
        Record.read(packed({"v": VERSION, "kind": "done"}))


def test_a_record_leaves_out_what_it_does_not_say() -> None:
    """Fields with their defaults take no place in the stream."""
    assert len(DENIED.pack()) < len(packed({"v": 1, **asdict(DENIED)})) / 1.3
    assert Record.read(DENIED.pack()) == DENIED


def test_the_deepest_document_can_be_recorded() -> None:
    """What a command may bring, a record can hold."""
    effect = {"collection": "c", "key": "k", "new": {"deep": nested(MAX_DEPTH - 2)}}
    record = replace(DONE, effects=(effect,))
    assert Record.read(record.pack()) == record


def test_a_hash_belongs_to_its_bytes() -> None:
    """Any change of a record changes the hash that receipts and checkpoints hold."""
    assert len(record_hash(b"")) == 32
    assert record_hash(DONE.pack()) != record_hash(replace(DONE, number=DONE.number + 1).pack())


def test_message_ids_are_the_callers_in_intents_alone() -> None:
    """One intent for each transmission of a principal; whatever else is written has its own id.

    An outcome under an id of the caller's choice could be made a duplicate, and be dropped.
    """

    def named(record: Record, **changes: Any) -> str:
        return message_id(replace(record, **changes).fields())

    assert named(INTENT) == f"i.{INTENT.principal}.{INTENT.id}"
    assert named(INTENT) == named(INTENT, worker="w2", number=77)
    assert named(INTENT) != named(INTENT, principal="q")
    for record in (DONE, FAILED, DENIED):
        assert named(record, id="x") == named(record, id="y")
        assert named(record, number=8) != named(record, number=9)
        assert named(record, worker="w8") != named(record, worker="w9")


def test_a_record_given_as_a_map_is_the_same_bytes() -> None:
    """What says nothing may be left out of the map or not; a field that is unknown is refused."""
    for record in (INTENT, DONE, FAILED, DENIED):
        told = {name: value for name, value in record.fields().items() if value or name == "number"}
        assert pack_fields(told) == pack_fields(record.fields()) == record.pack()
        assert message_id(told) == message_id(record.fields())
    with pytest.raises(KeyError, match="tokens"):
        pack_fields({"tokens": "secret"})


def test_an_intent_holds_no_token() -> None:
    """What is recorded of a command lets nobody act with it."""
    assert INTENT.command is not None
    assert not any(part.startswith(b"eyJ") or b".eyJ" in part for part in INTENT.command)
