"""Brings together what a check needs: histories, the trail, the ledger, and the store."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from mallku_client.database import SecuredDatabaseInterface
from mallku_client.settings import ClientSettings
from mallku_client.trail import Selection, TrailSource
from mallku_contracts.arguments import Document as Body
from mallku_contracts.audit import Record, RecordError, record_hash
from mallku_contracts.errors import CollectionNotFound, ConfigurationError
from mallku_contracts.results import Page
from mallku_deploy.checking.accounts import Remembered, Stored
from mallku_deploy.checking.checker import Material, documents_of
from mallku_deploy.checking.history import Call, Histories, read_histories
from mallku_deploy.checking.parts import Document
from mallku_deploy.checking.trail import Name, Told
from mallku_workers.stores.copying import Credentials, open_source, read_spec

BATCH: Final = 500
"""Documents that the store is asked for at once."""

MAX_LEDGER_QUESTIONS: Final = 2_000
"""Commands that the ledger is asked about: those of unknown outcome first, then the newest."""

MAX_LISTED: Final = 1_000_000
"""Documents of one collection that are listed; the check says where there are more, documents."""

LOOK_S: Final = 0.5
"""Between two looks whether intents have their outcomes by now, seconds."""

ASK_TIMEOUT_S: Final = 30.0
"""One question to the gateway, seconds."""

_IN_FLIGHT = 16


class Holder(Protocol):
    """Whoever can say what the store holds."""

    async def get_many(self, collection: str, keys: list[str]) -> list[Body]:
        """The documents with these keys; missing ones are left out."""
        ...

    async def find(self, collection: str, after: str | None) -> Page:
        """Some of the documents behind this key, in the order of their keys."""
        ...

    async def committed_by(self, name: Name) -> Remembered | None:
        """What the ledger says of a command; None where it cannot be asked."""
        ...


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be checked, and how patiently.

    Attributes:
        histories: Files; a folder stands for every `*.jsonl` in it.
        settle_s: How long intents are given to get their outcomes.
        lists: Whether all documents are looked at of the collections that histories or trail name,
            and not only those that they name.
    """

    histories: tuple[Path, ...]
    settle_s: float = 0.0
    skew_s: float = 0.0
    lists: bool = False


async def gather(trail: TrailSource, holder: Holder | None, wish: Wish) -> Material:
    """Read everything, the store between two readings of the trail.

    Raises:
        ConfigurationError: a history cannot be read.
        MallkuError: trail or store do not answer.
    """
    histories = await asyncio.to_thread(read_files, wish.histories)
    told = await _read_settled(trail, _receipts(histories), wish.settle_s)
    stored: Stored | None = None
    remembered: Mapping[Name, Remembered] = {}
    if holder is not None:
        told.settled = told.last  # our own questions come behind it
        stored = await _read_store(holder, documents_of(histories, told), lists=wish.lists)
        remembered = await _read_ledger(holder, histories)
        await _read(trail, told, _receipts(histories))
    return Material(
        histories,
        told,
        stored,
        remembered,
        now_ms=time.time_ns() // 1_000_000,
        skew_us=int(wish.skew_s * 1_000_000),
    )


def read_files(paths: Iterable[Path]) -> Histories:
    """The histories in these files, put together."""
    files = [file for path in paths for file in _files(path)]
    if not files:
        raise ConfigurationError("there is no history to check: name files, or a folder of *.jsonl")
    found = Histories()
    for file in files:
        try:
            with file.open("rb") as lines:
                one = read_histories(lines, str(file))
        except OSError as error:
            raise ConfigurationError(f"history {file}: {error.strerror}") from None
        found.calls += one.calls
        found.cut |= one.cut
    return found


def _files(path: Path) -> list[Path]:
    return sorted(path.glob("*.jsonl")) if path.is_dir() else [path]


def _receipts(histories: Histories) -> set[int]:
    return {call.receipt["sequence"] for call in histories.calls if call.receipt is not None}


async def _read_settled(trail: TrailSource, wanted: set[int], settle_s: float) -> Told:
    """The trail once every intent has its outcome, or as it is when the time is over."""
    told, end = Told(), time.monotonic() + settle_s
    while True:
        await _read(trail, told, wanted)
        if not told.open_intents() or time.monotonic() >= end:
            return told
        await asyncio.sleep(LOOK_S)


async def _read(trail: TrailSource, told: Told, wanted: set[int]) -> None:
    """Go on reading behind what was told last, to what is the end now."""
    state = await trail.stream_info()
    if not state.messages or state.last <= told.last:
        return
    selection = Selection(first=told.last + 1, last=state.last)
    async with aclosing(trail.batches(selection)) as batches:
        async for batch in batches:
            for entry in batch:
                if entry.sequence in wanted:
                    told.records[entry.sequence] = record_hash(entry.data).hex()
                try:
                    told.add(entry.sequence, Record.read(entry.data))
                except (RecordError, KeyError, TypeError):
                    told.unreadable += 1
            await asyncio.sleep(0)  # let the connection live


async def _read_store(holder: Holder, documents: set[Document], *, lists: bool) -> Stored:
    begin = _now_us()
    found: dict[Document, dict[str, Any] | None] = {}
    cut = set[str]()
    if lists:
        for database, collection in {document[:2] for document in documents}:
            keys = await _list_keys(holder, collection)
            documents |= {Document(database, collection, key) for key in keys[:MAX_LISTED]}
            cut |= {collection} if len(keys) > MAX_LISTED else set()
    for (database, collection), batch in _batches(documents):
        try:
            held = await holder.get_many(collection, [document.key for document in batch])
        except CollectionNotFound:
            held = []
        by_key = {document["_key"]: document for document in held}
        for document in batch:
            found[Document(database, collection, document.key)] = by_key.get(document.key)
    return Stored(begin, _now_us(), found, frozenset(cut))


async def _list_keys(holder: Holder, collection: str) -> list[str]:
    """The keys of a collection, of one with more than `MAX_LISTED` some more than those."""
    keys: list[str] = []
    after: str | None = None
    try:
        while len(keys) <= MAX_LISTED:
            page = await holder.find(collection, after)
            keys += [document["_key"] for document in page["documents"]]
            after = page["after"]
            if after is None:
                break
    except CollectionNotFound:
        return []
    return keys


def _batches(documents: Iterable[Document]) -> Iterator[tuple[tuple[str, str], list[Document]]]:
    in_order = sorted(documents)
    for place, group in itertools.groupby(in_order, lambda one: (one.database, one.collection)):
        while batch := list(itertools.islice(group, BATCH)):
            yield place, batch


def _now_us() -> int:
    return time.time_ns() // 1_000


async def _read_ledger(holder: Holder, histories: Histories) -> Mapping[Name, Remembered]:
    asked = list(dict.fromkeys(call.name for call in sorted(_mutations(histories), key=_urgency)))
    found: dict[Name, Remembered] = {}
    waiting = iter(asked[:MAX_LEDGER_QUESTIONS])

    async def ask() -> None:
        for name in waiting:
            remembered = await holder.committed_by(name)
            if remembered is not None:
                found[name] = remembered

    async with asyncio.TaskGroup() as group:
        for _ in range(_IN_FLIGHT):
            group.create_task(ask())
    return found


def _mutations(histories: Histories) -> Iterator[Call]:
    return (call for call in histories.calls if call.mutates and call.operation != "aql")


def _urgency(call: Call) -> tuple[bool, int]:
    return (call.outcome != "outcome_unknown", -call.begin)


class ThroughGateway:
    """Asks like any other caller; of the ledger only its own principal's entries are shown."""

    def __init__(self, db: SecuredDatabaseInterface) -> None:
        self._db = db

    async def get_many(self, collection: str, keys: list[str]) -> list[Body]:
        """As `Holder.get_many`."""
        answer = await self._db.command(
            "get-many", collection, {"documents": keys}, timeout=ASK_TIMEOUT_S
        )
        documents: list[Body] = answer.result
        return documents

    async def find(self, collection: str, after: str | None) -> Page:
        """As `Holder.find`."""
        page: Page = (
            await self._db.command("find", collection, _behind(after), timeout=ASK_TIMEOUT_S)
        ).result
        return page

    async def committed_by(self, name: Name) -> Remembered | None:
        """As `Holder.committed_by`."""
        principal, key = name
        if principal != self._db.principal:
            return None
        found = await self._db.outcome(idempotency_key=key, timeout=ASK_TIMEOUT_S)
        return Remembered(found["id"] if found["state"] == "done" else None)


class InStore:
    """Asks a store itself, past the gateway; its ledger is not asked."""

    def __init__(self, ask: Any) -> None:
        self._ask = ask

    async def get_many(self, collection: str, keys: list[str]) -> list[Body]:
        """As `Holder.get_many`."""
        documents: list[Body] = await self._ask("get-many", collection, documents=keys)
        return documents

    async def find(self, collection: str, after: str | None) -> Page:
        """As `Holder.find`."""
        page: Page = await self._ask("find", collection, **_behind(after))
        return page

    async def committed_by(self, name: Name) -> Remembered | None:
        """As `Holder.committed_by`: never."""
        del name
        return None


def _behind(after: str | None) -> dict[str, Any]:
    return {"batch_size": BATCH} | ({} if after is None else {"after": after})


@asynccontextmanager
async def open_holder(
    settings: ClientSettings | None, store: str | None
) -> AsyncGenerator[Holder | None]:
    """The store that a text names (`embedded:DIR`, `arango:URL`), or the gateway's, or nobody's.

    Raises:
        ConfigurationError: the text or the settings cannot be used.
        MallkuError: nobody answers there.
    """
    if store is not None:
        async with open_source(read_spec(store), Credentials()) as side:
            yield InStore(side.ask)
    elif settings is not None:
        without = settings.override(history_file=None)  # checking is nothing to be checked
        async with await SecuredDatabaseInterface.connect(settings=without) as db:
            yield ThroughGateway(db)
    else:
        yield None
