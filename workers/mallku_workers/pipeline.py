"""The path of a command, from top to bottom."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from mallku_contracts.arguments import read_arguments
from mallku_contracts.errors import Busy, InternalError, MallkuError, OutcomePending, OutcomeUnknown
from mallku_contracts.policy import CompiledPolicy
from mallku_workers.admission import Slots, admit
from mallku_workers.audit import AuditWriter
from mallku_workers.execution import Executor
from mallku_workers.identity import Identifier, SeenIds, open_command, read_body
from mallku_workers.ledger import make_claim, remember
from mallku_workers.message import Case, Message
from mallku_workers.replies import Replies, failure, success
from mallku_workers.stores.base import Store
from mallku_workers.throttle import Throttle

_log = structlog.get_logger("mallku.pipeline")


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Everything that the eleven steps need, put together by `main`."""

    slots: Slots
    identifier: Identifier
    seen: SeenIds
    policy: Callable[[], CompiledPolicy]
    throttle: Throttle
    store: Store
    audit: AuditWriter
    executor: Executor
    replies: Replies
    skew_ms: int

    async def handle(self, message: Message) -> None:
        """Take one message from the bus to its reply.

        Each step takes what the former produced and either returns or raises a coded refusal;
        whatever else is raised becomes one bland `InternalError`.
        """
        case = Case(message)
        answer: MallkuError | None = None
        try:
            # 1. admit: size, subject, inbox, a free slot
            subject, operation = admit(case)
            with self.slots.take(subject.principal):
                case.passed("admit")

                # 2. open: shape, times, subject = signed subject
                envelope, header = open_command(case, subject, skew_ms=self.skew_ms)
                case.passed("open")

                # 3. identify: token, revocation, signature, principal; then the body is unpacked
                identity = self.identifier.identify(case, subject, envelope, header)
                body = read_body(envelope)
                case.passed("identify")

                # 4. replay: this worker has not seen this transmission
                self.seen.refuse_replay(subject.principal, header, message.received_ms)

                # 5. authorize: policy, then the arguments against their model
                grant = self.policy().decide(
                    subject, operation, roles=identity.roles, issuer=identity.issuer
                )
                case.grant = grant
                arguments = read_arguments(operation.arguments, body)
                case.passed("authorize")

                # 6. throttle: the principal's rate
                self.throttle.take(subject.principal, grant.limits)

                # 7. remember: what an earlier attempt of the same command already did
                deadline = case.deadline(header)
                self.executor.refuse_hopeless(operation, deadline)
                claim = make_claim(subject, operation, header, envelope.body, message.received_ms)
                done = await remember(self.store, subject.database, claim, header.attempt)
                case.passed("remember")

                # 8. audit intent: acknowledged by the trail, or nothing is executed
                await self.audit.intent(case)
                case.passed("intend")

                # 9. execute: effect and ledger entry in one commit
                if done is None:
                    done = await self.executor.execute(
                        subject, operation, arguments, claim, deadline
                    )
                case.passed("execute")

                # 10. audit outcome: a mutation waits for its receipt
                reply = success(done, await self.audit.done(case, done))
        except MallkuError as error:
            answer = await self._record(case, error)
            reply = failure(answer)
        except Exception as error:  # noqa: BLE001 - a surprise tells the caller nothing
            answer = await self._record(case, _surprise(error))
            reply = failure(answer)

        # 11. reply: signed, to the caller's own inbox and nowhere else
        self.replies.send(case, reply, answer)

    async def _record(self, case: Case, error: MallkuError) -> MallkuError:
        """Put a refusal or a failure on the trail; return what the caller is to be told.

        An intent whose effect is in doubt stays open: only the ledger can tell, later.
        """
        in_doubt = case.mutates and isinstance(error, (OutcomeUnknown, InternalError))
        if case.concluded or (case.intended and in_doubt) or isinstance(error, Busy):
            return error
        if not case.intended:
            self.audit.denied(case, error)
            return error
        try:
            await self.audit.failed(case, error)
        except OutcomePending:
            _log.warning("outcome_pending", id=case.header and case.header.id, code=error.code)
        return error


def _surprise(error: Exception) -> InternalError:
    correlation = secrets.token_hex(8)
    _log.error("unexpected", correlation=correlation, exc_info=error)
    return InternalError("something unexpected happened in the worker", correlation=correlation)
