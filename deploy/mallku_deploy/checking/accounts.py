"""Whether every acknowledged effect is there, once, and had its intent: the books are balanced."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mallku_contracts.audit import Resolution
from mallku_deploy.checking.findings import Kind, Verdict
from mallku_deploy.checking.history import Call
from mallku_deploy.checking.parts import EMPTYING, Document
from mallku_deploy.checking.trail import Commit, Name, Told, is_catalog
from mallku_workers.ledger import entry_life_ms
from mallku_workers.rebuilding.steps import Change

_US_PER_MS = 1_000


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store holds of some documents, and when that was read, microseconds.

    Attributes:
        documents: What stands there, None for those that are not.
        cut: Collections with so many documents that not all were listed.
    """

    begin: int
    end: int
    documents: Mapping[Document, dict[str, Any] | None] = field(
        default_factory=dict[Document, dict[str, Any] | None]
    )
    cut: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the ledger said of a command: the transmission that committed, None for none."""

    id: str | None


def judge_commands(commands: Iterable[Call], told: Told, verdict: Verdict) -> None:
    """Each command of the histories against the trail."""
    for call in commands:
        if call.outcome == "done":
            _judge_done(call, told, verdict)
        elif call.outcome == "failed" and call.mutates and not _conflicts(call):
            for commit in told.commits.get(call.name, ()):
                if commit.changes:
                    text = f"{call}, and the trail has {commit.label}"
                    verdict.add(Kind.REFUSED_BUT_DONE, call.idempotency_key, text)


def _conflicts(call: Call) -> bool:
    return call.code == "idempotency_conflict"


def _judge_done(call: Call, told: Told, verdict: Verdict) -> None:
    answered = call.answered_id
    if answered and (call.principal, answered) not in told.intents:
        verdict.add(Kind.WITHOUT_INTENT, call.idempotency_key, f"{call}: answered without intent")
        return
    if not call.mutates or (call.operation == "aql" and call.receipt is None):
        return  # a query without a receipt only read
    if not told.commits.get(call.name):
        text = f"{call}: acknowledged, and no outcome on the trail says so"
        verdict.add(Kind.LOST, call.idempotency_key, text)
    _judge_receipt(call, told, verdict)


def _judge_receipt(call: Call, told: Told, verdict: Verdict) -> None:
    receipt = call.receipt
    if receipt is None or receipt["sequence"] not in told.records:
        if receipt is not None:
            text = f"{call}: its receipt names record {receipt['sequence']}, which is not there"
            verdict.add(Kind.RECEIPT, call.idempotency_key, text)
        return
    if told.records[receipt["sequence"]] != receipt["hash"]:
        text = f"{call}: record {receipt['sequence']} is another one than its receipt says"
        verdict.add(Kind.RECEIPT, call.idempotency_key, text)


def judge_answers(calls: Iterable[Call], verdict: Verdict) -> None:
    """Calls with one idempotency key were told of one effect: the same revision."""
    first: dict[Name, tuple[str, Call]] = {}
    for call in calls:
        if call.outcome != "done" or not call.mutates or not isinstance(call.result, dict):
            continue
        rev = call.result.get("_rev")
        if rev is None:
            continue
        known = first.setdefault(call.name, (rev, call))
        if known[0] != rev:
            text = f"{call} was told {rev}, {known[1]} was told {known[0]}"
            verdict.add(Kind.TWICE, call.idempotency_key, text)


def judge_trail(told: Told, verdict: Verdict) -> None:
    """The trail by itself: one effect for each key, an intent for each effect, an end for each."""
    for (principal, key), commits in told.commits.items():
        effective = [one for one in commits if one.changes and not _may_repeat(one)]
        for former, later in itertools.pairwise(effective):
            if later.intent.time - former.intent.time < entry_life_ms(key):
                text = f"{principal}'s command had its effect as {former.label} and {later.label}"
                verdict.add(Kind.TWICE, key, text)
    if told.unreadable:
        verdict.add(Kind.TRAIL, "", f"{told.unreadable} messages of the trail cannot be read")
    for record in told.without_intent:
        text = f"{record.principal}'s {record.id} is done and was never intended"
        verdict.add(Kind.WITHOUT_INTENT, record.id, text)
    for record in told.replays:
        if (record.principal, record.replayed_of or "") not in told.intents:
            text = f"{record.id} was answered from memory of {record.replayed_of}, never intended"
            verdict.add(Kind.WITHOUT_INTENT, record.id, text)
    for intent in told.open_intents():
        pending = told.ended.get((intent.name[0], intent.id)) == Resolution.PENDING
        kind, what = (Kind.PENDING, "nobody can know yet") if pending else (Kind.OPEN, "no outcome")
        text = f"{intent.name[0]}'s {intent.subject.operation} {intent.id} at {intent.sequence}"
        verdict.add(kind, intent.id, f"{text}: {what}")


def _may_repeat(commit: Commit) -> bool:
    return is_catalog(commit.intent.subject.operation)


def judge_chains(
    changes: Mapping[Document, list[tuple[Commit, Change]]], told: Told, verdict: Verdict
) -> None:
    """Each commit was made of what the one before it left; collections that were emptied aside."""
    emptied = emptied_collections(told)
    for document, several in changes.items():
        if (document.database, document.collection) in emptied:
            continue
        for (former, left), (later, found) in itertools.pairwise(several):
            if found.old_rev != left.new_rev:
                text = (
                    f"{later.label} was made of revision {found.old_rev}, "
                    f"and {former.label} left {left.new_rev}"
                )
                verdict.add(Kind.CHAIN, str(document), text)


def emptied_collections(told: Told) -> set[tuple[str, str]]:
    """Collections that a command may have emptied, which names no documents."""
    return {
        (intent.subject.database, intent.subject.collection)
        for intent in told.intents.values()
        if intent.subject.operation in EMPTYING
    }


def judge_store(
    stored: Stored,
    changes: Mapping[Document, list[tuple[Commit, Change]]],
    doubtful: set[Document],
    verdict: Verdict,
) -> None:
    """What the store holds against the last commits; the `doubtful` are left out."""
    for collection in sorted(stored.cut):
        text = "it has too many documents to look at all of them"
        verdict.add(Kind.UNDECIDED, collection, text)
    verdict.looked = len(stored.documents)
    for document, holds in stored.documents.items():
        several = changes.get(document, [])
        late = several and several[-1][0].end * _US_PER_MS >= stored.begin
        if document in doubtful or late:
            continue
        verdict.compared += 1
        rev = None if holds is None else holds.get("_rev")
        wanted = several[-1][1].new_rev if several else None
        if rev == wanted:
            continue
        known = {change.new_rev for _, change in several}
        if several and (rev is None or rev in known):
            text = f"{several[-1][0].label} left {wanted}, and the store holds {rev}"
            verdict.add(Kind.LOST, str(document), text)
        elif several or rev is not None:
            text = f"the store holds revision {rev}, which no command on the trail made"
            verdict.add(Kind.STORE, str(document), text)


def judge_ledger(
    remembered: Mapping[Name, Remembered], told: Told, now_ms: int, verdict: Verdict
) -> None:
    """What the ledger remembers against the trail, as long as it has to remember."""
    for name, entry in remembered.items():
        commits = told.commits.get(name, [])
        transmissions = {commit.intent.id for commit in commits}
        if entry.id is not None and entry.id not in transmissions:
            if (name[0], entry.id) not in told.intents:
                text = f"the ledger says {entry.id} did it, which has no intent"
                verdict.add(Kind.WITHOUT_INTENT, name[1], text)
            elif told.ended.get((name[0], entry.id)) not in (None, Resolution.PENDING):
                text = f"the ledger says {entry.id} did it, and the trail does not"
                verdict.add(Kind.LEDGER, name[1], text)
        recent = [one for one in commits if now_ms - one.intent.time < entry_life_ms(name[1]) / 2]
        effective = [one for one in recent if one.changes and not _may_repeat(one)]
        if entry.id is None and effective:
            text = f"the trail has {effective[0].label}, and the ledger does not know of it"
            verdict.add(Kind.LEDGER, name[1], text)
