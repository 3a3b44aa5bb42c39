"""The whole check: histories, trail, ledger and store in, a verdict out; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from mallku_deploy.checking import accounts
from mallku_deploy.checking.accounts import Remembered, Stored
from mallku_deploy.checking.findings import Kind, Verdict
from mallku_deploy.checking.history import Call, Histories, commands_of
from mallku_deploy.checking.linearizable import MAX_CONFIGURATIONS, Judgement, Operation, judge
from mallku_deploy.checking.parts import EMPTYING, Document, parts_of
from mallku_deploy.checking.register import ABSENT, ANYTHING, Part, Register, canonical
from mallku_deploy.checking.trail import Commit, Name, Told
from mallku_workers.rebuilding.steps import Change

_US_PER_MS: Final = 1_000
_Changes = Mapping[Document, list[tuple[Commit, Change]]]


@dataclass(frozen=True, slots=True)
class Material:
    """What is held against each other.

    Attributes:
        stored: What the store held when it was read; None where nobody looked.
        remembered: What the ledger said, by principal and idempotency key.
        now_ms: When the trail was read.
        skew_us: By how much clocks of clients, and of workers, may differ; every call is taken to
            have been under way for so much longer at both ends.
        max_configurations: How far the search goes for one document.
    """

    histories: Histories
    told: Told
    stored: Stored | None = None
    remembered: Mapping[Name, Remembered] = field(default_factory=dict[Name, Remembered])
    now_ms: int = 0
    skew_us: int = 0
    max_configurations: int = MAX_CONFIGURATIONS


def check(material: Material) -> Verdict:
    """Judge everything that can be judged."""
    verdict, told = Verdict(), material.told
    calls = material.histories.calls
    verdict.calls = Counter(call.outcome for call in calls)
    verdict.intents, verdict.commits = len(told.intents), sum(map(len, told.commits.values()))
    commands, changes = commands_of(calls), told.changes()
    accounts.judge_commands(commands, told, verdict)
    accounts.judge_answers(calls, verdict)
    accounts.judge_trail(told, verdict)
    accounts.judge_chains(changes, told, verdict)
    accounts.judge_ledger(material.remembered, told, material.now_ms, verdict)
    if material.stored is not None:
        accounts.judge_store(material.stored, changes, _doubtful(changes, material), verdict)
    _judge_order(commands, changes, material, verdict)
    return verdict


def documents_of(histories: Histories, told: Told) -> set[Document]:
    """Every document that a history or the trail names."""
    named = {document for call in histories.calls for document in parts_of(call)}
    return named | set(told.changes())


def _doubtful(changes: _Changes, material: Material) -> set[Document]:
    """Documents to which something may have been done that nobody knows the end of."""
    told = material.told
    reaches = [
        told.reach_of((intent.name[0], intent.id))
        for intent in told.open_intents(young=True)
        if intent.mutates
    ]
    named = {document for reach in reaches for document in reach.documents}
    fresh = {place for reach in reaches for place in reach.fresh}
    anything = accounts.emptied_collections(told)
    anything |= {place for reach in reaches for place in reach.anything}
    anything |= {
        (commit.intent.subject.database, commit.intent.subject.collection)
        for commit in told.all_commits()
        if not commit.complete
    }
    return named | {
        document
        for document in {*changes, *(material.stored.documents if material.stored else ())}
        if not anything.isdisjoint({document[:2], (document.database, "@")})
        or (document not in changes and document[:2] in fresh)
    }


def _judge_order(
    commands: Iterable[Call], changes: _Changes, material: Material, verdict: Verdict
) -> None:
    if material.histories.cut:
        clients = ", ".join(sorted(material.histories.cut))
        verdict.add(Kind.UNDECIDED, "", f"the histories of {clients} were cut: calls are missing")
        return
    collected = _Collected(commands, changes, material)
    for document, operations in sorted(collected.operations.items()):
        verdict.documents += 1
        verdict.operations += len(operations)
        if document.collection in material.told.ruled:
            why = "rules let callers see or write something else than is there"
            result = Judgement(linear=None, text=why)
        else:
            initial = _initial(changes.get(document))
            result = judge(operations, initial, max_configurations=material.max_configurations)
        if result.linear is None:
            verdict.add(Kind.UNDECIDED, str(document), result.text)
        elif not result.linear:
            verdict.add(Kind.ORDER, str(document), result.text)


def _initial(changes: list[tuple[Commit, Change]] | None) -> Register:
    """What stood there before the first commit: what that was made of."""
    if not changes:
        return ANYTHING
    found = changes[0][1].old_rev
    return ABSENT if found is None else Register(there=True, rev=found)


class _Collected:
    """The operations on each document, from histories, from the trail, and the last look at it.

    What stands on the trail and in no history was asked for by somebody who keeps none.
    """

    def __init__(self, commands: Iterable[Call], changes: _Changes, material: Material) -> None:
        self.operations: dict[Document, list[Operation]] = {}
        self._skew_us = material.skew_us
        self._nameless: dict[Name, Call] = {}
        told, known = material.told, set[Name]()
        for call in commands:
            parts = parts_of(call)
            if call.mutates and not parts:  # the trail knows which documents it was about
                self._nameless[call.name] = call
            elif call.mutates:
                known.add(call.name)
            for document, operation in parts.items():
                self._add(document, operation)
        self._add_commits(told, known)
        self._add_emptying(told, changes)
        if material.stored is not None:
            self._look(material.stored, _doubtful(changes, material))

    def _add(self, document: Document, operation: Operation) -> None:
        end = None if operation.end is None else operation.end + self._skew_us
        wider = Operation(operation.begin - self._skew_us, end, operation.ways, operation.label)
        self.operations.setdefault(document, []).append(wider)

    def _add_commits(self, told: Told, known: set[Name]) -> None:
        for commit in told.all_commits():
            if commit.intent.name in known:
                continue
            call = self._nameless.get(commit.intent.name)
            parts: dict[Document, tuple[Part, ...]] = {}
            for change in commit.changes:
                document = Document(commit.intent.subject.database, change.collection, change.key)
                parts[document] = (*parts.get(document, ()), _part(change))
            for document, way in parts.items():
                begin, end = _interval(commit, call)
                self._add(document, Operation(begin, end, (way,), commit.label))

    def _add_emptying(self, told: Told, changes: _Changes) -> None:
        for name, intent in told.intents.items():
            if intent.subject.operation not in EMPTYING:
                continue
            place = (intent.subject.database, intent.subject.collection)
            # Whatever became of it: it may have removed the document at any time since.
            way = (Part("remove"),)
            operation = Operation(intent.time * _US_PER_MS, None, (way,), f"{name[1]} emptied it")
            for document in {*self.operations, *changes}:
                if (document.database, document.collection) == place:
                    self._add(document, operation)

    def _look(self, stored: Stored, doubtful: set[Document]) -> None:
        for document, holds in stored.documents.items():
            if document in doubtful:
                continue
            if holds is None:
                part = Part("see", there=False)
            else:
                part = Part("see", True, holds.get("_rev"), canonical(holds))
            look = Operation(stored.begin, stored.end, ((part,),), "the store, read at the end")
            self._add(document, look)


def _interval(commit: Commit, call: Call | None) -> tuple[int, int | None]:
    """When a commit may have happened: while its caller waited, or between its records.

    A worker's record of the outcome follows the commit, and may be written by a reconciler.
    """
    if call is not None:
        return call.begin, (call.end if call.outcome == "done" else None)
    return commit.intent.time * _US_PER_MS, (commit.end + 1) * _US_PER_MS


def _part(change: Change) -> Part:
    there = change.old_rev is not None
    if change.new_rev is None:
        return Part("remove", there, change.old_rev)
    body = canonical(change.new) if isinstance(change.new, dict) else None
    return Part("put", there, change.old_rev, new_rev=change.new_rev, body=body)
