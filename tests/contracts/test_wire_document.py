"""`docs/wire.md` says what the code does."""

from __future__ import annotations

import re

import pytest

from mallku_contracts import limits
from mallku_contracts.envelope import COMMAND_CONTEXT, REPLY_CONTEXT, CommandHeader, ReplyHeader
from mallku_contracts.errors import BY_CODE
from mallku_contracts.tokens import COMMAND_AUDIENCE, REPLY_AUDIENCE
from mallku_contracts.trail import checkpoint as checkpoints
from mallku_contracts.trail.checkpoint import CHECKPOINT_CONTEXT, CheckpointHeader, Statement
from tests.contracts.wire_tables import DOCUMENT, TABLES, render
from tests.vectors.generate import FILES
from tests.vectors.refusals import STEPS

TEXT = DOCUMENT.read_text("utf-8")


def section(title: str) -> str:
    """The text below a heading, up to the next."""
    found = re.search(rf"^#+ {title}\n(.*?)(?=^#|\Z)", TEXT, re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


def first_column(text: str) -> list[str]:
    """What stands first in the rows of the tables in a text."""
    return re.findall(r"^\| `?([\w-]+)`? \|", text, re.MULTILINE)


def test_the_tables_are_those_of_the_code() -> None:
    """A table that fell behind fails here; `python -m tests.contracts.wire_tables` mends it."""
    assert render(TEXT) == TEXT


def test_what_a_record_holds_is_said_to_the_end() -> None:
    """A sentence over several lines of the code is one row, with its last word."""
    rows = re.findall(r"^\| `\w+` \| (.+) \|$", TABLES["wire-record"](), re.MULTILINE)
    assert rows
    assert [row for row in rows if not row.endswith(".")] == []


@pytest.mark.parametrize("name", TABLES)
def test_every_table_stands_there_once(name: str) -> None:
    """No table was left out of the document."""
    assert TEXT.count(f"<!-- generated: {name} -->") == 1


def test_the_headers_have_the_fields_that_are_described() -> None:
    """The tables of headers and of what a checkpoint says list exactly the fields, in order."""
    command = first_column(section("The header of a command"))[1:]
    job = first_column(section("The header of a job"))[1:]
    assert command + job == list(CommandHeader.__slots__)
    assert first_column(section("The reply"))[1:] == list(ReplyHeader.__slots__)
    header = first_column(section("The header of a checkpoint"))
    assert header[1:] == list(CheckpointHeader.__slots__)
    assert first_column(section("The body of a checkpoint"))[1:] == list(Statement.__slots__)


def test_the_fixed_words_are_the_fixed_words() -> None:
    """Contexts and audiences are written as they are signed."""
    for context in (COMMAND_CONTEXT, REPLY_CONTEXT, CHECKPOINT_CONTEXT):
        word = context.decode()
        assert f'"{word}"' in TEXT
    for word in (COMMAND_AUDIENCE, REPLY_AUDIENCE):
        assert f"`{word}`" in TEXT


def test_the_steps_come_in_the_order_of_the_vectors() -> None:
    """The table of steps names those of the refusals, in the same order."""
    rows = first_column(section("How a worker judges a command"))
    assert [row for row in rows if row in STEPS] == list(STEPS)


def test_named_codes_exist() -> None:
    """A code written with its number anywhere in the document is that code's number."""
    pairs = re.findall(r"`([a-z_]+)` \((\d{3})\)", TEXT)
    assert pairs
    assert [(code, int(n)) for code, n in pairs] == [(c, BY_CODE[c].number) for c, _ in pairs]


def test_the_vectors_are_explained() -> None:
    """Each file of vectors has its line."""
    assert re.findall(r"^\| `(\w+\.json)`", section("The vectors"), re.MULTILINE) == list(FILES)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("at most 2048 bytes", limits.MAX_PROTECTED_BYTES),
        ("at most 8192 bytes", limits.MAX_TOKEN_BYTES),
        ("exp - iat <= 60000", limits.MAX_COMMAND_LIFE_MS),
        ("exp - iat <= 86400", limits.MAX_TOKEN_LIFE_S),
        ("more than 64 levels", limits.MAX_DEPTH),
        ("up to 72 levels", limits.MAX_DEPTH + limits.MAX_FRAME_DEPTH),
        ("more than 25000 of them", limits.MAX_CONTAINERS),
        ("200000 items altogether", limits.MAX_CONTAINERS * limits.ITEMS_FOR_EACH),
        ("2097152 altogether", limits.MAX_WRITTEN_CONTAINERS),
        ("1 to 1000: 1 the first time", limits.MAX_ATTEMPTS),
        ("idempotency key, 1 to 128", limits.MAX_IDEMPOTENCY_KEY_CHARS),
        ("array of names, at most 32", limits.MAX_ROLES),
        ("envelope of at most 65536 bytes", limits.MAX_CHECKPOINT_BYTES),
        ("At most 65536 numbers", checkpoints.MAX_COVERED),
        ("ascending, at most 4096", checkpoints.MAX_VOID),
        ("has seen, at most 64", checkpoints.MAX_HEADS),
        ("at most 16 maps", checkpoints.MAX_VOUCHES),
    ],
)
def test_numbers_in_sentences_are_the_limits(text: str, value: int) -> None:
    """A limit that is repeated in a sentence has its value there."""
    assert text in " ".join(TEXT.split())
    assert str(value) in text
