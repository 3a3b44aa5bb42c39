"""Subjects and ids: what follows the grammar passes unchanged, everything else is refused."""

from __future__ import annotations

import re
import uuid
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_contracts.errors import InvalidSubject
from mallku_contracts.identifiers import is_uuid7, uuid7
from mallku_contracts.limits import MAX_TIME_MS
from mallku_contracts.subjects import (
    OUTCOMES,
    CommandSubject,
    audit_subject,
    check_name,
    command_pattern,
    inbox_prefix,
    is_name,
    is_own_inbox,
)

NAMES = st.from_regex(r"\A[A-Za-z0-9_-]{1,64}\Z")
GOOD = "mallku.v1.cmd.mallku.main.memory_anchors.insert"
NOT_NAMES = [
    "", " ", "a.b", "a b", "*", ">", "a*", "$SYS", "@", "a\n", "\na", "a\x00", "é", "\uff41",
    "\u0663", "a" * 65, "a/b", "_INBOX.x", "\u017f", "\u212a", "\u00b2",
]  # fmt: skip


@given(NAMES, NAMES, st.none() | NAMES, NAMES)
def test_a_built_subject_reads_back(
    principal: str, database: str, collection: str | None, operation: str
) -> None:
    """Names of the grammar become a subject that says the same when it is read."""
    subject = CommandSubject.build(principal, database, collection, operation)
    assert CommandSubject.parse(str(subject)) == subject
    assert subject.collection == (collection or "@")


@pytest.mark.parametrize("name", NOT_NAMES)
def test_what_is_no_name_is_refused_with_the_field(name: str) -> None:
    """Nothing outside the grammar enters a subject, by whichever door."""
    assert not is_name(name)
    for field in ("principal", "database", "operation"):
        parts = {"principal": "p", "database": "d", "operation": "get", field: name}
        with pytest.raises(InvalidSubject) as refused:
            CommandSubject.build(collection="c", **parts)
        assert refused.value.details == {"field": field}
    with pytest.raises(InvalidSubject, match=r"^collection: "):
        CommandSubject.build("p", "d", name, "get")
    with pytest.raises(InvalidSubject, match=r"^principal: "):
        replace(CommandSubject.parse(GOOD), principal=name)
    if name != "@":
        with pytest.raises(InvalidSubject, match=r"^collection: "):
            replace(CommandSubject.parse(GOOD), collection=name)
    with pytest.raises(InvalidSubject):
        inbox_prefix(name)


@pytest.mark.parametrize("value", [None, 1, b"name", ["a"]])
def test_what_is_no_text_is_no_name(value: object) -> None:
    """A value of another type is refused, not converted."""
    with pytest.raises(InvalidSubject):
        check_name(value, "principal")


@pytest.mark.parametrize(
    "subject",
    [
        "", "mallku", GOOD + ".", GOOD + ".x", "." + GOOD, GOOD + "\n", GOOD.replace("v1", "v2"),
        GOOD.replace("cmd", "cur"), GOOD.replace("cmd", "CMD"), GOOD.replace("main", ""),
        GOOD.replace("main", "@"), GOOD.replace("insert", "@"),
        GOOD.replace("mallku.v1", "mallkuXv1"),
        GOOD.replace("main", "*"), GOOD.replace("insert", ">"), GOOD.replace("memory_anchors", "*"),
        GOOD.replace("memory_anchors", "@@"), GOOD.replace("memory_anchors", ""),
        "mallku.v1." + "a." * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_command_subject_is_refused(subject: str) -> None:
    """Neither wildcards, nor other channels and versions, nor more or fewer tokens are read."""
    with pytest.raises(InvalidSubject):
        CommandSubject.parse(subject)


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever is read as a subject is written the same way."""
    try:
        subject = CommandSubject.parse(text)
    except InvalidSubject:
        return
    assert str(subject) == text


def test_a_job_is_read_as_one() -> None:
    """The channel is part of the subject, and so of what is signed."""
    job = CommandSubject.parse(GOOD.replace("cmd", "job"))
    assert job.channel == "job"
    assert job != CommandSubject.parse(GOOD)


def test_a_refusal_shows_a_bounded_part() -> None:
    """A long subject is not repeated in full in the refusal."""
    with pytest.raises(InvalidSubject) as refused:
        CommandSubject.parse("x" * 100_000)
    assert len(str(refused.value)) < 200


def test_what_is_derived_from_a_subject() -> None:
    """Audit subjects keep the command's tokens; a worker subscribes to one operation of all."""
    subject = CommandSubject.parse(GOOD)
    for outcome in OUTCOMES:
        expected = f"mallku.v1.audit.mallku.main.memory_anchors.insert.{outcome}"
        assert audit_subject(subject, outcome) == expected
    with pytest.raises(InvalidSubject):
        audit_subject(subject, "other")
    assert command_pattern("insert") == "mallku.v1.cmd.*.*.*.insert"


@pytest.mark.parametrize(
    ("reply", "own"),
    [
        ("_INBOX_mallku.p.x", True),
        ("_INBOX_mallku.p.x.1", True),
        ("_INBOX_mallku.p.a.b.c.d", True),
        ("_INBOX_mallku.p.a.b.c.d.e", False),
        ("_INBOX_mallku.p", False),
        ("_INBOX_mallku.p.", False),
        ("_INBOX_mallku.p..x", False),
        ("_INBOX_mallku.pp.x", False),
        ("_INBOX_mallku.p.*", False),
        ("_INBOX_mallku.p.>", False),
        ("_INBOX_mallku.p.x\n", False),
        ("_INBOX_mallku.p.x y", False),
        ("_INBOX.p.x", False),
        ("$JS.API.STREAM.DELETE.MALLKU_AUDIT", False),
        ("$KV.mallku_policy.current", False),
        ("mallku.v1.audit.p.d.c.get.done", False),
        ("", False),
    ],
)
def test_only_the_principals_own_inbox_is_answered(reply: str, own: bool) -> None:
    """A reply goes below the principal's inbox prefix or nowhere."""
    assert is_own_inbox(reply, "p") is own


@given(st.integers(0, MAX_TIME_MS), st.integers(0, 2**74 - 1))
def test_a_made_id_is_a_uuid_version_7(now_ms: int, bits: int) -> None:
    """An id holds its time and its random bits where RFC 9562 puts them."""
    text = uuid7(now_ms, bits)
    parsed = uuid.UUID(text)
    assert is_uuid7(text)
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == now_ms
    assert (parsed.int >> 64 & 0xFFF) << 62 | parsed.int & (2**62 - 1) == bits


@pytest.mark.parametrize(("now_ms", "bits"), [(-1, 0), (2**48, 0), (0, -1), (0, 2**74)])
def test_an_id_that_would_overflow_is_refused(now_ms: int, bits: int) -> None:
    """A time or bits that do not fit never shift into their neighbours."""
    with pytest.raises(ValueError, match="48 bits"):
        uuid7(now_ms, bits)


def test_ids_sort_by_time_and_differ() -> None:
    """Later ids are greater as text; two of the same millisecond differ."""
    assert uuid7(1) < uuid7(2) < uuid7(2**40)
    assert len({uuid7(1) for _ in range(1_000)}) == 1_000


@pytest.mark.parametrize(
    "change",
    [str.upper, lambda t: t + "\n", lambda t: t.replace("-", ""), lambda t: t[:14] + "4" + t[15:],
     lambda t: t[:19] + "c" + t[20:], lambda t: "{" + t + "}", lambda t: t.replace("0", "\u0660")],
)  # fmt: skip
def test_only_the_canonical_spelling_is_an_id(change: object) -> None:
    """One id, one spelling: capitals, braces, other versions and foreign digits are none."""
    assert callable(change)
    assert not is_uuid7(change(uuid7(0xABC, 5)))
    assert not is_uuid7(uuid.UUID(uuid7(0)))
    assert re.fullmatch(r"[0-9a-f-]{36}", uuid7(0xABC, 5))
