"""The path of one call: seal, send, verify, read; again where that is safe and of use."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Final

from mallku_client.answers import Answer, read_body
from mallku_client.clock import Clock
from mallku_client.guards import PATIENCE_S, RETRY_RATIO, GatewayBreaker, RetryBudget
from mallku_client.identity import ClientIdentity
from mallku_client.retries import Attempts, RetryPolicy
from mallku_client.signer import Command, Signer, trace_headers
from mallku_client.submitting import Submitter
from mallku_client.transport import (
    ID_HEADER,
    OPERATION_HEADER,
    NobodyListens,
    NotDelivered,
    Transport,
    TransportError,
    call_off,
    is_lost,
    is_up,
    jobs_of,
)
from mallku_client.verifier import VerifiedReply, Verifier
from mallku_contracts.errors import (
    ClientClosed,
    CommandFromFuture,
    ConfigurationError,
    CursorLost,
    MallkuError,
    MessageTooLarge,
    Replayed,
    StaleCommand,
    TokenExpired,
    UnverifiedReply,
)
from mallku_contracts.subjects import CURSOR

if TYPE_CHECKING:
    from mallku_client.signer import SealedCommand
    from mallku_client.tracing import Tracing

GATEWAY_TIME: Final = "gateway_time_ms"
"""In the details of a refusal for the clock's sake: the worker's signed time, Unix milliseconds."""

_LOG = logging.getLogger(__name__)
_CLOCK_REFUSALS = (StaleCommand, CommandFromFuture)
_CLOSED = "the client is closed; connect() makes a new one"
_WORKER_GONE = "the worker that held the cursor is gone; ask the query again"
_OUT_OF_TIME = "the worker's token is not valid at this machine's time"


class Caller:
    """Carries commands to the gateway and brings back believed answers.

    Attributes:
        jobs: Has durable jobs kept.
    """

    def __init__(
        self,
        transport: Transport,
        identity: ClientIdentity,
        verifier: Verifier,
        clock: Clock,
        *,
        policy: RetryPolicy,
        retry_budget: float = RETRY_RATIO,
        mirror_headers: bool = False,
        tracing: Tracing | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.signer = Signer(identity, clock)
        self._transport = transport
        self._token = identity.token
        self._verifier = verifier
        self._clock = clock
        self._policy = policy
        self._mirror_headers = mirror_headers
        self._tracing = tracing
        self._jitter = jitter
        self._budget = RetryBudget(retry_budget, monotonic)
        self._breaker = GatewayBreaker(monotonic)
        self._closing = asyncio.Event()
        jobs = jobs_of(transport)
        self.jobs = Submitter(self.signer, jobs, verifier, policy, jitter, tracing=tracing)

    async def call(self, command: Command, *, timeout_s: float) -> Answer:
        """Have `command` carried out, at most once, and return what a trusted worker says of it.

        Args:
            timeout_s: All attempts and waits together, seconds.

        Raises:
            MallkuError: what the gateway refused; `GatewayUnreachable` when nobody can have
                received it, `DeadlineExceeded` for a read without an answer, `OutcomeUnknown` for
                a mutation whose effect cannot be told.
        """
        if self.is_closed:
            raise ClientClosed(_CLOSED)
        with self._breaker.guard(connected=is_up(self._transport)):
            if self._tracing is None:
                return await self._try(command, timeout_s)
            with self._tracing.call(command):
                return await self._try(command, timeout_s)

    async def _try(self, command: Command, timeout_s: float) -> Answer:
        self._budget.deposit()
        attempts = Attempts(
            self._policy,
            mutates=command.mutates,
            idempotency_key=command.idempotency_key,
            now_s=monotonic(),
            timeout_s=timeout_s,
            budget=self._budget,
        )
        while True:
            try:
                answer = await self._attempt(command, attempts)
            except (MallkuError, TransportError) as failure:
                self._note(failure, timeout_s)
                if _was_used_before(command, failure, attempts.number):
                    raise
                pause = attempts.wait_after(
                    failure,
                    now_s=monotonic(),
                    jitter=self._jitter(),
                    repaired=self._repair(failure),
                )
            else:
                return answer
            await self._wait(pause)

    async def _wait(self, pause_s: float) -> None:
        """Let the time before a retry pass; no longer than the client is open."""
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._closing.wait()

    def _note(self, failure: MallkuError | TransportError, timeout_s: float) -> None:
        """Count the silence of an attempt that nobody answered."""
        if isinstance(failure, MallkuError):  # told by the gateway, or by this machine itself
            return
        if isinstance(failure, NotDelivered) or timeout_s >= PATIENCE_S:
            self._breaker.silent(lost=is_lost(failure))

    @property
    def is_closed(self) -> bool:
        """Whether calls are refused, or will end before their next attempt."""
        return self._closing.is_set()

    async def close(self) -> None:
        """Refuse calls from now on, end those that wait for a retry, let go of the connection."""
        self._closing.set()
        await self._transport.close()

    async def _attempt(self, command: Command, attempts: Attempts) -> Answer:
        if self.is_closed:
            raise ClientClosed(_CLOSED)
        timeout_s = attempts.timeout_s(monotonic(), away=not is_up(self._transport))
        sealed = self.signer.seal(command, attempt=attempts.number, timeout_s=timeout_s)
        try:
            data = await self._send(sealed, command, attempts.number, timeout_s)
        except asyncio.CancelledError:
            call_off(self._transport, self.signer.cancel(command, sealed.id))
            raise
        except NobodyListens:
            if command.subject.channel != CURSOR:
                raise
            raise CursorLost(_WORKER_GONE) from None
        self._breaker.heard()
        reply = self._verifier.open(data, expected_command=sealed.hash, mutates=command.mutates)
        content = read_body(reply.body)
        if isinstance(content, MallkuError):
            raise _with_time(content, reply)
        if reply.clock_only:
            raise UnverifiedReply(_OUT_OF_TIME)
        return Answer(
            content["result"],
            sealed.id,
            command.idempotency_key,
            content.get("receipt"),
            content.get("replayed", False),
            attempts.number,
            data if content.get("receipt") else b"",
        )

    async def _send(
        self, sealed: SealedCommand, command: Command, number: int, timeout_s: float
    ) -> bytes:
        """The bytes of a reply; a refusal on the way, which nobody signed, tells no time."""
        headers = self._headers(sealed.id, command)
        try:
            if self._tracing is None:
                return await self._request(sealed, headers, timeout_s)
            with self._tracing.attempt(sealed, number) as carried:
                known: Mapping[str, str] = {**(headers or {}), **carried}
                return await self._request(sealed, known or None, timeout_s)
        except MallkuError as refusal:
            refusal.details.pop(GATEWAY_TIME, None)
            if not isinstance(refusal, MessageTooLarge):  # it has not left
                self._breaker.heard()
            raise

    def _request(
        self, sealed: SealedCommand, headers: Mapping[str, str] | None, timeout_s: float
    ) -> Awaitable[bytes]:
        return self._transport.request(sealed.subject, sealed.payload, headers, timeout_s)

    def _headers(self, command_id: str, command: Command) -> dict[str, str] | None:
        headers = trace_headers(command)
        if self._mirror_headers:
            headers |= {ID_HEADER: command_id, OPERATION_HEADER: command.subject.operation}
        return headers or None

    def _repair(self, failure: Exception) -> bool:
        """Whether the reason of this refusal could be removed."""
        if isinstance(failure, TokenExpired):
            return self._renewed()
        if isinstance(failure, _CLOCK_REFUSALS) and GATEWAY_TIME in failure.details:
            return self._clock.correct(failure.details[GATEWAY_TIME])
        return False

    def _renewed(self) -> bool:
        """Whether there is a newer token; a broken file is no answer of the gateway's."""
        try:
            return self._token.refresh()
        except ConfigurationError as error:
            _LOG.warning("no newer token: %s", error)
            return False


def _was_used_before(command: Command, failure: Exception, attempt: int) -> bool:
    """Whether somebody used the proof of a carried command before us, so that it is not ours."""
    return command.carried is not None and attempt == 1 and isinstance(failure, Replayed)


def _with_time(error: MallkuError, reply: VerifiedReply) -> MallkuError:
    """The error of a reply, with the worker's signed time where our clock is the matter."""
    error.details.pop(GATEWAY_TIME, None)
    if isinstance(error, _CLOCK_REFUSALS):
        if reply.gateway_ms is not None:
            error.details[GATEWAY_TIME] = reply.gateway_ms
    elif reply.clock_only:
        return UnverifiedReply(_OUT_OF_TIME)
    return error
