"""Sending durable jobs over NATS: the server says on a subject of ours that it keeps one.

The stream of jobs answers nobody (`docs/wire.md`); so the confirmation is found by the id that the
job's headers carry, and a reply by the id in the inbox that it comes to.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

from mallku_broker.connection import GatewayConnection, Listener
from mallku_broker.events import ConnectionEvent, ConnectionLost, EventKind
from mallku_broker.headers import decode_headers, encode_headers
from mallku_client.transport import (
    ID_HEADER,
    OPERATION_HEADER,
    NoAnswer,
    NotDelivered,
    Stored,
)
from mallku_contracts.errors import PermissionDenied
from mallku_contracts.subjects import JOB, PREFIX, STORED, inbox_prefix

MAX_AWAITED: Final = 10_000
"""Jobs whose replies are listened for; of the oldest beyond that only `outcome` tells."""


class NatsJobs:
    """Submits jobs of one principal over a connection; listens from the first one on.

    Args:
        replies: Whether to listen for them too; who submits for others has no right to hear them.
    """

    def __init__(
        self, connection: GatewayConnection, principal: str, *, replies: bool = True
    ) -> None:
        self._connection = connection
        self._hears_replies = replies
        self._confirmations = f"{PREFIX}.{STORED}.{principal}.>"
        self._inbox = f"{inbox_prefix(principal)}.{JOB}."
        self._kept: dict[str, tuple[str, asyncio.Future[Stored]]] = {}
        self._replies: OrderedDict[str, asyncio.Future[bytes]] = OrderedDict()
        self._starting = asyncio.Lock()
        self._started = False
        self._leaving: list[Callable[[], Awaitable[None]]] = []

    async def store(
        self,
        subject: str,
        payload: bytes,
        job_id: str,
        operation: str,
        timeout_s: float,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Stored:
        """Send a job and wait until the server says that it is kept, at most `timeout_s` seconds.

        Raises:
            PermissionDenied: the broker does not let us; nothing is kept.
            NotDelivered: there is no connection; nothing left.
            NoAnswer: nobody says so; it may be kept.
        """
        kept: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        self._kept[job_id] = (subject.lower(), kept)
        named = {ID_HEADER: job_id, OPERATION_HEADER: operation}
        header = encode_headers({**(headers or {}), **named})
        sent = False
        try:
            async with asyncio.timeout(timeout_s):
                await self._connection.connected()
                await self._listen()
                self._connection.post(subject, payload, header=header)
                sent = True
                return await kept
        except TimeoutError:
            raise (NoAnswer if sent else NotDelivered)(
                f"no confirmation within {timeout_s:.3g} s"
            ) from None
        except ConnectionLost as error:
            raise (NoAnswer if error.sent else NotDelivered)(str(error)) from error
        finally:
            del self._kept[job_id]

    def reply_to(self, job_id: str, reply: asyncio.Future[bytes]) -> None:
        """End `reply` with what comes for this job, unless it comes never."""
        self._replies[job_id] = reply
        if len(self._replies) > MAX_AWAITED:
            self._replies.popitem(last=False)

    def forget(self, job_id: str) -> None:
        """Nobody waits for this job's reply any more."""
        self._replies.pop(job_id, None)

    @property
    def waiting(self) -> int:
        """Jobs that are sent and not confirmed yet."""
        return len(self._kept)

    async def close(self) -> None:
        """Listen no more; for who has sent nothing that is still to be confirmed."""
        self._connection.unwatch(self._on_event)
        while self._leaving:
            await self._leaving.pop()()

    async def _listen(self) -> None:
        async with self._starting:
            if not self._started:
                self._connection.watch(self._on_event)
                listeners: list[tuple[str, Listener]] = [
                    (self._confirmations, self._on_confirmation)
                ]
                if self._hears_replies:
                    listeners.append((f"{self._inbox}*", self._on_reply))
                for subject, listener in listeners:
                    heard = await self._connection.listen(subject, listener)
                    self._leaving.append(partial(self._connection.unlisten, heard))
                self._started = True

    def _on_confirmation(
        self, _subject: str, _reply: str, _body: bytes, header: bytes | None
    ) -> None:
        said = decode_headers(header)
        waiting = self._kept.get(said.get(ID_HEADER, ""))
        if waiting is not None and not waiting[1].done():
            waiting[1].set_result(_stored(said))

    def _on_reply(self, subject: str, _reply: str, body: bytes, _header: bytes | None) -> None:
        reply = self._replies.pop(subject[len(self._inbox) :], None)
        if reply is not None and not reply.done():
            reply.set_result(body)

    def _on_event(self, event: ConnectionEvent) -> None:
        for subject, kept in self._kept.values():
            if kept.done():
                continue
            if event.kind in {EventKind.DISCONNECTED, EventKind.CLOSED}:
                kept.set_exception(ConnectionLost(event.detail, sent=True))
            elif event.kind is EventKind.REFUSED and event.subject == subject:
                kept.set_exception(
                    PermissionDenied("the broker refused the job", details={"subject": subject})
                )


def _stored(said: Mapping[str, str]) -> Stored:
    sequence = said.get("Nats-Sequence", "")
    return Stored(
        said.get("Nats-Stream", ""),
        int(sequence) if sequence.isdecimal() else 0,
        said.get("Nats-Time-Stamp", ""),
    )
