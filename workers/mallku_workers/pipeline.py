"""The path of a command, from top to bottom."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from mallku_contracts.errors import (
    Busy,
    InternalError,
    MallkuError,
    OutcomePending,
    OutcomeUnknown,
    Unavailable,
)
from mallku_contracts.policy import CompiledPolicy
from mallku_workers.admission import Slots, admit
from mallku_workers.audit import AuditWriter
from mallku_workers.authorization import Authorizer
from mallku_workers.cancelling import UnderWay
from mallku_workers.execution import Executor
from mallku_workers.identity import (
    Identifier,
    SeenIds,
    open_command,
    read_body,
    refuse_again,
    refuse_uncovered,
)
from mallku_workers.ledger import make_claim
from mallku_workers.message import Case, Message
from mallku_workers.observing.observer import Observer
from mallku_workers.replies import Answering, failure, success
from mallku_workers.revealing import reveal
from mallku_workers.throttle import Refusals, Throttle

_log = structlog.get_logger("mallku.pipeline")


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Everything that the eleven steps need, put together by `main`."""

    slots: Slots
    identifier: Identifier
    seen: SeenIds
    policy: Callable[[], CompiledPolicy]
    authorizer: Authorizer
    refusals: Refusals
    throttle: Throttle
    audit: AuditWriter
    executor: Executor
    replies: Answering
    skew_ms: int
    observer: Observer | None = None
    under_way: UnderWay = field(default_factory=UnderWay)

    async def handle(self, message: Message) -> None:
        """Take one message from the bus to its reply.

        Each step takes what the former produced and either returns or raises a coded refusal;
        whatever else is raised becomes one bland `InternalError`. The slot is held until the reply
        has left, so that nothing which waits is outside the bounds of step 1.
        """
        case = Case(message)
        answer: MallkuError | None = None
        try:
            try:
                # 1. admit: subject, inbox, size, refusals and rate so far, a free slot
                subject, operation = admit(case)
                self.refusals.hold_back(case, subject.principal)
                widest = self.policy().limits(subject.principal)
                self.throttle.refuse_early(subject.principal, operation.access, widest)
                self.slots.take(case, subject.principal)
                case.passed("admit")

                # 2. open: shape, times, subject = signed subject
                envelope, header = open_command(case, subject, skew_ms=self.skew_ms)
                case.passed("open")

                # 3. identify: token, revocation, signature, principal; then the body is unpacked,
                #    and what a door carries is held to its caller's proof
                identity = self.identifier.identify(case, subject, envelope, header)
                body = read_body(case, envelope)
                refuse_uncovered(case, subject, header, body)
                case.passed("identify")

                # 4. replay: not seen by this worker; a durable job was not tried too often, and
                #    none of its id is under way
                refuse_again(case, header, subject.principal, self.seen)
                self.under_way.hold(case)
                case.passed("replay")

                # 5. authorize: policy, arguments, document rules, everything it is made of
                request = await self.authorizer.authorize(
                    case, self.policy(), subject, identity, body
                )
                case.passed("authorize")

                # 6. throttle: the principal's rates, over all workers
                await self.throttle.take(
                    subject.principal, operation.access, request.grant.limits, len(message.data)
                )
                case.passed("throttle")

                # 7. remember: is there hope, and what did an earlier attempt already do
                deadline = case.deadline(header, self.skew_ms)
                self.executor.refuse_hopeless(request, deadline)
                claim = make_claim(request, header, envelope.body)
                done = await self.executor.remember(
                    subject.database, claim, case.attempt(header), deadline
                )
                case.passed("remember")

                # 8. audit intent: acknowledged by the trail, or nothing is executed
                await self.audit.intent(case)
                case.passed("intend")

                # 9. execute: effect and ledger entry in one commit
                if done is None:
                    done = await self.executor.execute(request, claim, deadline)
                case.replayed = done.replayed is not None
                case.passed("execute")

                # 10. audit outcome: a mutation waits for its receipt; what may be shown of it
                receipt = await self.audit.done(case, done)
                reply = success(reveal(done, request), receipt)
                case.passed("conclude")
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever happens, the caller is told
                answer = _coded(case, error)
                case.stopped()
                self.refusals.count(case, answer)
                await self._record(case, answer)
                reply = failure(answer)

            # 11. reply: signed, to the caller's own inbox and nowhere else
            await self.replies.send(case, reply, answer)
            self.throttle.charge(case, len(reply))
            case.passed("reply")
        finally:
            self._let_go(case, answer)

    def _let_go(self, case: Case, answer: MallkuError | None) -> None:
        self.under_way.release(case)
        self.slots.give_back(case)
        if self.observer is not None:
            self.observer.ended(case, answer)

    async def _record(self, case: Case, error: MallkuError) -> None:
        """Put a refusal or a failure on the trail.

        An intent whose effect is in doubt stays open: only the ledger can tell, later. That there
        was no room is counted alone, unless there is an intent that has to have its outcome.
        Whatever goes wrong here is logged, since the caller's reply is still to leave.
        """
        in_doubt = case.mutates and isinstance(error, (OutcomeUnknown, InternalError))
        if case.concluded or (case.intended and in_doubt):
            return
        command = case.header and case.header.id
        try:
            if case.intended:
                await self.audit.failed(case, error)
            elif not isinstance(error, Busy):
                self.audit.denied(case, error)
        except (OutcomePending, asyncio.CancelledError):
            # The record is on its way and will be repeated; that nothing was done can be said now.
            _log.warning("outcome_pending", id=command, code=error.code)
        except Exception as unforeseen:  # noqa: BLE001 - whatever happens, the caller is told
            _log.error("not_recorded", id=command, code=error.code, exc_info=unforeseen)


def _coded(case: Case, error: BaseException) -> MallkuError:
    """What the caller is told of an error, which is parted from the frames that it passed."""
    told = _told(case, error)
    _part_from_frames(error)
    return told


def _told(case: Case, error: BaseException) -> MallkuError:
    """The error itself where it is coded; a surprise tells nothing but where to ask."""
    if isinstance(error, MallkuError):
        return error
    if isinstance(error, asyncio.CancelledError):
        return _cut_off(case)
    correlation = secrets.token_hex(8)
    command = case.header.id if case.header else ""
    _log.error("unexpected", correlation=correlation, id=command, exc_info=error)
    return InternalError("something unexpected happened in the worker", correlation=correlation)


def _part_from_frames(error: BaseException | None) -> None:
    """Let go of the frames that an error, and what it came from, passed.

    They hold the whole message, and often the error itself: cycles, and the collector of a worker
    comes round seldom.
    """
    while error is not None:
        error.__traceback__, error = None, error.__context__


def _cut_off(case: Case) -> MallkuError:
    """The worker ends before the command did, which is true to say in one of three ways."""
    if case.concluded:
        return OutcomePending("the command was carried out; its record is not acknowledged yet")
    if case.intended and case.mutates:
        return OutcomeUnknown("the worker ended while the store was at work; ask with outcome")
    return Unavailable("the worker is ending; nothing was done")
