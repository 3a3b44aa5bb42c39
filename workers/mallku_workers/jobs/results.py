"""Results of durable jobs: kept in a bucket as the worker signed them, read by `outcome` alone.

The place is made of database, principal and idempotency key as in the ledger: nobody finds what
somebody else's job came to. Everything of a principal lies below its own name, so that its share
can be told. What is kept is kept for its time: what there is no room for is not kept at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from mallku_broker.connection import GatewayConnection
from mallku_broker.jobs import JobMessage, keep
from mallku_broker.requests import RequestMultiplexer
from mallku_broker.single import newest_message
from mallku_broker.streams import RESULTS
from mallku_contracts import codec
from mallku_contracts.arguments import Outcome
from mallku_contracts.envelope import Envelope, ReplyHeader
from mallku_contracts.errors import PermissionDenied
from mallku_contracts.limits import MAX_REPLY_BYTES
from mallku_contracts.subjects import CommandSubject
from mallku_workers import ledger
from mallku_workers.jobs.shares import Shares
from mallku_workers.request import Request
from mallku_workers.stores.base import Store

_STREAM: Final = f"KV_{RESULTS}"
_KEPT: Final = 3
_THROUGH: Final = "~"
"""Before a door in `seen_by`: no role is called that."""
_NOTED: Final = 2


@dataclass(frozen=True, slots=True)
class Kept:
    """What a job came to.

    Attributes:
        seen_by: Version of the policy, issuer, roles and door under which it was read or written.
        mutated: It was no read: what it answers of documents is hidden again when it is shown.
        reply: The worker's signed reply.
    """

    seen_by: tuple[Any, ...]
    mutated: bool
    reply: bytes = field(repr=False)

    def pack(self) -> bytes:
        """As it is kept."""
        return codec.pack_trusted([list(self.seen_by), self.mutated, self.reply])

    @classmethod
    def read(cls, data: bytes) -> Kept | None:
        """Read it; None when it is something else."""
        try:
            values = codec.unpack(data, allow_bytes=True)
        except codec.CodecError:
            return None
        if not isinstance(values, list) or len(values) != _KEPT:
            return None
        return cls(tuple(values[0]), values[1], values[2])


class Results:
    """Keeps what jobs came to, and notes of deliveries that were no try."""

    def __init__(
        self, connection: GatewayConnection, asking: RequestMultiplexer, shares: Shares
    ) -> None:
        self._connection = connection
        self._asking = asking
        self._shares = shares

    async def keep(self, of: CommandSubject, key: str, kept: Kept) -> bool:
        """Keep it under the ledger's key; whether there was room in the principal's share.

        Raises:
            Unavailable: nobody says that it is kept.
        """
        data = kept.pack()
        if await self._beyond(of.principal, data):
            return False
        await keep(self._asking, _place(of, key), data)
        return True

    async def find(self, of: CommandSubject, key: str) -> Kept | None:
        """What is kept; errors as of `newest_message`."""
        found = await newest_message(self._connection, _STREAM, _place(of, key))
        return None if found is None or not found.data else Kept.read(found.data)

    async def excused(self, job: JobMessage) -> int:
        """How many deliveries of a job were no try; errors as of `newest_message`."""
        if job.number == 1:
            return 0
        found = await newest_message(self._connection, _STREAM, _note(job))
        parts = found.data.split() if found is not None else []
        if len(parts) != _NOTED or int(parts[0]) != job.time_ns:
            return 0
        return int(parts[1])

    async def excuse(self, job: JobMessage, count: int) -> None:
        """Note that so many deliveries were no try; beyond the principal's share, one counts.

        Raises:
            Unavailable: nobody says that it is noted.
        """
        data = b"%d %d" % (job.time_ns, count)
        if not await self._beyond(job.principal, data):
            await keep(self._asking, _note(job), data)

    async def _beyond(self, principal: str, data: bytes) -> bool:
        return await self._shares.beyond(_STREAM, f"{_below(principal)}.>", len(data))


def _below(principal: str) -> str:
    return f"$KV.{RESULTS}.{principal}"


def _place(of: CommandSubject, key: str) -> str:
    return f"{_below(of.principal)}.job.{of.database}.{key}"


def _note(job: JobMessage) -> str:
    return f"{_below(job.principal)}.note.{job.stream}.{job.sequence}"


class Outcomes:
    """Carries out `outcome`: the ledger knows of commits, the bucket of jobs."""

    def __init__(self, store: Store, results: Results) -> None:
        self._store = store
        self._results = results

    async def __call__(self, request: Request) -> Any:
        """What became of one of the asker's own commands or jobs.

        Raises:
            PermissionDenied: the job read something under another policy, in other roles, by
                another issuer's word, or not through this door.
        """
        subject, arguments = request.subject, request.arguments
        assert isinstance(arguments, Outcome)  # noqa: S101 - the table of operations says so
        done = await ledger.outcome(self._store, subject, arguments)
        name = arguments.idempotency_key or arguments.id or ""
        key = ledger.ledger_key(subject.principal, name)
        kept = await self._results.find(subject, key)
        if kept is None or (done.result["state"] == "done" and _told(kept)["state"] != "done"):
            return done.result  # what was committed is done, whoever could not say so
        if _as_seen_by(kept, request):
            return _told(kept) | {"reply": kept.reply}
        if done.result["state"] == "done":
            return done.result
        told = _told(kept)
        if not kept.mutated and told["state"] == "done":
            raise PermissionDenied(
                "the job read this under another policy, with another issuer or other roles, or not"
                " through this door; submit it again"
            )
        return told


def seen_by(request: Request) -> tuple[Any, ...]:
    """Under what a request sees what it sees: rules go by version, issuer, roles and door."""
    return *_seen_by_caller(request), *_seen_by_door(request)


def _seen_by_caller(request: Request) -> tuple[Any, ...]:
    identity = request.identity
    return (request.policy.version, identity.issuer, *sorted(identity.roles))


def _seen_by_door(request: Request) -> tuple[str, ...]:
    if request.carrier is None:
        return ()
    door = request.carrier.identity
    return (_THROUGH, door.principal, *sorted(door.roles))


def _as_seen_by(kept: Kept, request: Request) -> bool:
    """Whether the request may see the reply whole: a caller alone is under no door's ceiling."""
    own = _seen_by_caller(request)
    seen, through = kept.seen_by[: len(own)], kept.seen_by[len(own) :]
    if seen != own:
        return False
    if request.carrier is None:
        return not through or through[0] == _THROUGH
    return through == _seen_by_door(request)


def _told(kept: Kept) -> dict[str, Any]:
    envelope = Envelope.split(kept.reply, max_bytes=MAX_REPLY_BYTES)
    command = ReplyHeader.read(envelope.protected).id
    body = codec.unpack(envelope.body, allow_bytes=True)
    if "error" in body:
        return {"state": "failed", "id": command, "result": None, "error": body["error"]}
    return {"state": "done", "id": command, "result": body["result"]}
