"""A trail made without any gateway: real records and checkpoints, whose author can be dishonest.

Everything is signed with real keys; time goes on by a millisecond with each record.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from mallku_contracts import codec
from mallku_contracts.audit import Record, record_hash
from mallku_contracts.envelope import CommandHeader, command_signing_input, token_hash
from mallku_contracts.governed import Document, adopted
from mallku_contracts.identifiers import uuid7
from mallku_contracts.keys import SigningKey
from mallku_contracts.subjects import JOB, CommandSubject, audit_subject, inbox_prefix
from mallku_contracts.tokens import REPLY_AUDIENCE, Identity, issue_token
from mallku_contracts.trail import about_gateway
from mallku_contracts.trail.checkpoint import (
    NO_CHECKPOINT,
    Checkpoint,
    CheckpointHeader,
    record_leaf,
    seal_checkpoint,
)
from mallku_contracts.trail.entry import read_entry
from mallku_contracts.trail.gateway import Verb
from mallku_contracts.trail.merkle import root_of
from mallku_contracts.trail.resume import Resume
from mallku_contracts.trail.rotation import rotate_facts, sign_order
from mallku_contracts.trail.statement import Head, Statement, Vouch
from mallku_contracts.trail.stored import TrailEntry
from mallku_contracts.trail.verification import Extent, Report, Verifier
from mallku_contracts.trust import Trust

START_MS = 1_760_000_000_000
ISSUER = "https://made.example"
STREAM = "MALLKU_AUDIT"


def key_of(name: str) -> SigningKey:
    """The same key for the same name."""
    return SigningKey(record_hash(name.encode()))


ISSUER_KEY = key_of("issuer")
TRUST = Trust.of(ISSUER, ISSUER_KEY.public)
INSERT = CommandSubject.build("mallku", "mallku", "memory_anchors", "insert")


def worker_token(key: SigningKey, issuer: SigningKey = ISSUER_KEY, at_ms: int = START_MS) -> bytes:
    """A worker's token, an hour long from just before `at_ms`."""
    begin = at_ms // 1_000 - 60
    identity = Identity(
        issuer=ISSUER,
        audience=REPLY_AUDIENCE,
        principal="worker-1",
        roles=frozenset(),
        issued_at=begin,
        expires_at=begin + 3_600,
        token_id="token",
        key=key.public,
    )
    return issue_token(identity, issuer).encode()


@dataclass
class Author:
    """A worker instance as far as the trail knows it."""

    name: str
    key: SigningKey
    token: bytes
    number: int = 0
    checkpoint: int = 0
    previous: bytes = NO_CHECKPOINT
    covered: int = 0
    leaves: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    void: set[int] = field(default_factory=set)


class MadeTrail:
    """Both streams as lists, and workers that write into them.

    Attributes:
        records: The stream of records; position `n` has the sequence `n + 1` until it is changed.
        checkpoints: The stream of checkpoints.
    """

    def __init__(self, caller: SigningKey | None = None) -> None:
        self.records: list[TrailEntry] = []
        self.checkpoints: list[TrailEntry] = []
        self.authors: dict[str, Author] = {}
        self.caller = caller or key_of("caller")
        self.now_ms = START_MS
        self._ids = 0

    def author(self, name: str = "w1") -> Author:
        """The worker of this name, with a key of its own."""
        if name not in self.authors:
            key = key_of(name)
            self.authors[name] = Author(name, key, worker_token(key, at_ms=self.now_ms))
        return self.authors[name]

    def new_id(self) -> str:
        """A transmission's id."""
        self._ids += 1
        return uuid7(self.now_ms, self._ids)

    # records

    def write(self, worker: str, kind: str, place: CommandSubject, **fields: Any) -> Record:
        """One record, appended under the subject that fits `place`."""
        author = self.author(worker)
        author.number += 1
        self.now_ms += 1
        values: dict[str, Any] = {
            "id": "",
            "principal": place.principal,
            "subject": str(place),
        }
        values |= fields
        record = Record(kind=kind, worker=worker, number=author.number, time=self.now_ms, **values)
        self.store(audit_subject(place, kind), record)
        return record

    def store(self, subject: str, record: Record) -> TrailEntry:
        """Append a record as it is; its worker remembers it."""
        data = record.pack()
        entry = TrailEntry(len(self.records) + 1, subject, self.now_ms, data)
        self.records.append(entry)
        leaf = (entry.sequence, record_hash(data))
        self.author(record.worker).leaves.setdefault(record.number, leaf)
        return entry

    def start(self, worker: str = "w1") -> Record:
        """The worker's first record."""
        place = about_gateway(Verb.START)
        return self.write(worker, "done", place, subject="", facts={"store": "embedded"})

    def intend(self, worker: str = "w1", key: SigningKey | None = None, **fields: Any) -> Record:
        """An intent with a signature that holds."""
        signer = key or self.caller
        place: CommandSubject = fields.pop("place", INSERT)
        command = fields.pop("id", None) or self.new_id()
        header = self._header(place, command, signer)
        body = codec.pack({"document": {"_key": f"k{self._ids}", "kind": "khipu", "weight": 3}})
        protected = header.pack()
        signature = signer.sign(command_signing_input(str(place), protected, body))
        values: dict[str, Any] = {
            "id": command,
            "attempt": 1,
            "kid": signer.kid,
            "issuer": ISSUER,
            "roles": ("service",),
            "policy": 1,
            "rule": "service/documents",
            "bound": {"max_affected": 100},
            "command": (protected, body, signature, signer.public.raw),
            "steps": {"admit": 12, "open": 20, "identify": 130, "authorize": 41},
        }
        return self.write(worker, "intent", place, **(values | fields))

    def _header(self, place: CommandSubject, command: str, key: SigningKey) -> CommandHeader:
        return CommandHeader(
            v=1,
            kid=key.kid,
            id=command,
            iat=self.now_ms,
            exp=self.now_ms + 10_000,
            budget=10_000,
            attempt=1,
            op=place.operation,
            db=place.database,
            col=place.collection,
            idem=command,
            reply=inbox_prefix(place.principal),
            ath=token_hash(b"token"),
            run_at=0 if place.channel == JOB else None,
            order="" if place.channel == JOB else None,
        )

    def end(self, intent: Record, kind: str = "done", **fields: Any) -> Record:
        """The outcome of an intent."""
        values: dict[str, Any] = {
            "id": intent.id,
            "attempt": 1,
            "kid": intent.kid,
            "issuer": ISSUER,
            "roles": ("service",),
            "policy": 1,
            "rule": "service/documents",
            "steps": {**intent.steps, "execute": 210},
            "effects": (
                {
                    "collection": "memory_anchors",
                    "key": intent.id,
                    "old_rev": None,
                    "new_rev": "_k1",
                    "new": {"_key": intent.id, "kind": "khipu", "weight": 3},
                },
            ),
            "position": intent.number,
        }
        if kind != "done":
            values = values | {"effects": (), "position": None, "code": "unique_violation"}
        place = CommandSubject.parse(intent.subject)
        return self.write(intent.worker, kind, place, **(values | fields))

    def command(self, worker: str = "w1") -> tuple[Record, Record]:
        """An intent and its outcome."""
        intent = self.intend(worker)
        return intent, self.end(intent)

    def resolve(self, intent: Record, resolution: str, by: str = "w2", **fields: Any) -> Record:
        """What a reconciler found out about an intent."""
        sequence = self.author(intent.worker).leaves[intent.number][0]
        resolves = {"worker": intent.worker, "number": intent.number, "sequence": sequence}
        values: dict[str, Any] = {
            "id": intent.id,
            "kid": intent.kid,
            "resolves": resolves,
            "resolution": resolution,
        }
        place = CommandSubject.parse(intent.subject)
        return self.write(by, "resolved", place, **(values | fields))

    def rotate(self, worker: str = "w1", **changes: Any) -> Record:
        """The first record of the trail's second stream; `changes` are lies in its facts."""
        former = self.records[-1]
        order = sign_order(2, f"{STREAM}_2", 0, key_of("administrator"), issued_at=self.now_ms)
        heads = {name: self.head(name) for name, each in self.authors.items() if each.checkpoint}
        digest = record_hash(former.data)
        facts = rotate_facts(order, STREAM, former.sequence, digest, heads) | changes
        return self.write(worker, "done", about_gateway(Verb.ROTATE), subject="", facts=facts)

    def adopt(self, document: Document, worker: str = "w1", **changes: Any) -> Record:
        """A worker puts a document in force; `changes` are fields of the record."""
        place = adopted(document.kind, document.version)
        values: dict[str, Any] = {"subject": "", "command": document.parts, **changes}
        return self.write(worker, "done", place, **values)

    # checkpoints

    def checkpoint(self, worker: str = "w1", **changes: Any) -> Checkpoint:
        """The next checkpoint of a worker, over everything that it wrote; `changes` are lies.

        Their names are those of a statement's or a header's fields, `key` and `token`.
        """
        author = self.author(worker)
        self.now_ms += 1
        statement = self._statement(author, changes)
        header = self._next_header(author, changes)
        key = changes.get("key", author.key)
        checkpoint = seal_checkpoint(header, statement, key, changes.get("token", author.token))
        author.checkpoint, author.previous = header.number, checkpoint.hash
        author.covered = max(author.covered, statement.last)
        self.publish(checkpoint.subject, checkpoint.data)
        return checkpoint

    def _statement(self, author: Author, changes: dict[str, Any]) -> Statement:
        void = tuple(sorted(number for number in author.void if number > author.covered))
        numbers = range(author.covered + 1, author.number + 1)
        leaves = {n: author.leaves[n] for n in numbers if n not in void}
        statement = Statement(
            stream=STREAM,
            first=author.covered + 1,
            last=author.number,
            size=len(leaves),
            root=tree(leaves),
            void=void,
            sequence=max((leaf[0] for leaf in leaves.values()), default=0),
        )
        names = Statement.__slots__
        return replace(statement, **{name: changes[name] for name in changes if name in names})

    def _next_header(self, author: Author, changes: dict[str, Any]) -> CheckpointHeader:
        key = changes.get("key", author.key)
        header = CheckpointHeader(
            v=1,
            kid=key.kid,
            worker=author.name,
            number=author.checkpoint + 1,
            time=self.now_ms,
            previous=author.previous,
            ath=token_hash(changes.get("token", author.token)),
        )
        names = CheckpointHeader.__slots__
        return replace(header, **{name: changes[name] for name in changes if name in names})

    def publish(self, subject: str, data: bytes) -> None:
        """Append a message to the stream of checkpoints."""
        entry = TrailEntry(len(self.checkpoints) + 1, subject, self.now_ms, data)
        self.checkpoints.append(entry)

    def head(self, worker: str) -> Head:
        """How others name the worker's newest checkpoint."""
        author = self.author(worker)
        return Head(author.checkpoint, author.previous)

    def vouch(self, worker: str) -> Vouch:
        """What stands of a worker's tail."""
        author = self.author(worker)
        leaves = {n: leaf for n, leaf in author.leaves.items() if n > author.covered}
        sequence = max(leaf[0] for leaf in leaves.values())
        first, last = author.covered + 1, max(leaves)
        return Vouch(worker, first, last, len(leaves), tree(leaves), sequence)

    # verification

    def verifier(
        self, trust: Trust = TRUST, resume: Resume | None = None, **known: Any
    ) -> Verifier:
        """A verifier of the stream as it is now; `known` is what else the auditor knows."""
        first = self.records[0].sequence if self.records else 0
        last = self.records[-1].sequence if self.records else 0
        return Verifier(Extent(STREAM, START_MS - 1_000, first, last), trust, resume, **known)

    def verifier_after(self) -> Verifier:
        """A verifier that has read everything from the start."""
        verifier = self.verifier()
        feed(verifier, self.records, self.checkpoints)
        verifier.finish(self.now_ms)
        return verifier

    def verify(
        self,
        *,
        later_ms: int = 0,
        signatures: bool = True,
        verifier: Verifier | None = None,
    ) -> Report:
        """Feed everything to a verifier, `later_ms` after the newest record."""
        checking = verifier or self.verifier()
        feed(checking, self.records, self.checkpoints, signatures=signatures)
        return checking.finish(self.now_ms + later_ms)


def tree(leaves: dict[int, tuple[int, bytes]]) -> bytes:
    """The root over leaves by number."""
    return root_of(record_leaf(n, *leaf) for n, leaf in sorted(leaves.items()))


def feed(
    verifier: Verifier,
    records: list[TrailEntry],
    checkpoints: list[TrailEntry],
    *,
    signatures: bool = True,
) -> None:
    """Both streams in the order in which a reader feeds them: checkpoints a little ahead."""
    waiting = iter(checkpoints)
    for stored in records:
        while verifier.wants_checkpoint:
            following = next(waiting, None)
            if following is None:
                break
            verifier.checkpoint(following.sequence, following.subject, following.data)
        entry = read_entry(stored.sequence, stored.subject, stored.data, signatures=signatures)
        verifier.record(entry)
    for following in waiting:
        verifier.checkpoint(following.sequence, following.subject, following.data)
