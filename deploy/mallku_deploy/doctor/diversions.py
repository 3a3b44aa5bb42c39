"""Where the server's own answers must not go, past all permissions: a pure table.

The server sends its answer wherever the reply subject says, and holds nobody's permissions against
it (tried on 2.15.1). Accounts alone keep it from what others own.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any, Final

from mallku_broker.accounts import (
    AUDITOR_PREFIX,
)
from mallku_broker.permissions import SERVICE, WORKER_INBOX_PREFIX
from mallku_broker.streams import AUDIT, CHECKPOINTS, DEAD
from mallku_contracts.subjects import JOB, inbox_prefix
from mallku_deploy.doctor.attempts import (
    IMPOSSIBLE,
    Call,
    Diversion,
    Executed,
    Heard,
    Kind,
    Stored,
    Target,
)
from mallku_deploy.doctor.lists import API, BUCKETS, Grounds

SCRATCH_S: Final = 30
"""Consumers made for a try are gone after so many seconds, whatever happens to us."""

MAX_LISTENERS: Final = 4
"""Others at whose inboxes we listen for one who tries to reach them."""

_NS: Final = 1_000_000_000
_PULL: Final = b'{"batch": 1, "no_wait": true}'
_INBOXES: Final = (
    "an answer of the server's own, to an inbox whose random part nobody can guess;"
    " what was not asked for is dropped"
)


def diversions(
    kind: Kind, name: str, grounds: Grounds, present: Collection[str]
) -> list[Diversion]:
    """Everywhere that one who may connect could want an answer of the server's to go.

    Args:
        present: The principals whose credentials are at hand, to listen with.
    """
    tables = {  # the server answers nothing to inspectors and to the workers' bus
        Kind.CALLER: _of_jobs,
        Kind.AUDITOR: _of_pulls,
        Kind.ADMINISTRATOR: _of_calls,
        Kind.RECORDS: _of_calls,
    }
    found = tables[kind](name, grounds, present) if kind in tables else ()
    return [each for each in found if each.targets]


def own_call(kind: Kind, name: str, grounds: Grounds) -> Call | None:
    """Something harmless that one may ask, and has to get an answer to; None where there is none.

    An inspector's question is answered by workers, or by the server when there are none.
    """
    if kind is Kind.CALLER:
        samples = grounds.samples(name)
        subject = samples[0].on(JOB, name) if samples else ""
        return Call(subject, b"", IMPOSSIBLE, silent=True) if samples else None
    if kind is Kind.INSPECTOR:
        return Call(f"$SRV.PING.{SERVICE}")
    return own_question(kind)


def own_question(kind: Kind) -> Call | None:
    """What one who may use JetStream asks it; None for those who may not."""
    prefixes = {Kind.AUDITOR: AUDITOR_PREFIX, Kind.ADMINISTRATOR: API, Kind.RECORDS: API}
    return Call(f"{prefixes[kind]}.STREAM.INFO.{AUDIT}") if kind in prefixes else None


def _of_jobs(name: str, grounds: Grounds, present: Collection[str]) -> Iterator[Diversion]:
    """The answer to a job, which here would be a refusal: nothing is stored, and nobody is told."""
    call = own_call(Kind.CALLER, name, grounds)
    if call is None:
        return
    what = "job answer"
    yield Diversion(f"{what} into a bucket", call, _buckets(grounds))
    yield Diversion(f"{what} to a worker", call, _worker(grounds))
    yield Diversion(f"{what} to another's inbox", call, _others(name, grounds, present))
    yield Diversion(f"{what} as a command", call, _command(name, grounds, present))
    yield Diversion(f"{what} into the trail", call, _trail(name, grounds), grave=True)


def _of_pulls(name: str, grounds: Grounds, present: Collection[str]) -> Iterator[Diversion]:
    """Pulled records, and the empty answer to a pull where there are none."""
    what = "pulled record"
    callers = _others(name, grounds, present, auditors=False)
    for number, (title, targets) in enumerate(
        (
            ("into a bucket", _buckets(grounds)),
            ("to a worker", _worker(grounds)),
            ("to a caller", callers),
        )
    ):
        prepare, call = _consumer(f"{grounds.mark}-{number}", "last")
        yield Diversion(f"{what} {title}", call, targets, prepare)
    prepare, call = _consumer(f"{grounds.mark}-other", "last")
    auditors = _others(name, grounds, present, auditors=True)
    yield Diversion(f"{what} to another auditor", call, auditors, prepare, _INBOXES)
    prepare, call = _consumer(f"{grounds.mark}-none", "new")
    scratch = (Executed(DEAD, grounds.mark),)
    yield Diversion("empty pull as a JetStream call", call, scratch, prepare)
    prepare, call = _consumer(f"{grounds.mark}-grave", "new")
    yield Diversion("empty pull into the trail", call, _trail(name, grounds), prepare, grave=True)


def _of_calls(name: str, grounds: Grounds, present: Collection[str]) -> Iterator[Diversion]:
    """Answers of the JetStream API; whoever may use it in RECORDS is kept in there."""
    call = Call(f"{API}.STREAM.INFO.{AUDIT}")
    callers = _others(name, grounds, present, auditors=False)
    yield Diversion("API answer to a caller", call, callers)
    yield Diversion("API answer as a command", call, _command(name, grounds, present))


def scratch_consumer(stream: str, consumer: str, prefix: str = API, deliver: str = "new") -> Call:
    """The call that makes a consumer which is soon gone by itself."""
    configuration: dict[str, Any] = {
        "name": consumer,
        "deliver_policy": deliver,
        "ack_policy": "none",
        "inactive_threshold": SCRATCH_S * _NS,
        "mem_storage": True,
    }
    body = json.dumps({"stream_name": stream, "config": configuration}).encode()
    return Call(f"{prefix}.CONSUMER.CREATE.{stream}.{consumer}", body)


def pull(stream: str, consumer: str, prefix: str = API) -> Call:
    """The call that asks a consumer for one message, and for a word when there is none."""
    return Call(f"{prefix}.CONSUMER.MSG.NEXT.{stream}.{consumer}", _PULL)


def _consumer(consumer: str, deliver: str) -> tuple[Call, Call]:
    make = scratch_consumer(AUDIT, consumer, AUDITOR_PREFIX, deliver)
    return make, pull(AUDIT, consumer, AUDITOR_PREFIX)


def _buckets(grounds: Grounds) -> tuple[Target, ...]:
    return tuple(
        Stored(f"$KV.{bucket}.{grounds.mark}", f"KV_{bucket}", Kind.ADMINISTRATOR)
        for bucket in BUCKETS
    )


def _trail(name: str, grounds: Grounds) -> tuple[Target, ...]:
    return (
        Stored(grounds.record(name), AUDIT, Kind.RECORDS),
        Stored(grounds.checkpoint(), CHECKPOINTS, Kind.RECORDS),
    )


def _worker(grounds: Grounds) -> tuple[Target, ...]:
    return (Heard(f"{WORKER_INBOX_PREFIX}.{grounds.mark}.1", Kind.RECORDS),)


def _others(
    name: str, grounds: Grounds, present: Collection[str], *, auditors: bool = False
) -> tuple[Target, ...]:
    """Inboxes of others: in the account of auditors, or in the one of callers and inspectors."""
    kinds = {"auditor"} if auditors else {"caller", "inspector"}
    others = (
        other
        for other in grounds.others(name)
        if other in present and grounds.policy.principals[other].kind in kinds
    )
    return tuple(
        Heard(f"{inbox_prefix(other)}.{grounds.mark}.1", other)
        for other in islice(others, MAX_LISTENERS)
    )


def _command(name: str, grounds: Grounds, present: Collection[str]) -> tuple[Target, ...]:
    """A command that no worker takes, before the eyes of an inspector."""
    principals = grounds.policy.principals
    inspectors = (each for each in present if principals[each].kind == "inspector")
    watching = next(iter(sorted(inspectors)), "")
    whose = next((each for each in grounds.others(name) if principals[each].kind == "caller"), "")
    if not (watching and whose):
        return ()
    sample = grounds.any_sample()._replace(collection=grounds.mark, operation="doctor")
    return (Heard(sample.on("cmd", whose), watching),)
