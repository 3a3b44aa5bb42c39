"""Whatever a store commits or answers, auditors and clients can read."""

from __future__ import annotations

from collections.abc import Awaitable
from random import Random
from typing import Any, Final

import pytest

from mallku_client.answers import read_body
from mallku_contracts import codec
from mallku_contracts.audit import Record
from mallku_contracts.errors import InvalidDocument, MallkuError, ResourceLimit, ResultTooLarge
from mallku_contracts.limits import (
    MAX_CONTAINERS,
    MAX_DEPTH,
    MAX_MAP_ENTRIES,
    MAX_RECORD_BYTES,
    MAX_ROW_DEPTH,
)
from mallku_contracts.results import Receipt
from mallku_workers.audit.records import effects_of, pack_fitting
from mallku_workers.replies import success
from mallku_workers.stores.base import Done
from tests.stores.asking import Asker
from tests.stores.calling import Caller

pytestmark = pytest.mark.timeout(180)

RECEIPT: Receipt = {"stream": "MALLKU_AUDIT", "sequence": 2**53, "hash": bytes(32)}
ROUNDS: Final = 24
WIDE: Final = MAX_MAP_ENTRIES - 1
DEEPER: Final = "FOR d IN people FILTER d._key == 'k' REPLACE d WITH {v: {v: d.v}} IN people"


def check_read(done: Done) -> None:
    """The record of it and the reply with it are read by those for whom they are."""
    fields = {"kind": "done", "worker": "w", "number": 1, "time": 1, "id": "i"}
    fields |= {"principal": "p", "subject": "s", "position": done.position}
    data = pack_fitting(fields | {"effects": effects_of(done.effects)})
    assert len(data) <= MAX_RECORD_BYTES
    record = Record.read(data)
    assert not any(effect.get("omitted") for effect in record.effects)
    assert list(record.effects) == list(effects_of(done.effects))
    receipt = RECEIPT if done.position is not None else None
    read = read_body(success(done, receipt))
    assert not isinstance(read, MallkuError)
    assert read["result"] == done.result


def nested(levels: int, value: Any = 1) -> Any:
    """Maps inside each other."""
    for _ in range(levels):
        value = {"v": value}
    return value


async def tried(work: Awaitable[Done]) -> Done | None:
    """What was done, None where it was refused."""
    try:
        return await work
    except (InvalidDocument, ResultTooLarge):
        return None


class Writer:
    """Makes documents wider and deeper, by every operation that can."""

    def __init__(self, seed: int, people: Caller) -> None:
        self._random = Random(seed)
        self._people = people
        self._ask = Asker(people.store)
        self._names = 0

    def write(self) -> Awaitable[Done]:
        """One command."""
        return self._random.choice([self._update, self._upsert, self._match, self._query])()

    def _patch(self) -> dict[str, Any]:
        """What one command may bring: many names or arrays, or something deep."""
        count = self._random.randint(1, WIDE)
        self._names += count
        names = map(str, range(self._names - count, self._names))
        deep = self._random.randint(0, MAX_DEPTH - 3)
        return self._random.choice(
            [
                dict.fromkeys(names, 0),
                {"v": nested(deep), "n": self._names},
                {"v": nested(deep, {name: [] for name in names}), "n": self._names},
                {f"a{self._names}": [[]] * self._random.randint(1, MAX_CONTAINERS - 9)},
            ]
        )

    def _update(self) -> Awaitable[Done]:
        merge = self._random.random() < 0.8
        options = {"return_new": self._random.random() < 0.3, "merge": merge}
        document = {"_key": "k", **self._patch()}
        codec.unpack(codec.pack({"document": document, **options}))
        return self._people.done("update", document=document, **options)

    def _upsert(self) -> Awaitable[Done]:
        given = {"insert": {"_key": "k"}, "update": self._patch(), "return_old": True}
        return self._people.done("upsert", filters={"_key": "k"}, **given)

    def _match(self) -> Awaitable[Done]:
        return self._people.done("update-match", filters={"_key": "k"}, body=self._patch())

    def _query(self) -> Awaitable[Done]:
        levels = self._random.randint(1, 40)
        text = "d.v"
        for _ in range(levels):
            text = f"{{v: {text}}}"
        key = "FOR d IN people FILTER d._key == 'k'"
        return self._ask.done(f"{key} UPDATE d WITH {{v: {text}}} IN people RETURN NEW")


@pytest.mark.parametrize("seed", range(3))
async def test_what_is_committed_is_read(people: Caller, seed: int) -> None:
    """Merges, nesting and queries at random: refused, or read in record, reply and page."""
    check_read(await people.done("insert", document={"_key": "k"}))
    writer = Writer(seed, people)
    done = [made for _ in range(ROUNDS) if (made := await tried(writer.write()))]
    for one in done:
        check_read(one)
    assert len(done) > ROUNDS // 4
    check_read(await people.done("get", document="k"))
    check_read(await people.done("find"))


async def test_a_document_grows_by_merges_beyond_any_command(people: Caller) -> None:
    """A hundred thousand names, 4,999 at a time: records and pages with it are read."""
    await people("insert", document={"_key": "k"})
    for start in range(0, 21 * WIDE, WIDE):
        patch = {f"{name:x}": 0 for name in range(start, start + WIDE)}
        await people("update", document={"_key": "k", **patch}, silent=True)
    check_read(await people.done("update", document={"_key": "k", "n": 1}, silent=True))
    check_read(await people.done("get", document="k"))
    check_read(await people.done("find"))
    assert len(await people("get", document="k")) == 21 * WIDE + 4


async def test_a_page_of_nothing_but_arrays_is_read(people: Caller) -> None:
    """As many as its bytes hold: the smallest value there is, in document after document."""
    for _ in range(43):
        await people("insert", document={"a": [[]] * (MAX_CONTAINERS - 10)}, silent=True)
    done = await people.done("find")
    assert len(done.result["documents"]) > 40
    check_read(done)


async def test_a_query_nests_a_document_no_deeper_than_is_read(people: Caller) -> None:
    """One level more with every command, up to `MAX_DEPTH`: then the store refuses the version."""
    ask = Asker(people.store)
    await people("insert", document={"_key": "k", "v": {}})
    for _ in range(2, MAX_DEPTH):
        check_read(await ask.done(f"{DEEPER} RETURN NEW"))
    before = await people("get", document="k")
    with pytest.raises(InvalidDocument, match=f"{MAX_DEPTH} levels"):
        await ask.done(DEEPER)
    assert await people("get", document="k") == before
    check_read(await people.done("find"))


async def test_a_row_deeper_than_a_reply_holds_is_refused(people: Caller) -> None:
    """By its name, where it would be an answer that nobody can read."""
    ask = Asker(people.store)
    await people("insert", document={"_key": "k", "v": nested(MAX_DEPTH - 3)})

    def row(levels: int) -> str:
        text = "d"
        for _ in range(levels):
            text = f"[{text}]"
        return f"FOR d IN people RETURN {text}"

    most = MAX_ROW_DEPTH - (MAX_DEPTH - 2)
    check_read(await ask.done(row(most)))
    with pytest.raises(ResourceLimit, match=f"{MAX_ROW_DEPTH} levels"):
        await ask.done(row(most + 1))
