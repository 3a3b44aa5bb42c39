"""The path of a durable job: sealed, sent until it is known to be kept, its reply believed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING

from mallku_client.retries import RetryPolicy
from mallku_client.signer import Command, JobTerms, SealedCommand, Signer, trace_headers
from mallku_client.transport import JobTransport, NotDelivered, Stored, TransportError
from mallku_client.verifier import Verifier
from mallku_contracts.errors import (
    ConfigurationError,
    GatewayUnreachable,
    JobUnconfirmed,
    MallkuError,
    UnverifiedReply,
)

if TYPE_CHECKING:
    from mallku_client.tracing import Tracing


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job that is kept.

    Attributes:
        id: Of the transmission that was confirmed.
        hashes: What a reply to any of its transmissions carries, by their ids.
        reply: Ends with the bytes of a reply, not yet believed, if one comes to this process.
    """

    id: str
    stored: Stored
    hashes: Mapping[str, bytes] = field(repr=False)
    reply: asyncio.Future[bytes] = field(repr=False)


class Submitter:
    """Sends jobs; a confirmation that does not come is waited for again under a new signature."""

    def __init__(
        self,
        signer: Signer,
        transport: JobTransport | None,
        verifier: Verifier,
        policy: RetryPolicy,
        jitter: Callable[[], float] = random.random,
        *,
        tracing: Tracing | None = None,
    ) -> None:
        self._tracing = tracing
        self._signer = signer
        self._transport = transport
        self._verifier = verifier
        self._policy = policy
        self._jitter = jitter

    async def submit(self, command: Command, terms: JobTerms, *, timeout_s: float) -> Submitted:
        """Have the job kept, within `timeout_s` seconds.

        Raises:
            JobUnconfirmed: nobody says so; it may be. With the same key it is the same job.
            GatewayUnreachable: nothing left.
            PermissionDenied: the broker does not let us.
            ConfigurationError: what we are connected by knows no jobs.
        """
        if self._transport is None:
            raise ConfigurationError("this client is not connected by NATS: it cannot submit jobs")
        with nullcontext() if self._tracing is None else self._tracing.call(command):
            return await self._submit(self._transport, command, terms, timeout_s)

    async def _submit(
        self, transport: JobTransport, command: Command, terms: JobTerms, timeout_s: float
    ) -> Submitted:
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        hashes: dict[str, bytes] = {}
        try:
            job_id, stored = await self._kept(transport, command, terms, timeout_s, (hashes, reply))
        except BaseException:
            self._forget(hashes)
            raise
        return Submitted(job_id, stored, hashes, reply)

    async def _kept(
        self,
        transport: JobTransport,
        command: Command,
        terms: JobTerms,
        timeout_s: float,
        awaited: tuple[dict[str, bytes], asyncio.Future[bytes]],
    ) -> tuple[str, Stored]:
        """The transmission that was confirmed, of those whose hashes are in `awaited` then."""
        may_be_kept = False
        end_s = monotonic() + timeout_s
        hashes, reply = awaited
        for attempt in range(1, self._policy.max_attempts + 1):
            wait_s = self._policy.attempt_timeout_s(attempt, end_s - monotonic())
            try:
                sealed = self._signer.seal_job(command, terms, attempt=attempt)
                hashes[sealed.id] = sealed.hash
                transport.reply_to(sealed.id, reply)
                stored = await self._store(transport, sealed, command, attempt, wait_s)
            except (TransportError, MallkuError) as error:
                may_be_kept = may_be_kept or not isinstance(error, (NotDelivered, MallkuError))
                pause_s = self._policy.backoff_s(attempt, self._jitter(), None)
                last = attempt == self._policy.max_attempts or monotonic() + pause_s >= end_s
                if last or isinstance(error, MallkuError):
                    verdict = _verdict(error, command, may_be_kept=may_be_kept)
                    raise verdict from (None if verdict is error else error)
                await asyncio.sleep(pause_s)
            else:
                return sealed.id, stored
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _store(
        self,
        transport: JobTransport,
        sealed: SealedCommand,
        command: Command,
        attempt: int,
        wait_s: float,
    ) -> Stored:
        subject, payload, operation = sealed.subject, sealed.payload, command.subject.operation
        if self._tracing is None:
            known = trace_headers(command)
            return await transport.store(
                subject, payload, sealed.id, operation, wait_s, headers=known
            )
        with self._tracing.attempt(sealed, attempt) as headers:
            return await transport.store(
                subject, payload, sealed.id, operation, wait_s, headers=headers
            )

    def believe(self, submitted: Submitted, data: bytes) -> bytes:
        """The body of a reply that came for this job; `UnverifiedReply` when it is not believed."""
        for digest in submitted.hashes.values():
            try:
                reply = self._verifier.open(data, expected_command=digest, mutates=True)
            except UnverifiedReply:
                continue
            if not reply.clock_only:
                return reply.body
        raise UnverifiedReply("the reply answers another job, or no trusted worker signed it")

    def forget(self, submitted: Submitted) -> None:
        """Nobody waits for its reply any more."""
        self._forget(submitted.hashes)

    def _forget(self, hashes: Mapping[str, bytes]) -> None:
        if self._transport is not None:
            for job_id in hashes:
                self._transport.forget(job_id)


def _verdict(
    error: TransportError | MallkuError, command: Command, *, may_be_kept: bool
) -> MallkuError:
    key = command.idempotency_key
    if may_be_kept:
        return JobUnconfirmed(
            f"nobody says that the job is kept ({error}); it may be: submit it again with"
            f" idempotency_key={key!r}, or ask with outcome",
            details={"idempotency_key": key},
        )
    return error if isinstance(error, MallkuError) else GatewayUnreachable(str(error))
