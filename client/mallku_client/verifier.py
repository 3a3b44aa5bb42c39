"""Which replies are believed: signed by a worker whose token a trusted issuer gave, for us.

The order is: shape, the command's hash, the worker's token, the signature. Nothing in a reply is
unpacked before that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mallku_broker.trust import TrustFile
from mallku_client.clock import MAX_CLOCK_CORRECTION_MS, Clock
from mallku_contracts.envelope import Reply
from mallku_contracts.errors import (
    EnvelopeError,
    MessageTooLarge,
    TokenExpired,
    UnverifiedReply,
)
from mallku_contracts.keys import PublicKey
from mallku_contracts.limits import MAX_CLOCK_SKEW_MS

MAX_REMEMBERED_TOKENS: Final = 256
"""Worker tokens whose verification is remembered; the oldest is forgotten first."""


@dataclass(frozen=True, slots=True)
class VerifiedReply:
    """A packed answer that may be read.

    Attributes:
        body: The packed answer.
        gateway_ms: The worker's clock, Unix milliseconds; None where nothing was signed.
        clock_only: The worker's token holds for a clock near ours, but not for ours: nothing but a
            refusal for our clock's sake may be believed.
    """

    body: bytes
    gateway_ms: int | None
    clock_only: bool = False


@dataclass(frozen=True, slots=True)
class _Worker:
    key: PublicKey
    expires_ms: int
    clock_only: bool


class Verifier:
    """Opens replies; remembers workers' tokens by their bytes until these expire."""

    def __init__(self, trust: TrustFile, clock: Clock, *, require_signed_reads: bool) -> None:
        self._trust = trust
        self._clock = clock
        self._require_signed_reads = require_signed_reads
        self._workers: dict[bytes, _Worker] = {}

    def open(self, data: bytes, *, expected_command: bytes, mutates: bool) -> VerifiedReply:
        """Believe a reply to the command with this hash (32 bytes), or raise.

        Raises:
            UnverifiedReply: no trusted worker signed it for this command.
        """
        try:
            reply = Reply.open(data, expected_command=expected_command)
            if reply.signed:
                return self._believe(reply)
        except UnverifiedReply:
            raise
        except (EnvelopeError, MessageTooLarge) as error:
            raise UnverifiedReply(f"the reply cannot be believed: {error}") from error
        if mutates or self._require_signed_reads:
            raise UnverifiedReply("the reply is not signed")
        return VerifiedReply(reply.envelope.body, None)

    def _believe(self, reply: Reply) -> VerifiedReply:
        worker = self._worker(reply.envelope.token)
        reply.verify(worker.key)
        return VerifiedReply(reply.envelope.body, reply.header.time, worker.clock_only)

    def _worker(self, token: bytes) -> _Worker:
        if self._trust.changed():
            self._workers.clear()
        now_ms = self._clock.now_ms()
        worker = self._workers.get(token)
        if worker is None or now_ms >= worker.expires_ms + MAX_CLOCK_SKEW_MS:
            self._workers.pop(token, None)
            worker = self._verify_token(token, now_ms)
            if not worker.clock_only:
                self._remember(token, worker)
        return worker

    def _verify_token(self, token: bytes, now_ms: int) -> _Worker:
        try:
            return self._verify_within(token, now_ms, MAX_CLOCK_SKEW_MS)
        except TokenExpired:
            return self._verify_within(token, now_ms, MAX_CLOCK_CORRECTION_MS)

    def _verify_within(self, token: bytes, now_ms: int, leeway_ms: int) -> _Worker:
        from mallku_contracts.tokens import REPLY_AUDIENCE, verify_token  # brings PyJWT

        identity = verify_token(
            token,
            self._trust.trust,
            audience=REPLY_AUDIENCE,
            now_s=now_ms / 1000,
            leeway_s=leeway_ms / 1000,
        )
        clock_only = leeway_ms > MAX_CLOCK_SKEW_MS
        return _Worker(identity.key, identity.expires_at * 1000, clock_only)

    def _remember(self, token: bytes, worker: _Worker) -> None:
        if len(self._workers) >= MAX_REMEMBERED_TOKENS:
            del self._workers[next(iter(self._workers))]
        self._workers[token] = worker
