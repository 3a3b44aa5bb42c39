"""What happens to the trail's streams, and who reads them: heard from the server, put on the trail.

One worker records each advisory. What is said while no worker listens is lost: the server keeps
none. A stream that is gone takes no records, but the log says it at once, and the trail as soon as
there is one again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import structlog

from mallku_broker.advisories import (
    ADVISORY_QUEUE,
    Call,
    Event,
    advisory_subjects,
    read_advisory,
)
from mallku_broker.connection import GatewayConnection
from mallku_broker.connection_keys import ConnectionKeys, read_connection_keys
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.policy import CompiledPolicy
from mallku_contracts.trail import Verb, about_gateway
from mallku_workers.audit.floods import RefusalFloods
from mallku_workers.durability import Administrative

RECORDED_PER_MINUTE: Final = 30
"""Records about one reader, or one kind of advisory, in a minute; the rest are summed up.

Nobody may fill the trail by reading it.
"""

MINUTE_S: Final = 60.0
"""After this long what got no record of its own is summed up, seconds."""

EVENT_FACTS: Final = ("advisory", "stream", "event", "at")
"""What happened, to which stream, the server's id for it, and when, by the server."""

CALL_FACTS: Final = (*EVENT_FACTS, "by", "key", "account", "refused")
"""The same of a call, and who made it: principal (empty where none is known), nkey, account;
and the server's number for why not, 0 for a call that was carried out."""

READ_FACTS: Final = ("stream", "consumer", "subjects", "event", "at", "by", "key", "account")
"""What is read, by which consumer, the subjects asked for (none: all), and the rest as above."""

_QUIET: Final = frozenset({"leader_elected", "snapshot_complete", "restore_complete"})
_log = structlog.get_logger("mallku.custody")


class Keys:
    """Whose connection an nkey is, by the policy in force, or else by the gateway's own file.

    Who is neither a principal nor a worker is recorded by its key: nobody is left out unknown.

    Args:
        own: The worker's own nkey in RECORDS.
        file: As in `connection_keys`; read again when it changed. None where the policy says all.
    """

    def __init__(
        self, policy: Callable[[], CompiledPolicy], own: str, file: Path | None = None
    ) -> None:
        self._policy = policy
        self._own = own
        self._file = file
        self._stamp = (0, 0)
        self._listed = ConnectionKeys()

    def principal(self, key: str) -> str:
        """The name of the principal whose nkey this is; empty where nobody is known."""
        principals = self._policy().policy.principals.items()
        named = next((name for name, each in principals if key and each.nkey == key), "")
        return named or self._read().principals.get(key, "")

    def is_worker(self, key: str) -> bool:
        """Whether it is this worker's, or another one's."""
        return key == self._own or key in self._read().workers

    def _read(self) -> ConnectionKeys:
        """The file as it is now; what it said before, while it cannot be read."""
        if self._file is None:
            return self._listed
        try:
            status = self._file.stat()
            stamp = (status.st_mtime_ns, status.st_ino)
            if stamp != self._stamp:
                self._listed, self._stamp = read_connection_keys(self._file), stamp
        except (OSError, ConfigurationError) as error:
            _log.warning("connection_keys_not_read", reason=str(error))
        return self._listed


class Custodian:
    """Turns what the server says into records; its `hear` is a `Listener`, and never raises.

    Args:
        keys: Whose connections there are.
    """

    def __init__(
        self,
        audit: Administrative,
        keys: Keys,
        *,
        per_minute: int = RECORDED_PER_MINUTE,
    ) -> None:
        self._audit = audit
        self._keys = keys
        self._floods = {verb: RefusalFloods(per_minute) for verb in (Verb.READ, Verb.ADVISORY)}

    def hear(self, subject: str, reply: str, body: bytes, header: bytes | None) -> None:
        """Take one message from a subject of `advisory_subjects`."""
        match read_advisory(subject, reply, body, header):
            case Event() as event:
                self._happened(event)
            case Call() as call:
                self._called(call)
            case None:
                pass

    def sum_up(self) -> None:
        """Record how many got no record of their own since the last time."""
        for verb, floods in self._floods.items():
            for whom, count in floods.summaries():
                self._write(verb, {"summed_up": whom, "count": count})

    async def keep(self) -> None:
        """Sum up every `MINUTE_S`, until cancelled."""
        while True:
            await asyncio.sleep(MINUTE_S)
            self.sum_up()

    def _happened(self, event: Event) -> None:
        happened = (event.name, event.stream, event.id, event.time)
        facts: dict[str, Any] = dict(zip(EVENT_FACTS, happened, strict=True))
        if event.name not in _QUIET:
            _log.warning("stream_advisory", facts=facts)
        self._record(Verb.ADVISORY, event.name, facts)

    def _called(self, call: Call) -> None:
        by = self._keys.principal(call.key)
        facts: dict[str, Any]
        if call.changes:
            values = (call.name, call.stream, call.id, call.time, by, call.key, call.account)
            facts = dict(zip(CALL_FACTS, (*values, call.refused), strict=True))
            _log.warning("stream_changed", facts=facts)
            self._record(Verb.ADVISORY, f"{by or call.key} {call.name}", facts)
        elif not self._keys.is_worker(call.key):
            read = (call.stream, call.consumer, call.filters, call.id, call.time)
            facts = dict(zip(READ_FACTS, (*read, by, call.key, call.account), strict=True))
            self._record(Verb.READ, by or call.key, facts)

    def _record(self, verb: Verb, whom: str, facts: dict[str, Any]) -> None:
        if self._floods[verb].passes(whom, room=True):
            self._write(verb, facts)

    def _write(self, verb: Verb, facts: dict[str, Any]) -> None:
        self._audit.administrative(about_gateway(verb), "done", facts=facts)


async def take_custody(
    connection: GatewayConnection, custodian: Custodian, stack: AsyncExitStack
) -> None:
    """Listen to the server until the stack unwinds; what is left is summed up then."""
    stack.callback(custodian.sum_up)
    for subject in advisory_subjects():
        listening = await connection.listen(subject, custodian.hear, queue=ADVISORY_QUEUE)
        stack.push_async_callback(connection.unlisten, listening)
    await connection.flush()
