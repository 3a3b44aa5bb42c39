"""Writes inside a stream transaction: read, decide, write through the document API, enter, commit.

For everything that a combined query cannot say: batches with an error for each document, writes by
filters, upserts, document rules, and single writes that failed together and are now to fail alone.

1. Begin, with the collection and the ledger as written.
2. Read what the ledger knows of the claims, and the documents concerned.
3. Decide what becomes of each (`planning`), write it under the revision that was read.
4. Enter the works that succeeded into the ledger; late ones are refused by the database's clock.
5. Commit. Whatever happened before leaves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from mallku_contracts import arguments as a
from mallku_contracts.arguments import Document, Reference, is_dry_run
from mallku_contracts.errors import (
    DeadlineExceeded,
    DocumentError,
    InvalidArguments,
    MallkuError,
    PermissionDenied,
    ResultTooLarge,
    UniqueViolation,
)
from mallku_workers.stores.arango import texts
from mallku_workers.stores.arango.answers import Way, answer, upserted, weighed
from mallku_workers.stores.arango.collection import Collection
from mallku_workers.stores.arango.documents import DocumentWriter, Stored
from mallku_workers.stores.arango.errors import Conflict
from mallku_workers.stores.arango.ledger import claimed, entry, opened, position
from mallku_workers.stores.arango.planning import Change, Planner
from mallku_workers.stores.arango.server import Server, Transaction
from mallku_workers.stores.base import Done, Effect, LedgerClaim, LedgerEntry, Work
from mallku_workers.stores.documents import is_key, named_keys
from mallku_workers.stores.dry_run import foreseen
from mallku_workers.stores.weighing import Shown, pack_answer

Outcome = Done | MallkuError
"""What a work comes to."""

SINGLE: Final = frozenset({"insert", "update", "replace", "delete"})
"""Writes of one document."""

BATCHES: Final = frozenset({"insert-many", "update-many", "replace-many", "delete-many"})
"""Writes with one outcome for each document."""

MATCHES: Final = frozenset({"update-match", "replace-match", "delete-match", "upsert"})
"""Writes of what equals filters."""

_EACH_FAILS_ALONE: Final = (DocumentError, InvalidArguments, PermissionDenied)


@dataclass(slots=True)
class Doing:
    """One work under way.

    Attributes:
        stored: What was done so far, in order.
        outcome: Known as soon as it is an error or an earlier answer.
    """

    work: Work
    claim: LedgerClaim
    planner: Planner
    shown: Shown
    stored: list[Stored] = field(default_factory=list)
    result: Any = None
    outcome: Outcome | None = None

    @property
    def effects(self) -> tuple[Effect, ...]:
        """What was changed so far, in order."""
        return tuple(one.effect for one in self.stored if one.effect is not None)

    def finish(self, entered: str) -> Done:
        """What the work comes to, now that it is in the ledger under this revision."""
        return Done(self.result, self.effects, position(entered))


class Writing:
    """Carries out works on one collection together in one transaction.

    Args:
        now_ms: For works without a claim, Unix milliseconds.
    """

    def __init__(self, server: Server, collection: Collection, now_ms: int) -> None:
        self._server = server
        self._settings = server.settings
        self._collection = collection
        self._now_ms = now_ms
        self._read: dict[str, Document] = {}

    def carry_out(self, works: Sequence[Work]) -> list[Outcome]:
        """The outcome of each; several are single writes of different documents.

        Raises:
            Conflict, MallkuError: nothing was done for any of them.
            OutcomeUnknown: nobody can say.
        """
        write, exclusive = locks((self._collection.name, work.arguments) for work in works)
        doing = [self.doing(work) for work in works]
        with self._server.transaction(write, exclusive) as transaction:
            self.look_up(transaction, doing)
            self.do(transaction, _open(doing))
            if is_dry_run(works[0].arguments):
                return [one.outcome or foreseen(one.result, one.effects) for one in doing]
            entered = self.enter(transaction, _open(doing))
            if entered:
                transaction.commit()
        for one in _open(doing):
            one.outcome = one.finish(entered[one.claim.key])
        return [one.outcome for one in doing if one.outcome is not None]

    def doing(self, work: Work) -> Doing:
        """A work that is about to be done."""
        planner = Planner(
            self._collection, work.rules, self._read.get, self._settings.max_document_bytes
        )
        shown = Shown(self._settings.max_result_bytes)
        return Doing(work, claimed(work.claim, self._now_ms), planner, shown)

    # Reading

    def look_up(self, transaction: Transaction, doing: Sequence[Doing]) -> None:
        """Read the ledger, and settle what an earlier attempt did."""
        claims = [one.claim.key for one in doing]
        [answer] = transaction.query(texts.ENTRY, {"claims": claims})
        expired = []
        entries: dict[str, LedgerEntry] = {}
        for document in answer["entries"]:
            if document["expires_ms"] < answer["now"]:
                expired.append(document["_key"])
            else:
                entries[document["_key"]] = opened(document)
        for one in doing:
            known = entries.get(one.claim.key)
            if known is not None:
                one.outcome = _tried(partial(known.answer, one.claim))
        if expired:
            transaction.query(texts.FORGET, {"claims": expired})

    def _fetch(self, transaction: Transaction, keys: Iterable[str]) -> None:
        wanted = sorted({key for key in keys if is_key(key)})
        self._read.clear()
        if wanted:
            search = texts.Search(["d._key IN @keys"], {"@collection": self._collection.name})
            search.binds["keys"] = wanted
            found = transaction.query(search.rows(), search.binds)
            self._read.update({document["_key"]: document for document in found})

    def _matches(self, transaction: Transaction, work: Work) -> list[Document]:
        arguments: Any = work.arguments
        most = self._settings.max_match_documents
        limit = 1 if isinstance(arguments, a.Upsert) else arguments.limit
        if limit == 0:
            return []
        search = texts.Search.of(self._collection.name, arguments.filters, work.rules)
        search.binds |= {"count": min(most + 1, limit or most + 1)}
        found: list[Document] = transaction.query(search.first(), search.binds)
        if len(found) > most:
            raise ResultTooLarge(f"more than {most} documents match; set a limit")
        return found

    # Doing

    def do(self, transaction: Transaction, doing: Sequence[Doing]) -> None:
        """Make the changes; every work learns its result or its error."""
        if not doing:
            return
        writer = DocumentWriter(transaction, self._collection.name)
        name = doing[0].work.operation.name
        if name in SINGLE:
            self._do_singles(transaction, writer, doing)
        elif name in BATCHES:
            self._do_batch(transaction, writer, doing[0])
        elif name == "upsert":
            self._upsert(transaction, writer, doing[0])
        else:
            self._do_matches(transaction, writer, doing[0])

    def _do_singles(
        self, transaction: Transaction, writer: DocumentWriter, doing: Sequence[Doing]
    ) -> None:
        documents = [_document(one.work) for one in doing]
        self._fetch(transaction, named_keys(self._collection, documents))
        planned = [_tried(partial(_plan_single, one)) for one in doing]
        for one, stored in zip(doing, writer.write(planned), strict=True):
            if isinstance(stored, MallkuError):
                one.outcome = stored
            else:
                one.stored.append(stored)
                one.result = answer(stored, one.work.arguments)

    def _do_batch(self, transaction: Transaction, writer: DocumentWriter, one: Doing) -> None:
        """Rounds in which no document comes twice, so that later ones see earlier ones."""
        arguments: Any = one.work.arguments
        one.result = [None] * len(arguments.documents)
        for places in _rounds(self._collection, arguments.documents):
            documents = [arguments.documents[place] for place in places]
            self._fetch(transaction, named_keys(self._collection, documents))
            planned = [
                _tried(partial(_plan, one, document), _EACH_FAILS_ALONE) for document in documents
            ]
            for place, stored in zip(places, writer.write(planned), strict=True):
                if isinstance(stored, MallkuError):
                    one.result[place] = {"error": stored.to_wire()}
                else:
                    one.stored.append(stored)
                    one.result[place] = answer(stored, arguments)

    def _do_matches(self, transaction: Transaction, writer: DocumentWriter, one: Doing) -> None:
        arguments: Any = one.work.arguments
        found = self._matches(transaction, one.work)
        planned = [_plan_match(one.planner, old, arguments) for old in found]
        one.stored = _all(writer.write(planned))
        one.result = len(found)

    def _upsert(self, transaction: Transaction, writer: DocumentWriter, one: Doing) -> None:
        found = self._matches(transaction, one.work)
        arguments: Any = one.work.arguments
        if not found and isinstance(arguments.insert.get("_key"), str):
            self._fetch(transaction, named_keys(self._collection, [arguments.insert]))
        way, change = _plan_upsert(one.planner, found[0] if found else None, arguments)
        one.stored = _all(writer.write([weighed(one.shown, change, arguments)]))
        one.result = upserted(way, one.stored[0], arguments)

    # The end

    def enter(self, transaction: Transaction, doing: Sequence[Doing]) -> dict[str, str]:
        """Write the entries; the revision of each by its key."""
        if not doing:
            return {}
        for one in doing:
            pack_answer(one.result)
        most = self._settings.ledger_body_bytes
        works = [
            {
                "deadline": one.work.deadline_ms,
                "entry": entry(one.claim, one.result, most, one.effects),
            }
            for one in doing
        ]
        try:
            rows = transaction.query(texts.ENTER, {"works": works})
        except UniqueViolation:
            raise Conflict("the same command is being carried out elsewhere") from None
        if len(rows) < len(doing):
            # What a late work of several did cannot be undone without the others.
            if len(doing) > 1:
                raise Conflict("some of these writes came too late")
            raise DeadlineExceeded("the caller's time was over by the database's clock")
        return {row["key"]: row["position"] for row in rows}


def locks(writes: Iterable[tuple[str, a.Arguments]]) -> tuple[list[str], list[str]]:
    """The collections that are written, and those that nobody else may write meanwhile.

    Two upserts at once must not both insert: unless their filter names the key, whose index is
    unique, they take turns.
    """
    write: set[str] = {texts.LEDGER}
    exclusive: set[str] = set()
    for name, arguments in writes:
        alone = isinstance(arguments, a.Upsert) and "_key" not in arguments.filters
        (exclusive if alone else write).add(name)
    return sorted(write - exclusive), sorted(exclusive)


def _open(doing: Iterable[Doing]) -> list[Doing]:
    return [one for one in doing if one.outcome is None]


def _tried(attempt: Callable[[], Any], kinds: Any = MallkuError) -> Any:
    """What it returns or raises."""
    try:
        return attempt()
    except kinds as error:
        return error


def _document(work: Work) -> Reference:
    arguments: Any = work.arguments
    document: Reference = arguments.document
    return document


def _plan_single(one: Doing) -> Change:
    arguments = one.work.arguments
    if isinstance(arguments, a.Delete):
        change = one.planner.delete(arguments.document, arguments, arguments.rev)
        return weighed(one.shown, change, arguments)
    return _plan(one, _document(one.work))


def _plan(one: Doing, document: Any) -> Change:
    return weighed(one.shown, _planned(one, document), one.work.arguments)


def _planned(one: Doing, document: Any) -> Change:
    match one.work.arguments:
        case a.Insert() | a.InsertMany() as options:
            return one.planner.insert(document, options)
        case a.Update() | a.UpdateMany() as options:
            return one.planner.update(document, options)
        case a.Replace() | a.ReplaceMany() as options:
            return one.planner.replace(document, options)
        case a.DeleteMany() as options:
            return one.planner.delete(document, options)
        case _:
            raise InvalidArguments(f"{one.work.operation.name} does not write one document")


def _plan_match(planner: Planner, old: Document, arguments: Any) -> Change:
    match arguments:
        case a.UpdateMatch():
            return planner.change(old, arguments.body, arguments)
        case a.ReplaceMatch():
            return planner.replace_found(old, arguments.body)
        case _:
            return planner.remove(old)


def _plan_upsert(planner: Planner, old: Document | None, arguments: a.Upsert) -> tuple[Way, Change]:
    if old is None:
        return "insert", planner.insert(arguments.insert, _PLAIN)
    if arguments.update is not None:
        return "update", planner.change(old, arguments.update, arguments)
    return "replace", planner.replace_found(old, arguments.replace or {})


_PLAIN: Final = a.Insert(document={})


def _all(stored: Iterable[Stored | MallkuError]) -> list[Stored]:
    done = []
    for one in stored:
        if isinstance(one, MallkuError):
            raise one
        done.append(one)
    return done


def _rounds(collection: Collection, documents: Sequence[Any]) -> list[list[int]]:
    """Places of the documents, split so that in each part no document comes twice."""
    rounds: list[list[int]] = []
    times: dict[str, int] = {}
    least = 0
    for place, document in enumerate(documents):
        keys = named_keys(collection, [document])
        number = times.get(keys[0], 0) if keys else 0
        # Nothing overtakes: what stands later is never done in an earlier round.
        number = least = max(number, least)
        if keys:
            times[keys[0]] = number + 1
        if number == len(rounds):
            rounds.append([])
        rounds[number].append(place)
    return rounds
