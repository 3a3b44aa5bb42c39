"""What a combined write is made of: the same JSON whoever asks, and no digit lost on the way."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mallku_contracts.errors import InvalidDocument
from mallku_workers.stores.arango.combining import (
    LARGE_INTEGER,
    Prepared,
    has_large_integer,
    prepare,
)
from mallku_workers.stores.arango.settings import ArangoSettings
from tests.stores.calling import make_claim, make_work

SETTINGS = ArangoSettings(max_document_bytes=1_024)
NUMBERS = st.one_of(st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False))


def prepared(operation: str, values: dict[str, object]) -> Prepared | None:
    """The work of a command, as it would be combined."""
    return prepare(make_work(operation, "people", values, claim=make_claim()), SETTINGS, 0)


@given(st.lists(st.one_of(NUMBERS, st.text("0123456789.eE-"), st.text())))
@example([10**15, 10**16 - 1])
@example(["0" * 16, "1.2345678901234567", "\ud800"])
def test_the_quick_look_finds_every_large_integer(values: list[object]) -> None:
    """It answers as the pattern does, whatever the document holds."""
    text = json.dumps(values, ensure_ascii=False)
    assert has_large_integer(text) == (LARGE_INTEGER.search(text) is not None)


@pytest.mark.parametrize(
    ("operation", "parts"),
    [("insert", {"document"}), ("update", {"target", "document"}), ("delete", {"target"})],
)
def test_a_work_is_one_json_object(operation: str, parts: set[str]) -> None:
    """Deadline, entry and what is to be written stand beside each other, each once."""
    found = prepared(operation, {"document": {"_key": "a", "text": 'quotes " and \\ and ü'}})
    assert found is not None
    item = json.loads(found.item)
    assert item.keys() == {"deadline", "entry", *parts}
    assert item["deadline"] == found.work.deadline_ms
    assert found.work.claim is not None
    assert item["entry"]["_key"] == found.work.claim.key
    if operation == "insert":
        assert item["document"] == {"_key": "a", "text": 'quotes " and \\ and ü'}


def test_a_document_is_measured_without_what_stands_around_it() -> None:
    """As many bytes as may be are let in, and not one more."""
    room = SETTINGS.max_document_bytes - len('{"text":""}')
    assert prepared("insert", {"document": {"text": "x" * room}}) is not None
    with pytest.raises(InvalidDocument, match="1025 bytes"):
        prepared("insert", {"document": {"text": "x" * (room + 1)}})
