"""Signed checkpoints of this worker: every second while there is something to say.

They never stand in the way of a command; but numbers that no checkpoint covers are bounded, and the
writer refuses when there are too many (`Numbers.has_room`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import structlog

from mallku_broker.acknowledgements import PublishFailed
from mallku_broker.streams import AUDIT
from mallku_contracts.envelope import (
    token_hash,
)
from mallku_contracts.errors import AuditUnavailable
from mallku_contracts.protected import VERSION
from mallku_contracts.trail.checkpoint import (
    MAX_VOUCHES,
    NO_CHECKPOINT,
    Checkpoint,
    CheckpointError,
    CheckpointHeader,
    Head,
    Statement,
    Vouch,
    open_checkpoint,
    seal_checkpoint,
)
from mallku_workers.audit.numbers import Covered, Numbers
from mallku_workers.audit.publishing import Acknowledgements
from mallku_workers.identity import Trusting
from mallku_workers.replies import WorkerIdentity

MAX_WAITING_VOUCHES: Final = 1_024
"""Vouches that no checkpoint carries yet."""

PARTING_TRY_S: Final = 0.1
"""Between two tries of the last checkpoint, seconds."""

_log = structlog.get_logger("mallku.checkpoints")


@dataclass(frozen=True, slots=True)
class CheckpointLimits:
    """How often checkpoints are made, and how long one try waits.

    Attributes:
        every_s: Between two checkpoints, and between two tries of one, seconds.
        wait_s: How long one try waits for the stream, seconds.
    """

    every_s: float
    wait_s: float


class _Waiting(NamedTuple):
    vouch: Vouch
    carried: asyncio.Future[Head]


class Checkpoints:
    """Makes this worker's checkpoints and publishes them one after the other.

    A checkpoint is the same bytes with every try, and the next one is made when it is acknowledged.
    One that nobody could believe, because the worker's token is over, is not made; what it would
    cover waits.

    Args:
        acknowledgements: Of the checkpoint stream.
        heads: The other workers' newest checkpoints that were seen, by instance.
        published: Told of each checkpoint once it stands in the stream; must neither wait nor
            raise.
        clock: Unix milliseconds.
    """

    def __init__(  # noqa: PLR0913 - everything that a checkpoint is made of
        self,
        acknowledgements: Acknowledgements,
        numbers: Numbers,
        identity: WorkerIdentity,
        trusting: Trusting,
        limits: CheckpointLimits,
        *,
        clock: Callable[[], int],
        heads: Callable[[], Mapping[str, Head]],
        published: Callable[[Checkpoint], None],
    ) -> None:
        self._acknowledgements = acknowledgements
        self._numbers = numbers
        self._identity = identity
        self._trusting = trusting
        self._limits = limits
        self._clock = clock
        self._heads = heads
        self._published = published
        self._head = Head(0, NO_CHECKPOINT)
        self._unheard: Checkpoint | None = None
        self._vouches: deque[_Waiting] = deque()
        self._ending = False
        self._ended = False
        self._trouble = ""

    @property
    def head(self) -> Head:
        """The newest checkpoint that was acknowledged; number 0 before the first."""
        return self._head

    def vouch(self, vouch: Vouch) -> asyncio.Future[Head]:
        """Let the next checkpoint say this of a dead worker's tail.

        The future ends when that checkpoint stands in the stream, and says which it is.

        Raises:
            AuditUnavailable: too many vouches wait already.
        """
        if len(self._vouches) >= MAX_WAITING_VOUCHES:
            raise AuditUnavailable("too many vouches wait for a checkpoint")
        carried: asyncio.Future[Head] = asyncio.get_running_loop().create_future()
        self._vouches.append(_Waiting(vouch, carried))
        return carried

    async def keep(self) -> None:
        """Say what there is to say, again and again until cancelled."""
        while True:
            await self._say()
            await asyncio.sleep(self._limits.every_s)

    async def finish(self, timeout_s: float) -> bool:
        """Say the rest when nothing is written any more; whether a final checkpoint stands.

        There is none while a record is not acknowledged: whoever reads the trail must not take for
        the end what is not. `keep` must have been cancelled.
        """
        self._ending = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not await self._say():  # noqa: ASYNC110 - the broker sets no event
                    await asyncio.sleep(min(self._limits.every_s, PARTING_TRY_S))
        for waiting in self._vouches:
            waiting.carried.cancel()
        return self._ended

    async def _say(self) -> bool:
        """Publish checkpoints until nothing is left to say; False when one was not acknowledged."""
        while (checkpoint := self._unheard or self._make()) is not None:
            self._unheard = checkpoint
            try:
                await self._acknowledgements.publish(
                    checkpoint.subject,
                    checkpoint.data,
                    message_id=checkpoint.message_id,
                    timeout=self._limits.wait_s,
                )
            except PublishFailed as error:
                self._hear(f"the stream does not acknowledge it: {error}")
                return False
            self._stands(checkpoint)
        return True

    def _stands(self, checkpoint: Checkpoint) -> None:
        statement = checkpoint.statement
        self._hear("")
        self._unheard = None
        self._head = checkpoint.head
        self._ended = statement.final
        if statement.last >= statement.first:
            self._numbers.covered()
        for _ in statement.vouches:
            carried = self._vouches.popleft().carried
            if not carried.done():
                carried.set_result(checkpoint.head)
        self._published(checkpoint)

    def _make(self) -> Checkpoint | None:
        """The next checkpoint; None when there is nothing to say, or nobody would believe it."""
        covered = self._numbers.next()
        vouches = tuple(waiting.vouch for waiting in self._vouches)[:MAX_VOUCHES]
        final = self._ending and not self._ended and self._is_last(covered, vouches)
        if covered is None and not vouches and not final:
            return None
        statement = self._statement(covered or self._numbers.none(), vouches, final=final)
        try:
            checkpoint = self._seal(statement)
            open_checkpoint(checkpoint.data, self._trusting.trust)
        except CheckpointError as error:
            self._hear(f"nobody would believe it: {error}")
            return None
        return checkpoint

    def _is_last(self, covered: Covered | None, vouches: tuple[Vouch, ...]) -> bool:
        """Whether everything is said with it."""
        last = self._numbers.none().last if covered is None else covered.last
        return last == self._numbers.given and len(vouches) == len(self._vouches)

    def _statement(self, covered: Covered, vouches: tuple[Vouch, ...], *, final: bool) -> Statement:
        return Statement(
            stream=AUDIT,
            first=covered.first,
            last=covered.last,
            size=covered.size,
            root=covered.root,
            void=covered.void,
            sequence=covered.sequence,
            heads=dict(self._heads()),
            vouches=vouches,
            final=final,
        )

    def _seal(self, statement: Statement) -> Checkpoint:
        identity = self._identity
        token = identity.token()
        header = CheckpointHeader(
            v=VERSION,
            kid=identity.key.kid,
            worker=identity.instance,
            number=self._head.number + 1,
            time=self._clock(),
            previous=self._head.hash,
            ath=token_hash(token),
        )
        return seal_checkpoint(header, statement, identity.key, token)

    def _hear(self, trouble: str) -> None:
        """Say when checkpoints stop and when they go on, not once for each try."""
        if trouble and not self._trouble:
            _log.warning("checkpoints_stopped", reason=trouble, uncovered=self._numbers.uncovered)
        elif self._trouble and not trouble:
            _log.info("checkpoints_go_on", uncovered=self._numbers.uncovered)
        self._trouble = trouble
