"""`redrive`: a dead job is given another try, by an administrator's signed and recorded command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from mallku_broker.connection import GatewayConnection
from mallku_broker.jobs import DeadJob, keep, stored_job
from mallku_broker.requests import RequestMultiplexer
from mallku_broker.streams import DEAD
from mallku_contracts.arguments import Redrive
from mallku_contracts.codec import CodecError
from mallku_contracts.envelope import CommandHeader, Envelope
from mallku_contracts.errors import JobNotFound, MallkuError
from mallku_contracts.limits import REDRIVE_WITHIN_MS
from mallku_contracts.subjects import CommandSubject
from mallku_contracts.tracing import forwarded
from mallku_workers.request import Request

_MS_PER_HOUR: Final = 3_600_000


class Redriving:
    """Puts a dead job where workers take it from; `clock` is Unix milliseconds.

    What is lifted is the job's deadline. Its signature is checked again, and its principal has to
    be allowed to do it now; that the ledger remembers it still keeps it from being done twice.
    It stays in its submitter's trace.
    """

    def __init__(
        self,
        connection: GatewayConnection,
        asking: RequestMultiplexer,
        *,
        clock: Callable[[], int],
    ) -> None:
        self._connection = connection
        self._asking = asking
        self._clock = clock

    async def __call__(self, request: Request) -> Any:
        """Give the job at this sequence of `MALLKU_DEAD` another try.

        Raises:
            JobNotFound: there is none of this database, or its time is over for good.
            Unavailable: the streams do not answer; nothing was done, or it can be repeated.
        """
        arguments = request.arguments
        assert isinstance(arguments, Redrive)  # noqa: S101 - the table of operations says so
        found = await stored_job(self._connection, DEAD, arguments.sequence)
        dead = None if found is None else _read(found.data, request.subject.database)
        if found is None or dead is None:
            raise JobNotFound(
                f"no dead job of {request.subject.database} at sequence {arguments.sequence}"
            )
        late_ms = self._clock() - dead[1].exp - REDRIVE_WITHIN_MS
        if late_ms >= 0:
            hours = REDRIVE_WITHIN_MS // _MS_PER_HOUR
            raise JobNotFound(
                f"the job's exp passed more than {hours} h ago: the ledger may have forgotten it,"
                " and it could be done twice; have it submitted anew"
            )
        place = dead[0].redrive_subject(arguments.sequence)
        await keep(self._asking, place, dead[0].pack(), trace=forwarded(found.trace))
        return True


def _read(data: bytes, database: str) -> tuple[DeadJob, CommandHeader] | None:
    """The dead job, if it is a readable one of this database."""
    try:
        dead = DeadJob.read(data)
        header = CommandHeader.read(Envelope.split(dead.data).protected)
        named = CommandSubject.parse(dead.subject)
    except (ValueError, CodecError, MallkuError):
        return None
    return (dead, header) if named.database == database else None
