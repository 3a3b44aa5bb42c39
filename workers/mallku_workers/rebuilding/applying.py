"""From steps to a database: recorded versions in commit order, operations from their intents.

Versions are put down as they are, under the same keys. Between two operations that look at whole
collections only the last version of a document matters, so that many go together. Where a version
is not recorded, its command is carried out again at its place. Indexes, which no recorded version
depends on, are made in the end.

Everything may be interrupted at any point. What was done since the file was last saved is done
again, which changes nothing: versions and operations on the catalog end where they ended before,
and a command that is carried out again has a claim in the target's own ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from mallku_contracts.arguments import Document
from mallku_contracts.audit import Record
from mallku_contracts.errors import BY_CODE, CollectionExists, MallkuError, StoreFailure
from mallku_workers.rebuilding.again import (
    CannotRepeatError,
    arguments_of,
    make_work,
    refuse_new_keys,
)
from mallku_workers.rebuilding.catalog import Catalog
from mallku_workers.rebuilding.gathering import OPEN, UNREADABLE, Wanted
from mallku_workers.rebuilding.rebuilt import GAP, MISSING, Rebuilt, tell
from mallku_workers.rebuilding.steps import CATALOG, Change, Step
from mallku_workers.rebuilding.workfile import WorkFile
from mallku_workers.stores.asking import ASK_S, persist
from mallku_workers.stores.base import Done, Effect, Work
from mallku_workers.stores.copying.documents import BATCH_DOCUMENTS, batches, body
from mallku_workers.stores.copying.sides import Side

MAX_NAMED: Final = 5
"""Collections that one refusal names."""

BEGUN: Final = "begun"
"""The fact that says that the target was empty, and holds what we put there."""

UNCHECKED: Final = "unchecked"
"""The fact that says that revisions are not held against each other any more."""

_INCOMPLETE: Final = (MISSING, OPEN, UNREADABLE)
_EDGE: Final = frozenset({"_from", "_to"})
_MS_PER_S: Final = 1_000


class Applying:
    """Puts the steps of a work file into a database.

    Args:
        advance: Told how many more steps are done.
    """

    def __init__(
        self, file: WorkFile, target: Side, wanted: Wanted, advance: Callable[[int], None]
    ) -> None:
        self._file = file
        self._target = target
        self._wanted = wanted
        self._advance = advance
        self._catalog = Catalog(file, target, wanted)
        self._waiting: dict[str, dict[str, Document | None]] = {}
        self._waiting_steps: list[Step] = []

    async def run(self) -> Rebuilt:
        """Do all that is left to do.

        Raises:
            CollectionExists: the target is not empty.
            MallkuError: the target refuses something, or cannot be reached; run it again.
        """
        await self._begin()
        behind = self._file.place()
        while steps := self._file.steps_behind(*behind):
            for step in steps:
                await self._take(step)
            await self._flush()
            behind = steps[-1].position, steps[-1].name
        await self._catalog.make_indexes()
        return tell(self._file)

    async def _begin(self) -> None:
        names = await self._catalog.look()
        if not self._file.fact(BEGUN):
            _refuse_filled(self._target.name, names)
            self._file.put_fact(BEGUN, 1)
            self._file.save()

    async def _take(self, step: Step) -> None:
        if not step.is_plain:
            await self._flush()
            await self._carry_out(step)
            self._file.put_place(step)
            self._file.save()
            self._advance(1)
            return
        for change in step.changes:
            self._waiting.setdefault(change.collection, {})[change.key] = change.new
        self._waiting_steps.append(step)

    # Recorded versions

    async def _flush(self) -> None:
        """Bring what waits into the target, then write down that it is there."""
        for collection, documents in self._waiting.items():
            await self._put(collection, documents)
        for step in self._waiting_steps:
            for change in step.changes:
                self._check(step, change)
                self._file.put_head(change)
        if self._waiting_steps:
            self._file.put_place(self._waiting_steps[-1])
            self._file.save()
            self._advance(len(self._waiting_steps))
        self._waiting.clear()
        self._waiting_steps.clear()

    async def _put(self, collection: str, documents: dict[str, Document | None]) -> None:
        present = [document for document in documents.values() if document is not None]
        removed = [key for key, document in documents.items() if document is None]
        if not self._catalog.has(collection):
            if not present:
                return
            await self._catalog.imply(collection, edge=present[0].keys() >= _EDGE)
        for batch in batches(present):
            results = await self._target.ask(
                "insert-many",
                collection,
                documents=[body(document) for document in batch],
                overwrite_mode="replace",
                silent=True,
            )
            _refuse_failed(collection, [one["_key"] for one in batch], results)
        for start in range(0, len(removed), BATCH_DOCUMENTS):
            keys = removed[start : start + BATCH_DOCUMENTS]
            results = await self._target.ask(
                "delete-many", collection, documents=keys, check_rev=False, silent=True
            )
            _refuse_failed(collection, keys, results, but="document_not_found")

    def _check(self, step: Step, change: Change) -> None:
        """Hold the revision that was changed against the last one that the trail told of."""
        if self._file.fact(UNCHECKED):
            return
        head = self._file.head(change.collection, change.key)
        known = None if head is None else head.revision
        if head is not None and known is None:
            return
        if known != change.old_rev:
            self._file.note(
                GAP,
                f"record {step.sequence} changes {change.collection}/{change.key} from revision"
                f" {change.old_rev}, where the trail left it at {known}",
            )

    # Operations

    async def _carry_out(self, step: Step) -> None:
        try:
            intent = _intent(step)
            if step.operation in CATALOG:
                await self._catalog.change(step, arguments_of(step.operation, intent))
            else:
                await self._repeat(step, intent)
        except CannotRepeatError as error:
            await self._keep_what_is_known(step)
            if step.operation in CATALOG or not step.complete:
                self._file.note(
                    MISSING,
                    f"record {step.sequence}: {step.operation} on {step.collection} ({step.name})"
                    f" cannot be made again: {error}",
                )

    # Commands that are carried out again

    async def _repeat(self, step: Step, intent: Record) -> None:
        if self._wanted.collections:
            raise CannotRepeatError("only some collections are made, and it may need others")
        if any(map(self._file.fact, _INCOMPLETE)) or self._file.has_lost():
            raise CannotRepeatError("what was there before it could not all be made")

        def make(within_ms: int) -> Work:
            return make_work(
                step.operation,
                self._target.database,
                step.collection,
                intent,
                within_ms=within_ms,
            )

        refuse_new_keys(make(0))
        try:
            done = await persist(
                self._target.store, lambda within_s: make(int(within_s * _MS_PER_S)), ASK_S
            )
        except MallkuError as error:
            if error.retryable:
                raise
            raise CannotRepeatError(f"the target says {error.code}: {error.message}") from None
        self._note_repeated(step, done)

    def _note_repeated(self, step: Step, done: Done) -> None:
        """The versions are there; their revisions are the target's own, but for recorded ones.

        Carried out before we were interrupted, it does not say any more what it touched: from then
        on nobody can tell whether revisions follow each other.
        """
        if done.replayed is not None:
            self._file.put_fact(UNCHECKED, 1)
        recorded = {(one.collection, one.key): one.new_rev for one in step.changes}
        for effect in done.effects:
            self._file.put_head(_made(effect, recorded.get((effect.collection, effect.key))))

    async def _keep_what_is_known(self, step: Step) -> None:
        """The versions of a commit that are recorded; the others are lost, if no later one is."""
        documents: dict[str, dict[str, Document | None]] = {}
        for change in step.changes:
            self._file.put_head(change)
            if change.recorded:
                documents.setdefault(change.collection, {})[change.key] = change.new
        for collection, some in documents.items():
            await self._put(collection, some)


def _intent(step: Step) -> Record:
    if not step.intent:
        raise CannotRepeatError("its intent is not on the trail")
    return Record.read(step.intent)


def _made(effect: Effect, revision: str | None) -> Change:
    return Change(
        effect.collection, effect.key, effect.old_rev, revision, effect.new, recorded=True
    )


def _refuse_filled(target: str, names: Sequence[str]) -> None:
    if names:
        more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
        raise CollectionExists(
            f"{target} is not empty: it has {', '.join(names[:MAX_NAMED])}{more};"
            " a database is rebuilt into an empty one alone"
        )


def _refuse_failed(
    collection: str, keys: Iterable[str], results: Sequence[Any], *, but: str = ""
) -> None:
    for key, result in zip(keys, results, strict=True):
        error = result.get("error") if isinstance(result, dict) else None
        if error is not None and error.get("code") != but:
            kind = BY_CODE.get(str(error.get("code")), StoreFailure)
            raise kind(
                f"the target refuses {collection}/{key}: {error.get('message')}",
                details={"collection": collection, "_key": key},
            )
