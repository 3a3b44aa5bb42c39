"""The verifier: fed with the two streams of the trail, it says what is wrong with them.

A pure state machine. Whoever reads the streams feeds checkpoints somewhat ahead of the records
(`wants_checkpoint` says when), both in the order of their sequences, and then calls `finish`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from mallku_contracts.audit import record_hash
from mallku_contracts.governed import GATEWAY
from mallku_contracts.governed import Kind as Governed
from mallku_contracts.limits import MAX_CLOCK_SKEW_MS
from mallku_contracts.trail.chains import Chains, points_of
from mallku_contracts.trail.checkpoint import CheckpointOpener
from mallku_contracts.trail.coverage import LATE_VOID_MS, Coverage
from mallku_contracts.trail.entry import Entry
from mallku_contracts.trail.findings import Findings, Kind
from mallku_contracts.trail.governing import Adopted
from mallku_contracts.trail.intents import Intents
from mallku_contracts.trail.resume import Resume, WorkerPoint
from mallku_contracts.trust import Keys, Trust

MAX_AHEAD: Final = 256
"""Checkpoints that are fed ahead of the records which they cover."""

MAX_ENDED_KEPT: Final = 2_000
"""Ended intents that the next verification is told of."""

REVOKED_WITHIN_MS: Final = 60_000
"""A worker may write for so long after its key was revoked, until it heard of that; ms."""

MAX_KEYS_SHOWN: Final = 1_000
"""Callers' keys that are listed in a report."""


@dataclass(frozen=True, slots=True)
class Extent:
    """The stream of records, as its server describes it.

    Attributes:
        name: Its name.
        created: When it was created, Unix milliseconds.
        first: The sequence of its first message; 0 while it never had one.
        last: The sequence of its last message; 0 while it never had one.
    """

    name: str
    created: int
    first: int
    last: int


@dataclass(slots=True)
class Report:
    """What a verification saw.

    Attributes:
        first: The sequence of the first record that was read; 0 for none.
        last: That of the last.
        records: How many were read.
        kinds: How many of each kind; a summary counts as what it sums up.
        signatures: How many callers' signatures were checked.
        hidden: How many intents hold no signature, for their collections must not be copied.
        checkpoints: How many checkpoints were believed.
        covered: How many records are under their roots.
        workers: What is known of each worker.
        keys: Which keys signed in each principal's name.
        findings: What was found.
    """

    first: int = 0
    last: int = 0
    records: int = 0
    kinds: Counter[str] = field(default_factory=Counter[str])
    signatures: int = 0
    hidden: int = 0
    checkpoints: int = 0
    covered: int = 0
    workers: Mapping[str, WorkerPoint] = field(default_factory=dict[str, WorkerPoint])
    keys: defaultdict[str, set[str]] = field(
        default_factory=lambda: defaultdict[str, set[str]](set)
    )
    findings: Findings = field(default_factory=Findings)

    @property
    def clean(self) -> bool:
        """Whether nothing was found that is not as it has to be."""
        return not self.findings.accused


class Verifier:
    """Verifies one trail; `resume` is what an earlier verification of it left.

    Args:
        audit: The stream of records; nothing behind its `last` will be fed.
        trust: Whose tokens workers may have.
        seams: Where the streams begin that the trail is made of: which one, counted from 1, by its
            first sequence. None where that is not known, and records alone say it.
        administrators: Whose documents may govern; None where the auditor does not know.
    """

    def __init__(
        self,
        audit: Extent,
        trust: Trust,
        resume: Resume | None = None,
        seams: Mapping[int, int] | None = None,
        administrators: Keys | None = None,
    ) -> None:
        self._audit = audit
        self._administrators = administrators
        self._seams = seams
        self._resume = resume or Resume()
        self._report = Report()
        self._first_ms = self._last_ms = self._resume.time
        self._position = self._resume.sequence
        self._hash = self._resume.hash
        self._checkpoints = self._resume.checkpoints
        self._revoked, self._revocations = self._resume.revoked, self._resume.revocations
        self._known: dict[int, list[tuple[bytes, str]]] = {}
        findings = self._report.findings
        self._points = points_of(_copies(self._resume.workers))
        self._intents = Intents(findings, self._resume.time)
        self._chains = Chains(findings, self._points, CheckpointOpener(trust), audit.name)
        self._coverage = Coverage(findings, self._points, audit.last, self._intents.void)
        self._intents.go_on(self._resume.open, self._resume.pending, self._resume.ended)
        self._look_at_stream(audit)

    @property
    def findings(self) -> Findings:
        """What was found so far."""
        return self._report.findings

    @property
    def last(self) -> int:
        """The sequence of the last record that is to be fed."""
        return self._audit.last

    @property
    def wants_checkpoint(self) -> bool:
        """Whether checkpoints should be fed before more records are."""
        return self._coverage.waiting < MAX_AHEAD

    def expect_checkpoint(self, worker: str, number: int, digest: bytes, origin: str) -> None:
        """`origin`, a text for people, holds a checkpoint of this SHA-256: it has to be there."""
        if not self._chains.expect(worker, number, digest, origin):
            text = (
                f"{origin} names checkpoint {number} of {worker}, which was read by an earlier"
                " verification; reading from the start holds it against what stands there"
            )
            self.findings.note(Kind.UNCHECKED, text, worker=worker, number=number)

    def expect_record(self, sequence: int, digest: bytes, origin: str) -> None:
        """`origin` holds a receipt of the record of this SHA-256 at this sequence."""
        if sequence > self._audit.last:
            self.expect_sequence(sequence, origin)
        elif sequence == self._position:
            self._compare(sequence, self._hash, digest, origin)
        elif sequence < self._position:
            text = f"{origin} names record {sequence}, which was read by an earlier verification"
            self.findings.note(Kind.UNCHECKED, text, sequence=sequence)
        else:
            self._known.setdefault(sequence, []).append((digest, origin))

    def expect_sequence(self, sequence: int, origin: str) -> None:
        """`origin` knows of a record at this sequence: the stream cannot end before it."""
        if sequence > self._audit.last:
            text = f"{origin} knows of record {sequence}; the stream ends at {self._audit.last}"
            self.findings.note(Kind.TRUNCATED, text, sequence=sequence)

    def expect_created(self, created: int, origin: str) -> None:
        """`origin` has seen the stream: it was created then, Unix milliseconds."""
        if created != self._audit.created:
            text = f"{origin} has seen another stream of this name, created at another time"
            self.findings.note(Kind.RECREATED, text)

    def anchor(self, data: bytes | None) -> None:
        """Hold the last record that the earlier verification read against what stands there now."""
        if data is None or record_hash(data) != self._resume.hash:
            text = "another record stands where the earlier verification read its last one"
            self.findings.note(Kind.RECREATED, text, sequence=self._resume.sequence)

    def checkpoint(self, sequence: int, subject: str, data: bytes) -> None:
        """Take the next message of the stream of checkpoints."""
        self._checkpoints = sequence
        checkpoint = self._chains.take(sequence, subject, data)
        if checkpoint is not None:
            self._coverage.checkpoint(checkpoint)
            self._coverage.advance(self._position)

    def record(self, entry: Entry) -> None:
        """Take the next record, as `read_entry` made it."""
        self._count(entry)
        for problem in entry.problems:
            self.findings.add(problem)
        self._look_at_seam(entry)
        if entry.adopted is not None:
            self._look_at_document(entry, entry.adopted)
        self._look_at_sequence(entry)
        void = self._coverage.is_void(entry.worker, entry.number)
        if entry.worker and self._coverage.record(entry):
            self._intents.record(entry)
            if void:
                self._intents.void(entry.worker, entry.number)
        self._coverage.advance(entry.sequence)

    def finish(self, now_ms: int) -> Report:
        """Everything was fed: what is there to say; `now_ms` is the auditor's clock, Unix ms."""
        self._look_at_end()
        self._look_at_revoked()
        self._coverage.finish(now_ms)
        self._chains.finish()
        self._intents.finish(now_ms)
        for sequence, known in self._known.items():
            for _, origin in known:
                text = f"{origin} names record {sequence}, and no record stands there"
                self.findings.note(Kind.GAP, text, sequence=sequence)
        report = self._report
        report.checkpoints, report.covered = self._chains.believed, self._coverage.covered
        report.workers = self._points
        return report

    def resume(self) -> Resume:
        """What the next verification has to know, once this one is finished."""
        return Resume(
            self._position,
            self._hash,
            self._checkpoints,
            self._last_ms,
            {worker: _lasting(point, self._last_ms) for worker, point in self._points.items()},
            self._intents.open,
            self._intents.pending,
            self._intents.ended(MAX_ENDED_KEPT),
            self._revoked,
            self._revocations,
        )

    def _look_at_stream(self, audit: Extent) -> None:
        if audit.first > 1:
            text = f"the stream begins with sequence {audit.first}; what was before it is gone"
            self.findings.note(Kind.BEGINNING, text, sequence=audit.first)
        if audit.last < self._resume.sequence:
            self.expect_sequence(self._resume.sequence, "an earlier verification")

    def _look_at_end(self) -> None:
        """Everything up to the end was fed: what did not come does not stand there."""
        begin, last = self._position + 1, self._audit.last
        if begin <= last:
            self._miss(begin, last)

    def _miss(self, begin: int, last: int) -> None:
        gone = str(begin) if begin == last else f"{begin}-{last}"
        text = f"no message stands at sequence {gone}: it was deleted, or the server lost it"
        self.findings.note(Kind.GAP, text, sequence=begin)

    def _look_at_document(self, entry: Entry, adopted: Adopted) -> None:
        """What governs has to be an administrator's; what it revokes counts from then on."""
        if self._administrators is not None and adopted.kid not in self._administrators:
            text = f"{adopted.kind} {adopted.version} is signed with {adopted.kid}, which no"
            self.findings.at(entry, Kind.UNGOVERNED, f"{text} administrator has")
        elif adopted.kind is Governed.KEYS and adopted.version >= self._revocations:
            self._revoked, self._revocations = adopted.revoked, adopted.version

    def _look_at_revoked(self) -> None:
        for worker, point in self._points.items():
            since = self._revoked.get(point.kid)
            if since is not None and point.newest > since + REVOKED_WITHIN_MS:
                late = (point.newest - since) // 1_000
                text = f"{worker} wrote records until {late} s after its key was revoked"
                self.findings.note(Kind.REVOKED_KEY, text, worker=worker)

    def _look_at_seam(self, entry: Entry) -> None:
        """A stream of the trail begins with a record that says what was before it."""
        said, known = entry.rotation, self._seams
        generation = None if known is None else known.get(entry.sequence)
        follows = self._position == entry.sequence - 1
        if said is None:
            if generation is not None:
                text = f"stream {generation} of the trail begins here, and no record says so"
                self.findings.at(entry, Kind.SEAM, text)
        elif known is not None and said.generation != generation:
            text = f"it says that stream {said.generation} of the trail begins, which does not here"
            self.findings.at(entry, Kind.SEAM, text)
        elif said.last != entry.sequence - 1 or (follows and said.hash != self._hash):
            text = f"it says that another record, at {said.last}, was the last one before"
            self.findings.at(entry, Kind.SEAM, text)

    def _look_at_sequence(self, entry: Entry) -> None:
        """Sequences go up one by one: a record that the server skips was taken out of its files."""
        begin = self._position + 1 if self._position else max(self._audit.first, 1)
        if entry.sequence != begin:
            self._miss(begin, entry.sequence - 1)
        self._position, self._hash = entry.sequence, entry.hash
        for known in self._known.pop(entry.sequence, ()):
            self._compare(entry.sequence, entry.hash, *known)

    def _compare(self, sequence: int, held: bytes, named: bytes, origin: str) -> None:
        if held != named:
            text = f"{origin} names another record than the one that stands at {sequence}"
            self.findings.note(Kind.EDITED, text, sequence=sequence)

    def _count(self, entry: Entry) -> None:
        report = self._report
        if not report.records:
            report.first = entry.sequence
        report.last = entry.sequence
        report.records += 1
        report.signatures += entry.signed
        report.hidden += entry.hidden
        if not entry.worker:
            return
        report.kinds[entry.kind if entry.principal != GATEWAY else "gateway"] += entry.stands_for
        if not self._first_ms:
            self._begin(entry.time)
        self._last_ms = max(self._last_ms, entry.time)
        if entry.kind == "intent":
            keys = report.keys[entry.principal]
            if len(keys) < MAX_KEYS_SHOWN:
                keys.add(entry.kid)

    def _begin(self, time_ms: int) -> None:
        """The first record of all: the stream has to be older."""
        self._first_ms = time_ms
        self._intents.begin(time_ms)
        if self._audit.created > time_ms + 2 * MAX_CLOCK_SKEW_MS:
            late = (self._audit.created - time_ms) // 1_000
            text = f"the stream was created {late} s after its first record was written"
            self.findings.note(Kind.RECREATED, text)


def _copies(workers: Mapping[str, WorkerPoint]) -> dict[str, WorkerPoint]:
    """Points that may be changed while the former ones stay as they are."""
    return {
        worker: replace(
            point, leaves=dict(point.leaves), copies=dict(point.copies), void=dict(point.void)
        )
        for worker, point in workers.items()
    }


def _lasting(point: WorkerPoint, now_ms: int) -> WorkerPoint:
    """A point without the void numbers whose record can arrive no more."""
    void = {n: since for n, since in point.void.items() if now_ms - since <= LATE_VOID_MS}
    return replace(point, void=void)
