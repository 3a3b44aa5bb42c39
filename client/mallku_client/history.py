"""A history of calls: what was asked, when, and what the caller was told, as JSON lines.

Two lines for each call, `begin` before anything is sent and `end` when the caller is told; a call
without an end is one whose process ended first. `mallku-gateway check-history` holds histories
against the audit trail and the store. A history holds documents, so nobody else may read the file.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import time
from pathlib import Path
from typing import Any, Final, Literal

from mallku_client.answers import Answer
from mallku_client.caller import Caller
from mallku_client.signer import Command
from mallku_contracts import codec
from mallku_contracts.errors import (
    ConfigurationError,
    MallkuError,
    OutcomePending,
    OutcomeUnknown,
    ResultTooLarge,
)
from mallku_contracts.limits import MIB

VERSION: Final = 1

BEGIN: Final = "begin"
END: Final = "end"
CUT: Final = "cut"
"""The last line of a history that had no more room: calls are missing behind it."""

MAX_HISTORY_BYTES: Final = 4_096 * MIB
"""What one client writes at most, bytes; then it says so, and stops writing."""

Outcome = Literal["done", "failed", "outcome_unknown"]

_CLIENT_BYTES = 6
_US = 1_000
_LOG = logging.getLogger(__name__)


class History:
    """Appends to a file; several clients and processes may share one.

    Attributes:
        client: A random name of this client in the history.
    """

    def __init__(self, path: Path, *, max_bytes: int = MAX_HISTORY_BYTES) -> None:
        """Open or create the file; `ConfigurationError` when that is not possible."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            self._file = os.open(path, flags, 0o600)
        except OSError as error:
            raise ConfigurationError(f"history file {path}: {error.strerror}") from None
        self.client = secrets.token_hex(_CLIENT_BYTES)
        self._left = max_bytes
        self._calls = 0
        # From here on the wall clock may jump; the order of calls must not.
        self._base_ns = time.time_ns() - time.monotonic_ns()

    def begin(self, command: Command) -> int:
        """Say that a call is about to be made; returns its number."""
        self._calls += 1
        subject = command.subject
        self._write(
            BEGIN,
            self._calls,
            principal=subject.principal,
            database=subject.database,
            collection=subject.collection,
            operation=subject.operation,
            mutates=command.mutates,
            idempotency_key=command.idempotency_key,
            id=command.first_id,
            arguments=codec.unpack(command.body),
        )
        return self._calls

    def answered(self, call: int, answer: Answer) -> None:
        """Say that a call was answered with a result."""
        receipt = answer.receipt
        self._write(
            END,
            call,
            outcome="done",
            id=answer.id,
            attempts=answer.attempts,
            replayed=answer.replayed,
            result=answer.result,
            receipt=None if receipt is None else _plain(receipt),
        )

    def ended(self, call: int, error: BaseException) -> None:
        """Say that a call ended with an error, or that its caller gave it up."""
        code = error.code if isinstance(error, MallkuError) else type(error).__name__
        self._write(END, call, outcome=outcome_of(error), code=code)

    def close(self) -> None:
        """Close the file; twice is fine."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _write(self, event: str, call: int, **fields: Any) -> None:
        """One line, in one write, so that lines of several writers never mix.

        What cannot be written ends the history and not the caller's work.
        """
        if self._file < 0:
            return
        at = (self._base_ns + time.monotonic_ns()) // _US
        head = {"v": VERSION, "event": event, "client": self.client, "call": call, "at": at}
        data = _line(head | fields)
        self._left -= len(data)
        cut = self._left < 0
        try:
            os.write(self._file, _line(head | {"event": CUT}) if cut else data)
        except OSError as error:
            cut = True
            _LOG.error("history: %s", error.strerror)
        if cut:
            _LOG.error("history: nothing more is recorded; it ends here")
            self.close()


class RecordingCaller(Caller):
    """A caller that keeps a history of what it is asked and answers."""

    def __init__(self, history: History, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.history = history
        self._under_way = 0

    async def call(self, command: Command, *, timeout_s: float) -> Answer:
        """As `Caller.call`."""
        number = self.history.begin(command)
        self._under_way += 1
        try:
            answer = await super().call(command, timeout_s=timeout_s)
        except BaseException as error:
            self.history.ended(number, error)
            raise
        else:
            self.history.answered(number, answer)
            return answer
        finally:
            self._under_way -= 1
            self._close_history()

    async def close(self) -> None:
        """As `Caller.close`; the history ends behind the last call that still waits."""
        try:
            await super().close()
        finally:
            self._close_history()

    def _close_history(self) -> None:
        if self.is_closed and not self._under_way:
            self.history.close()


def outcome_of(error: BaseException) -> Outcome:
    """What the caller knows about the effect of a call that ended with this error.

    A refusal after which nothing can have been done is `failed`. Some errors say that the effect
    stands although there is no result: those are `done`.
    """
    if not isinstance(error, MallkuError) or isinstance(error, OutcomeUnknown):
        return "outcome_unknown"
    if isinstance(error, OutcomePending):
        return "done"
    if isinstance(error, ResultTooLarge) and error.details.get("committed") is True:
        return "done"
    return "failed"


def _plain(receipt: Any) -> dict[str, Any]:
    """A receipt with its hash in hexadecimal digits."""
    return {
        name: value.hex() if isinstance(value, bytes) else value for name, value in receipt.items()
    }


def _line(fields: dict[str, Any]) -> bytes:
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"), default=_other)
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _other(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
