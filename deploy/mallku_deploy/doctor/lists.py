"""What nobody may publish or subscribe to, kind by kind: a pure table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from mallku_broker.accounts import (
    AUDITED_STREAMS,
    AUDITOR_PREFIX,
)
from mallku_broker.advisories import ADVISORIES, advisory_subjects
from mallku_broker.permissions import (
    READ_QUEUE,
    SERVICE,
    WORKER_INBOX_PREFIX,
    WRITE_QUEUE,
    callers_of,
    principal_permissions,
)
from mallku_broker.streams import (
    AUDIT,
    CHECKPOINTS,
    DEAD,
    FLAGS,
    JOBS,
    KEYS,
    POLICY,
    RATES,
    RESULTS,
)
from mallku_contracts.operations import OPERATIONS, Scope
from mallku_contracts.policy import Policy
from mallku_contracts.subjects import INBOX_ROOT, NO_COLLECTION, PREFIX, STORED, inbox_prefix
from mallku_deploy.doctor.attempts import Attempt, Kind, Probe, Publish, Subscribe

MAX_SAMPLES: Final = 12
"""Subjects of one principal that stand for all of them."""

MAX_OTHERS: Final = 24
"""Other principals whose subjects one principal tries."""

BUCKETS: Final = (POLICY, KEYS, FLAGS, RESULTS)
STREAMS: Final = (AUDIT, CHECKPOINTS, JOBS, DEAD, RATES, *(f"KV_{name}" for name in BUCKETS))
API: Final = "$JS.API"

_DESTROYING: Final = ("STREAM.DELETE", "STREAM.PURGE", "STREAM.MSG.DELETE")
_SHORTENING: Final = (
    "administrators look after streams, and a lower limit shortens one;"
    " checkpoints and receipts show it"
)


class Sample(NamedTuple):
    """What a principal may do, with a random name where any will do."""

    database: str
    collection: str
    operation: str

    def on(self, channel: str, principal: str) -> str:
        """The subject on which this principal would ask for it."""
        return f"{PREFIX}.{channel}.{principal}.{self.database}.{self.collection}.{self.operation}"


@dataclass(frozen=True, slots=True)
class Grounds:
    """What is known of the gateway: its policy, and a random name that nobody uses (`mark`)."""

    policy: Policy
    mark: str

    def others(self, name: str) -> tuple[str, ...]:
        """Other principals, callers first; to a door not those that it acts for."""
        principals = self.policy.principals
        own = {name, *(callers_of(self.policy, principals[name]) if name in principals else ())}
        names = [other for other in sorted(principals) if other not in own]
        names.sort(key=lambda other: self.policy.principals[other].kind != "caller")
        return tuple(names[:MAX_OTHERS])

    def samples(self, name: str) -> tuple[Sample, ...]:
        """What a caller may do, a part of it for each operation; nothing for anybody else."""
        if name not in self.policy.principals or self.policy.principals[name].kind != "caller":
            return ()
        subjects = principal_permissions(self.policy, name)[0].publish
        begin = f"{PREFIX}.cmd.{name}."
        found = (
            Sample(*subject.replace("*", self.mark).removeprefix(begin).split("."))
            for subject in subjects
            if subject.startswith(begin)
        )
        one_each = {sample.operation: sample for sample in found}
        return tuple(islice(one_each.values(), MAX_SAMPLES))

    def any_sample(self) -> Sample:
        """Something that is asked of the gateway."""
        every = (sample for name in self.policy.principals for sample in self.samples(name))
        return next(every, Sample(self.mark, self.mark, "get"))

    def record(self, principal: str) -> str:
        """The subject of an audit record about this principal that will never be written."""
        sample = self.any_sample()
        return f"{PREFIX}.audit.{principal}.{sample.database}.{self.mark}.{sample.operation}.done"

    def checkpoint(self) -> str:
        """The subject of a checkpoint of a worker that is none."""
        return f"{PREFIX}.checkpoint.{self.mark}"


def questions(grounds: Grounds) -> Iterator[tuple[str, str]]:
    """Callers, and a subject on which each may ask one worker alone, which is us."""
    for name, principal in grounds.policy.principals.items():
        if principal.kind == "caller":
            for subject in principal_permissions(grounds.policy, name)[0].publish:
                if subject.startswith(f"{PREFIX}.cur.{name}."):
                    yield name, subject.replace("*", grounds.mark)


def forbidden_replies(grounds: Grounds) -> tuple[str, ...]:
    """Where a worker must not reply, whoever asks for it."""
    return (
        f"_INBOX.{grounds.mark}",
        grounds.record(grounds.mark),
        f"$KV.{POLICY}.{grounds.mark}",
        f"{API}.STREAM.DELETE.{grounds.mark}",
        grounds.any_sample().on("cmd", grounds.mark),
    )


def probes(kind: Kind, name: str, grounds: Grounds) -> list[Probe]:
    """Everything that one who may connect must not publish or subscribe to."""
    found = [
        *_commands(kind, name, grounds),
        *_answers(kind, name, grounds),
        *_records(kind, name, grounds),
        *_calls(kind, grounds),
        *_inboxes(kind, name, grounds),
        *_listening(kind, name, grounds),
        *_advisories(grounds),
    ]
    return [probe for probe in found if probe.attempts]


def _commands(kind: Kind, name: str, grounds: Grounds) -> Iterator[Probe]:
    others = grounds.others(name)
    yield Probe("command as another", _as_others("cmd", name, others, grounds))
    yield Probe("submit a job as another", _as_others("job", name, others, grounds))
    kept = _as_others(STORED, name, others, grounds)
    yield Probe("say that a job is kept", kept)
    cursors = (f"{PREFIX}.cur.{other}.{grounds.mark}.{grounds.mark}.next" for other in others)
    yield Probe("fetch pages as another", _publishes(cursors))
    if kind is Kind.CALLER:
        yield Probe("do what its policy lacks", _beyond(name, grounds))


def _as_others(
    channel: str, name: str, others: Iterable[str], grounds: Grounds
) -> tuple[Attempt, ...]:
    """What I may do under their names, and what they may do: neither is mine."""
    mine = grounds.samples(name) or (grounds.any_sample(),)
    return _publishes(
        sample.on(channel, other)
        for other in others
        for sample in (*mine, *grounds.samples(other)[:1])
    )


def _beyond(name: str, grounds: Grounds) -> tuple[Attempt, ...]:
    """What no rule gives: other operations, and its own ones elsewhere."""
    mark = grounds.mark
    lists = [each.split(".") for each in principal_permissions(grounds.policy, name)[0].publish]
    elsewhere = (
        each
        for sample in grounds.samples(name)
        if sample.collection != NO_COLLECTION
        for each in (sample._replace(collection=mark), sample._replace(database=mark))
    )
    wanted = (*(_anywhere(operation, mark) for operation in OPERATIONS), *elsewhere)
    subjects = (sample.on("cmd", name) for sample in wanted)
    return _publishes(each for each in subjects if not _covered(each.split("."), lists))


def _anywhere(operation: str, mark: str) -> Sample:
    in_database = OPERATIONS[operation].scope is Scope.DATABASE
    return Sample(mark, NO_COLLECTION if in_database else mark, operation)


def _covered(subject: list[str], lists: Iterable[list[str]]) -> bool:
    return any(
        len(tokens) == len(subject)
        and all(token in {"*", found} for token, found in zip(tokens, subject, strict=True))
        for tokens in lists
    )


def _answers(kind: Kind, name: str, grounds: Grounds) -> Iterator[Probe]:
    """Replies and acknowledgements come from workers and the server alone."""
    inboxes = [f"{inbox_prefix(other)}.{grounds.mark}.1" for other in grounds.others(name)]
    if kind is Kind.BUS:  # whose work is to reply
        yield Probe("answer elsewhere", _publishes((f"_INBOX.{grounds.mark}", _workers(grounds))))
        return
    workers = [] if kind is Kind.RECORDS else [_workers(grounds)]
    yield Probe("answer in a worker's place", _publishes((*inboxes, *workers)))


def _records(kind: Kind, name: str, grounds: Grounds) -> Iterator[Probe]:
    mark = grounds.mark
    about = (name if name in grounds.policy.principals else mark, *grounds.others(name)[:1])
    if kind is not Kind.RECORDS:
        trail = (*(grounds.record(each) for each in about), grounds.checkpoint())
        yield Probe("write audit records", _publishes(trail))
        jobs = (f"{PREFIX}.dead.{mark}", f"{PREFIX}.redrive.{mark}")
        rest = (*jobs, f"{PREFIX}.rate.{about[0]}.{mark}")
        yield Probe("write dead jobs, those that are tried again, or rates", _publishes(rest))
    if kind is not Kind.ADMINISTRATOR:
        buckets = BUCKETS[:-1] if kind is Kind.RECORDS else BUCKETS
        keys = (f"$KV.{bucket}.{key}" for bucket in buckets for key in ("current", mark))
        title = "write policy, keys, flags"
        yield Probe(
            title if kind is Kind.RECORDS else "write policy, keys, results", _publishes(keys)
        )


def _calls(kind: Kind, grounds: Grounds) -> Iterator[Probe]:
    """The JetStream API; in its own account an auditor finds a part of it under another name."""
    prefixes = (API, AUDITOR_PREFIX) if kind is Kind.AUDITOR else (API,)
    destroying = (f"{call}.{stream}" for stream in STREAMS for call in _DESTROYING)
    yield Probe("delete or purge a stream", _api(prefixes, destroying))
    yield Probe("change or copy a stream", _api(prefixes, _changing(kind, grounds)))
    if kind is Kind.ADMINISTRATOR:
        updates = (f"STREAM.UPDATE.{stream}" for stream in AUDITED_STREAMS)
        yield Probe("shorten the trail", _api(prefixes, updates), _SHORTENING)
        return
    yield Probe("JetStream beyond its need", _api(prefixes, _reading(kind, grounds)))
    if kind is Kind.AUDITOR:
        plain = (f"STREAM.INFO.{AUDIT}", f"CONSUMER.MSG.NEXT.{AUDIT}.{grounds.mark}")
        yield Probe("reach the records directly", _api((API,), plain))


def _changing(kind: Kind, grounds: Grounds) -> Iterator[str]:
    mark = grounds.mark
    yield f"STREAM.CREATE.{mark}"
    yield f"STREAM.RESTORE.{mark}"
    for stream in STREAMS:
        yield f"STREAM.SNAPSHOT.{stream}"
        if kind is not Kind.ADMINISTRATOR:
            yield f"STREAM.UPDATE.{stream}"
            yield f"CONSUMER.DELETE.{stream}.{mark}"


def _reading(kind: Kind, grounds: Grounds) -> Iterator[str]:
    yield from ("INFO", "STREAM.NAMES", "STREAM.LIST")
    if kind is Kind.RECORDS:
        yield f"CONSUMER.CREATE.{JOBS}.{grounds.mark}"
        return
    closed = [each for each in STREAMS if kind is not Kind.AUDITOR or each not in AUDITED_STREAMS]
    for stream in closed:
        yield f"STREAM.INFO.{stream}"
        yield f"CONSUMER.CREATE.{stream}.{grounds.mark}"
        yield f"CONSUMER.MSG.NEXT.{stream}.{grounds.mark}"
    for stream in STREAMS:
        yield f"STREAM.MSG.GET.{stream}"
        yield f"DIRECT.GET.{stream}"


def _inboxes(kind: Kind, name: str, grounds: Grounds) -> Iterator[Probe]:
    mark = grounds.mark
    everything = [Subscribe("_INBOX.>"), Subscribe(f"_INBOX.{mark}"), Subscribe(">")]
    if kind is not Kind.INSPECTOR:  # whose work is to see them
        everything += [Subscribe(f"{INBOX_ROOT}.>"), Subscribe(f"{INBOX_ROOT}.*.>")]
        others = grounds.others(name)
        inboxes = (f"{inbox_prefix(other)}.{mark}.1" for other in others)
        yield Probe("hear another's replies", tuple(map(Subscribe, inboxes)))
        kept = (f"{PREFIX}.{STORED}.{who}.>" for who in ("*", *others))
        yield Probe("hear which jobs of others are kept", tuple(map(Subscribe, kept)))
    if kind is not Kind.RECORDS:
        everything += [Subscribe(f"{WORKER_INBOX_PREFIX}.>"), Subscribe(_workers(grounds))]
    yield Probe("hear everybody's replies", tuple(everything))


def _listening(kind: Kind, name: str, grounds: Grounds) -> Iterator[Probe]:
    channels = [f"{PREFIX}.{channel}.>" for channel in ("cmd", "job", "cur")]
    if kind is not Kind.INSPECTOR:  # whose work is to see them
        heard = map(Subscribe, (*channels, *_work(name, grounds)))
        yield Probe("hear commands and jobs", tuple(heard))
    yield Probe("take work from workers", tuple(_queues(kind, name, grounds)))
    stored = (f"{PREFIX}.audit.>", f"{PREFIX}.checkpoint.*", f"$KV.{POLICY}.>", f"{API}.>")
    system = ("$JS.EVENT.>", "$SYS.>")
    yield Probe("hear records and settings", tuple(map(Subscribe, (*stored, *system))))
    if kind not in {Kind.BUS, Kind.INSPECTOR}:
        found = ("$SRV.PING", f"$SRV.INFO.{SERVICE}", f"$SRV.STATS.{SERVICE}.{grounds.mark}")
        yield Probe("pose as the service", tuple(map(Subscribe, found)))


def _advisories(grounds: Grounds) -> Iterator[Probe]:
    """What the server says of the trail: nobody says it for it, and workers hear it in a group."""
    mark = grounds.mark
    said = (f"{ADVISORIES}.{mark}", f"{ADVISORIES}.STREAM.DELETED.{mark}")
    yield Probe("speak in the server's place", _publishes(said))
    alone = (Subscribe(subject) for subject in (f"{ADVISORIES}.API", *advisory_subjects()))
    beside = (Subscribe(subject, "doctor") for subject in advisory_subjects())
    yield Probe("hear what it says of the trail", (*alone, *beside))


def _work(name: str, grounds: Grounds) -> Iterator[str]:
    """Every operation, and everybody's, on a collection that is nobody's."""
    mark = grounds.mark
    for operation in OPERATIONS:
        yield f"{PREFIX}.cmd.{mark}.{mark}.{mark}.{operation}"
    for principal in (name, *grounds.others(name)):
        if principal in grounds.policy.principals:
            yield f"{PREFIX}.cmd.{principal}.{mark}.{mark}.get"
            yield f"{PREFIX}.job.{principal}.{mark}.{mark}.insert"


def _queues(kind: Kind, name: str, grounds: Grounds) -> Iterator[Subscribe]:
    """Joining the queue groups of workers; a worker may, in the one of the operation's class."""
    for subject in _work(name, grounds):
        right, wrong = READ_QUEUE, WRITE_QUEUE
        if OPERATIONS[subject.rpartition(".")[2]].mutates:
            right, wrong = wrong, right
        if kind is not Kind.BUS or not subject.startswith(f"{PREFIX}.cmd."):
            yield Subscribe(subject, right)
        yield Subscribe(subject, wrong)
    yield Subscribe(f"{PREFIX}.cmd.{grounds.mark}.{grounds.mark}.{grounds.mark}.get", "doctor")


def _workers(grounds: Grounds) -> str:
    return f"{WORKER_INBOX_PREFIX}.{grounds.mark}.1"


def _publishes(subjects: Iterable[str]) -> tuple[Attempt, ...]:
    return tuple(map(Publish, dict.fromkeys(subjects)))


def _api(prefixes: Iterable[str], calls: Iterable[str]) -> tuple[Attempt, ...]:
    listed = tuple(calls)
    return _publishes(f"{prefix}.{call}" for prefix in prefixes for call in listed)
