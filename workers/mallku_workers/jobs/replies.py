"""Step 11 for durable jobs: the signed reply is kept, and sent to a caller who still listens."""

from __future__ import annotations

from typing import Final

import structlog

from mallku_broker.connection import GatewayConnection
from mallku_broker.events import ConnectionLost
from mallku_contracts.errors import InternalError, JobShareUsed, MallkuError
from mallku_contracts.subjects import CommandSubject
from mallku_workers.jobs.delivery import SHARE_AGAIN_S, Fate
from mallku_workers.jobs.results import Kept, Results, seen_by
from mallku_workers.ledger import ledger_key
from mallku_workers.message import Case
from mallku_workers.replies import Replies, failure

INBOX: Final = "job"
"""Below a caller's inbox prefix, before the id of the job whose reply comes there."""

_log = structlog.get_logger("mallku.jobs")


class JobReplies:
    """Decides what becomes of a job, and keeps what there is to say of it.

    Attributes:
        dropped: Callers who were not told; they find it with `outcome`.
    """

    def __init__(self, replies: Replies, bus: GatewayConnection, results: Results) -> None:
        self._replies = replies
        self._bus = bus
        self._results = results
        self.dropped = 0

    async def send(self, case: Case, body: bytes, error: MallkuError | None = None) -> None:
        """Keep the reply, unless the job is to be tried again; then tell the caller.

        Nothing is kept for a job whose signature was not proven: it may be nobody's.

        Raises:
            Unavailable: nobody says that it is kept; the job is tried again.
        """
        job, header, subject = case.message.job, case.header, case.subject
        if job is None:
            raise InternalError("what is not a durable job came to the replies of jobs")
        job.proven = case.identity is not None
        verdict = job.decide(error)
        if verdict.fate is not Fate.AGAIN and case.identity and header and subject:
            reply = self._replies.seal(case, body, signs=True)
            key = ledger_key(subject.principal, header.idem)
            if not await self._results.keep(subject, key, _kept(case, reply)):
                await self._keep_less(case, subject, key, error)
            self._tell(f"{header.reply}.{INBOX}.{header.id}", reply)
        job.verdict = verdict

    async def _keep_less(
        self, case: Case, subject: CommandSubject, key: str, error: MallkuError | None
    ) -> None:
        """Of what a read found there is kept that there was no room; the ledger has the rest."""
        told = False
        if error is None and not case.mutates:
            less = self._replies.seal(case, failure(_no_room()), signs=True)
            told = await self._results.keep(subject, key, _kept(case, less))
        _log.warning("job_result_not_kept", principal=subject.principal, key=key, told=told)

    def _tell(self, inbox: str, reply: bytes) -> None:
        """The caller reads it with `outcome` if this does not arrive."""
        try:
            self._bus.post(inbox, reply)
        except ConnectionLost:
            self.dropped += 1


def _kept(case: Case, reply: bytes) -> Kept:
    return Kept(seen_by(case.request) if case.request else (), case.mutates, reply)


def _no_room() -> JobShareUsed:
    return JobShareUsed(
        "the job read what it was to read, and the results of your jobs fill your share: it was"
        " sent, and is not kept; submit it again, in smaller parts or when older results are gone",
        retry_after=SHARE_AGAIN_S,
    )
