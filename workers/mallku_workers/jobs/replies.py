"""Step 11 for durable jobs: the signed reply is kept, and sent to a caller who still listens."""

from __future__ import annotations

from typing import Final

from mallku_broker.connection import GatewayConnection
from mallku_broker.events import ConnectionLost
from mallku_contracts.errors import InternalError, MallkuError
from mallku_workers.jobs.delivery import Fate
from mallku_workers.jobs.results import Kept, Results, seen_by
from mallku_workers.ledger import ledger_key
from mallku_workers.message import Case
from mallku_workers.replies import Replies

INBOX: Final = "job"
"""Below a caller's inbox prefix, before the id of the job whose reply comes there."""


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
            under = seen_by(case.request) if case.request is not None else ()
            key = ledger_key(subject.principal, header.idem)
            kept = Kept(under, case.mutates, reply)
            await self._results.keep(subject.database, key, kept)
            self._tell(f"{header.reply}.{INBOX}.{header.id}", reply)
        job.verdict = verdict

    def _tell(self, inbox: str, reply: bytes) -> None:
        """The caller reads it with `outcome` if this does not arrive."""
        try:
            self._bus.post(inbox, reply)
        except ConnectionLost:
            self.dropped += 1
