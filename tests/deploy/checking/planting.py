"""A small gateway that keeps its promises, with histories and a trail; tests plant anomalies."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

from mallku_contracts import codec
from mallku_contracts.audit import Record, Resolution
from mallku_contracts.envelope import (
    CommandHeader,
)
from mallku_contracts.identifiers import uuid7
from mallku_contracts.protected import VERSION
from mallku_deploy.checking.accounts import Remembered, Stored
from mallku_deploy.checking.checker import Material, check
from mallku_deploy.checking.findings import Kind, Verdict
from mallku_deploy.checking.history import Call, Histories
from mallku_deploy.checking.parts import Document
from mallku_deploy.checking.trail import Name, Told

PRINCIPAL, DATABASE, COLLECTION = "mallku", "mallku", "anchors"
SECOND = 1_000_000
"""One second of the histories' clock, microseconds."""


@dataclass
class Plot:
    """What happened: calls, records and documents, which tests bend before they are checked.

    Every call takes a second of its own, unless it is told otherwise.
    """

    calls: list[Call] = field(default_factory=list[Call])
    records: list[Record] = field(default_factory=list[Record])
    documents: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    ledger: dict[Name, Remembered] = field(default_factory=dict[Name, Remembered])
    looked: bool = True
    clock: int = 1_000

    def insert(self, key: str, **body: Any) -> Call:
        """A new document."""
        return self.write("insert", {"document": {"_key": key, **body}}, key, body)

    def replace(self, key: str, **body: Any) -> Call:
        """Another one in its place."""
        return self.write("replace", {"document": {"_key": key, **body}}, key, body)

    def update(self, key: str, **body: Any) -> Call:
        """Some attributes changed."""
        old = {name: value for name, value in self.documents[key].items() if name[0] != "_"}
        return self.write("update", {"document": {"_key": key, **body}}, key, old | body)

    def delete(self, key: str) -> Call:
        """A document removed."""
        return self.write("delete", {"document": key}, key, None)

    def get(self, key: str) -> Call:
        """What stands there."""
        call = self._call("get", {"document": key}, self.documents.get(key))
        self._intend(call)
        self._outcome(call, kind="done")
        return call

    def write(
        self,
        operation: str,
        arguments: dict[str, Any],
        key: str,
        body: dict[str, Any] | None,
        collection: str = COLLECTION,
    ) -> Call:
        """A mutation that does as it is told, and says so everywhere."""
        before = self.documents.get(key)
        position = len(self.records) + 1
        rev = None if body is None else f"r{position}"
        meta = {
            "_id": f"{COLLECTION}/{key}",
            "_key": key,
            "_rev": rev or (before or {}).get("_rev"),
        }
        result = meta if before is None or body is None else meta | {"_old_rev": before["_rev"]}
        call = self._call(operation, arguments, result, collection)
        self._intend(call)
        effect = {
            "collection": COLLECTION,
            "key": key,
            "old_rev": before and before["_rev"],
            "new_rev": rev,
            "new": None if body is None else meta | body,
        }
        self._outcome(call, kind="done", effects=(effect,), position=position)
        if body is None:
            self.documents.pop(key)
        else:
            self.documents[key] = meta | body
        self.ledger[call.name] = Remembered(call.id)
        return call

    def change(self, call: Call, **fields: Any) -> Call:
        """Let a history say something else about a call."""
        changed = replace(call, **fields)
        self.calls[self.calls.index(call)] = changed
        return changed

    def forget(self, call: Call, *kinds: str) -> None:
        """Take records about a call from the trail."""
        self.records = [
            record for record in self.records if record.id != call.id or record.kind not in kinds
        ]

    def record_of(self, call: Call, kind: str) -> Record:
        """The record of this kind about a call."""
        return next(one for one in self.records if (one.id, one.kind) == (call.id, kind))

    def resolve(self, call: Call, resolution: Resolution, effects: Any = ()) -> None:
        """A reconciler's word on it, in the place of its outcome."""
        self._outcome(call, kind="resolved", resolution=resolution, effects=tuple(effects))

    def refuse_copy(self, call: Call, code: str, worker: str) -> None:
        """A copy of its bytes was refused, before anybody said what became of it."""
        self._outcome(call, kind="denied", code=code, worker=worker)

    def told(self) -> Told:
        """What a reader of the trail knows."""
        told = Told()
        for sequence, record in enumerate(self.records, 1):
            told.records[sequence] = _hash(record)
            told.add(sequence, record)
        return told

    def check(self, **changes: Any) -> Verdict:
        """What the checker finds."""
        told = self.told()
        stored = None
        if self.looked:
            names = {*self.documents, *(document.key for document in told.changes())}
            holds = {
                Document(DATABASE, COLLECTION, name): self.documents.get(name) for name in names
            }
            stored = Stored((self.clock + 2) * SECOND, (self.clock + 3) * SECOND, holds)
        material = Material(
            Histories(sorted(self.calls, key=lambda call: call.begin)),
            told,
            stored,
            self.ledger,
            now_ms=self.clock * 1_000,
        )
        return check(replace(material, **changes))

    def kinds(self, **changes: Any) -> set[Kind]:
        """The kinds of what it finds."""
        return {finding.kind for finding in self.check(**changes).findings}

    def _call(
        self,
        operation: str,
        arguments: dict[str, Any],
        result: Any,
        collection: str = COLLECTION,
    ) -> Call:
        self.clock += 2
        number = len(self.calls) + 1
        transmission = uuid7(self.clock * 1_000)
        call = Call(
            client=f"c{number}",
            number=number,
            principal=PRINCIPAL,
            database=DATABASE,
            collection=collection,
            operation=operation,
            mutates=operation not in ("get", "exists"),
            idempotency_key=f"key-{number}",
            id=transmission,
            answered_id=transmission,
            arguments=arguments,
            begin=self.clock * SECOND,
            end=(self.clock + 1) * SECOND,
            outcome="done",
            attempts=1,
            result=result,
        )
        self.calls.append(call)
        return call

    def _intend(self, call: Call) -> None:
        header = CommandHeader(
            v=VERSION,
            kid="k",
            id=call.id,
            iat=call.begin // 1_000,
            exp=call.begin // 1_000 + 10_000,
            budget=10_000,
            attempt=1,
            op=call.operation,
            db=call.database,
            col=call.collection,
            idem=call.idempotency_key,
            reply="_INBOX_mallku.mallku",
            ath=bytes(32),
        )
        body = codec.pack(call.arguments)
        self._record(call, kind="intent", command=(header.pack(), body, b"", bytes(32)))

    def _outcome(self, call: Call, **fields: Any) -> None:
        self._record(call, **fields)
        if call.mutates and fields["kind"] == "done":
            receipt = {
                "stream": "MALLKU_AUDIT",
                "sequence": len(self.records),
                "hash": _hash(self.records[-1]),
            }
            # In place: whoever made the call holds it already.
            object.__setattr__(call, "receipt", receipt)

    def _record(self, call: Call, **fields: Any) -> None:
        named: dict[str, Any] = {
            "worker": "w",
            "number": len(self.records) + 1,
            "time": self.clock * 1_000 + 500,
            "id": call.id,
            "principal": call.principal,
            "rule": "service/documents",
            "subject": f"mallku.v1.cmd.{call.principal}.{call.database}.{call.collection}"
            f".{call.operation}",
        }
        self.records.append(Record(**(named | fields)))


def _hash(record: Record) -> str:
    return hashlib.sha256(record.pack()).hexdigest()
