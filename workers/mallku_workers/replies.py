"""Step 11, reply: signed, to the caller's own inbox and nowhere else."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Protocol

import structlog

from mallku_broker.events import ConnectionLost
from mallku_broker.headers import NO_HEADERS, encode_headers
from mallku_contracts import codec
from mallku_contracts.envelope import (
    CommandHeader,
    Envelope,
    ReplyHeader,
    command_hash,
    seal_reply,
    token_hash,
)
from mallku_contracts.errors import InternalError, MallkuError, MessageTooLarge, ResultTooLarge
from mallku_contracts.keys import SigningKey
from mallku_contracts.limits import KIB, MAX_REPLY_BYTES
from mallku_contracts.protected import VERSION
from mallku_contracts.results import Receipt
from mallku_workers.message import Case
from mallku_workers.stores.base import Done

REPLY_MARGIN_BYTES: Final = 16 * KIB
"""What protected part, signature, token and headers of a reply may take, bytes."""

MAX_HEADER_CHARS: Final = 256
"""An error's message in a header, characters; the whole one stands in the body."""

RELIEF_WAIT_S: Final = 2.0
"""How long a reply waits while the bus takes nothing, seconds; then it is dropped."""

_log = structlog.get_logger("mallku.replies")
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]")


class Bus(Protocol):
    """What replying needs of the broker."""

    @property
    def congested(self) -> bool:
        """Whether more waits to be sent than should."""
        ...

    async def relief(self) -> None:
        """Return when what waits has left; wait for it under a timeout."""
        ...

    def post(self, subject: str, body: bytes, *, reply: str = "", header: bytes = ...) -> None:
        """Hand over one message for sending."""
        ...


@dataclass(frozen=True, slots=True)
class WorkerIdentity:
    """In whose name replies are signed: instance id, key, and the token as it is now."""

    instance: str
    key: SigningKey
    token: Callable[[], bytes]


class Answering(Protocol):
    """Where the answer to a command goes."""

    @property
    def dropped(self) -> int:
        """Answers that could not be sent, since the start."""
        ...

    async def send(self, case: Case, body: bytes, error: MallkuError | None = None) -> None:
        """Send it there; `error` is what it says went wrong."""
        ...


class Replies:
    """Seals and sends replies in this worker's name; `clock` is Unix milliseconds.

    Replies to mutations and errors are always signed, the results of reads when `sign_reads`.

    Attributes:
        dropped: Replies that could not be sent, since the start.
    """

    def __init__(
        self, bus: Bus, identity: WorkerIdentity, clock: Callable[[], int], *, sign_reads: bool
    ) -> None:
        self._bus = bus
        self._identity = identity
        self._clock = clock
        self._sign_reads = sign_reads
        self.dropped = 0

    async def send(self, case: Case, body: bytes, error: MallkuError | None = None) -> None:
        """Send the reply, unless step 1 found that it was asked for elsewhere.

        What cannot be sent is dropped and logged: the caller asks again, and the ledger answers.
        """
        if not case.may_reply:
            return
        try:
            if self._bus.congested:
                await self._relief(case)
            self._post(case, body, error)
        except MessageTooLarge as refusal:
            committed = case.concluded and case.mutates
            larger = ResultTooLarge(refusal.message, details={"committed": committed})
            self._post(case, failure(larger), larger)
        except (ConnectionLost, TimeoutError) as lost:
            self.dropped += 1
            _log.warning("reply_not_sent", id=case.header and case.header.id, reason=str(lost))

    async def _relief(self, case: Case) -> None:
        """Wait while the bus takes nothing; only who holds a slot may, so that few do."""
        if case.slot is None:
            raise TimeoutError("the bus takes nothing now")
        async with asyncio.timeout(RELIEF_WAIT_S):
            await self._bus.relief()

    def _post(self, case: Case, body: bytes, error: MallkuError | None) -> None:
        data = self.seal(
            case, body, signs=_must_sign(case) or self._sign_reads or error is not None
        )
        self._bus.post(case.message.reply, data, header=_header(error))

    def seal(self, case: Case, body: bytes, *, signs: bool) -> bytes:
        """The bytes of a reply; without a question that could be read it is not signed."""
        command_id, digest = _question(case)
        signs = signs and bool(digest)
        worker = self._identity
        token = worker.token() if signs else b""
        header = ReplyHeader(
            v=VERSION,
            kid=worker.key.kid,
            id=command_id,
            cmd=digest,
            time=self._clock(),
            worker=worker.instance,
            ath=token_hash(token),
        )
        return seal_reply(header, body, worker.key if signs else None, token)


def _question(case: Case) -> tuple[str, bytes]:
    """The id and the hash of the command that is answered; both empty when it is unreadable."""
    if case.header is not None and case.signed:
        return case.header.id, sha256(case.signed).digest()
    try:
        envelope = case.envelope or Envelope.split(case.message.data)
        header = case.header or CommandHeader.read(envelope.protected)
    except MallkuError:
        return "", b""
    return header.id, command_hash(case.message.subject, envelope.protected, envelope.body)


def success(done: Done, receipt: Receipt | None) -> bytes:
    """The body of a reply that carries a result.

    Raises:
        ResultTooLarge: it would not fit a message; `details` says whether an effect stands.
    """
    body: dict[str, Any] = {"result": done.result}
    if receipt is not None:
        body["receipt"] = receipt
    if done.replayed is not None:
        body["replayed"] = True
    packed = codec.pack_trusted(body)
    if len(packed) > MAX_REPLY_BYTES - REPLY_MARGIN_BYTES:
        raise ResultTooLarge(
            f"the result has {len(packed)} bytes and does not fit a reply",
            details={"committed": receipt is not None},
        )
    return packed


def failure(error: MallkuError) -> bytes:
    """The body of a reply that carries an error."""
    try:
        return codec.pack({"error": error.to_wire()})
    except codec.CodecError as unfit:
        _log.exception("error_not_encoded", code=error.code, reason=str(unfit))
        bland = InternalError("the error cannot be told", correlation=error.correlation)
        return codec.pack({"error": bland.to_wire()})


def _header(error: MallkuError | None) -> bytes:
    if error is None:
        return NO_HEADERS
    text = _UNPRINTABLE.sub("?", f"{error.code}: {error.message}")[:MAX_HEADER_CHARS]
    return encode_headers(
        {"Nats-Service-Error": text, "Nats-Service-Error-Code": str(error.number)}
    )


def _must_sign(case: Case) -> bool:
    """Whether a reply is signed whatever the setting: the client cannot tell what a query does."""
    return case.operation is None or case.operation.may_mutate
