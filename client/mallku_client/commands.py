"""From a verb and its arguments to a command, and through the caller to an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Unpack

from mallku_client.answers import Answer
from mallku_client.caller import Caller
from mallku_client.options import CallOptions
from mallku_client.settings import MAX_TIMEOUT_S
from mallku_client.signer import Command, JobTerms
from mallku_client.submitting import Submitted, Submitter
from mallku_contracts import codec
from mallku_contracts.errors import InvalidArguments
from mallku_contracts.limits import (
    MAX_COMMAND_LIFE_MS,
    MAX_IDEMPOTENCY_KEY_CHARS,
    MAX_JOB_LIFE_MS,
    MAX_ORDERING_KEY_CHARS,
)
from mallku_contracts.subjects import JOB, NEXT, CommandSubject, job_line

if TYPE_CHECKING:
    from mallku_client.jobs import JobOptions
    from mallku_contracts.operations import Operation

_MS = timedelta(milliseconds=1)
_OPTIONS = CallOptions.__optional_keys__ - {"model"}  # an argument by now, where it was given


class Commands:
    """Sends any operation of the table for one principal and database."""

    def __init__(self, caller: Caller, principal: str, database: str, timeout_s: float) -> None:
        from mallku_contracts.operations import OPERATIONS  # brings pydantic: not for an import

        self._operations: Mapping[str, Operation] = OPERATIONS
        self._caller = caller
        self._timeout_s = timeout_s
        self.principal = principal
        self.database = database

    async def send(
        self,
        operation: str,
        collection: str | None,
        arguments: Mapping[str, Any],
        **options: Unpack[CallOptions],
    ) -> Answer:
        """Carry out one operation.

        Args:
            operation: Its name on the wire, such as `insert-many`.
            collection: None where the operation is about the database.
            arguments: Plain values by name; the gateway validates them.

        Raises:
            InvalidArguments: there is no such operation, or a value cannot be sent; its path.
            InvalidSubject: the collection's name is none.
            MallkuError: whatever the gateway answers.
        """
        if not options.keys() <= _OPTIONS:
            unknown = ", ".join(sorted(options.keys() - _OPTIONS))
            raise TypeError(f"{operation}: unknown keyword arguments: {unknown}")
        timeout_s = _checked_timeout(options.get("timeout"), self._timeout_s)
        verb = self._operation(operation, collection)
        subject = CommandSubject.build(self.principal, self.database, collection, operation)
        command = self._command(subject, verb, arguments, options.get("idempotency_key"))
        answer = await self._caller.call(command, timeout_s=timeout_s)
        on_answer = options.get("on_answer")
        if on_answer is not None:
            on_answer(answer)
        return answer

    async def submit(
        self,
        operation: str,
        collection: str | None,
        arguments: Mapping[str, Any],
        terms: JobOptions,
        **options: Unpack[CallOptions],
    ) -> tuple[str, Submitted]:
        """Have one operation kept as a durable job; its idempotency key, and where it is kept.

        Raises:
            InvalidArguments: as `send`, or the terms are none.
            MallkuError: as `Submitter.submit`.
        """
        timeout_s = _checked_timeout(options.get("timeout"), self._timeout_s)
        verb = self._operation(operation, collection)
        now_ms = self._caller.signer.now_ms()
        held_to = _job_terms(terms, now_ms)
        line = job_line(scheduled=bool(held_to.run_at_ms), ordering_key=held_to.ordering_key)
        place = CommandSubject.build(self.principal, self.database, collection, operation)
        subject = replace(place, channel=JOB, line=line)
        command = self._command(subject, verb, arguments, options.get("idempotency_key"))
        submitted = await self._caller.jobs.submit(command, held_to, timeout_s=timeout_s)
        return command.idempotency_key, submitted

    @property
    def jobs(self) -> Submitter:
        """What believes the replies to durable jobs."""
        return self._caller.jobs

    @property
    def timeout_s(self) -> float:
        """How long a call takes at most unless it says otherwise, seconds."""
        return self._timeout_s

    async def ask_worker(
        self, worker: str, arguments: Mapping[str, Any], *, timeout_s: float | None = None
    ) -> Answer:
        """Ask the worker that holds a cursor for one of its pages (operation `next`).

        Raises:
            CursorLost: the worker is gone, or has the cursor no more.
            MallkuError: whatever the gateway answers; the page can be asked for again.
        """
        limit_s = _checked_timeout(timeout_s, self._timeout_s)
        subject = CommandSubject.of_cursor(self.principal, self.database, worker)
        command = self._command(subject, self._operations[NEXT], arguments, None)
        return await self._caller.call(command, timeout_s=limit_s)

    async def close(self) -> None:
        """Refuse commands from now on and close the connection."""
        await self._caller.close()

    def _command(
        self,
        subject: CommandSubject,
        operation: Operation,
        arguments: Mapping[str, Any],
        key: str | None,
    ) -> Command:
        first_id = self._caller.signer.new_id()
        return Command(
            subject,
            pack_arguments(arguments),
            first_id,
            first_id if key is None else _checked_key(key),
            operation.may_mutate and arguments.get("read_only") is not True,
        )

    def _operation(self, name: str, collection: str | None) -> Operation:
        operation = self._operations.get(name)
        if operation is None:
            raise InvalidArguments(
                f"{name!r} is no operation; there are: {', '.join(sorted(self._operations))}"
            )
        if (operation.scope == "database") != (collection is None):
            about = "the database, not a collection" if collection else "a collection: name it"
            raise InvalidArguments(f"{name} is about {about}")
        if name == NEXT:
            raise InvalidArguments(f"{NEXT} is asked of the worker that holds a cursor: use aql")
        return operation


def pack_arguments(arguments: Mapping[str, Any]) -> bytes:
    """The body of a command; `InvalidArguments` names the path of a value that cannot be sent."""
    try:
        return codec.pack(dict(arguments))
    except codec.CodecError as error:
        path, _, reason = str(error).partition(": ")
        raise InvalidArguments(str(error), details={"fields": {path: reason}}) from None


def _checked_timeout(timeout_s: float | None, default_s: float) -> float:
    if timeout_s is None:
        return default_s
    if not 0 < timeout_s <= MAX_TIMEOUT_S:
        raise InvalidArguments(f"timeout: expected more than 0 and at most {MAX_TIMEOUT_S:g} s")
    return timeout_s


def _job_terms(options: JobOptions, now_ms: int) -> JobTerms:
    """What is signed of a job's terms; `InvalidArguments` names the one that cannot be."""
    life_ms = int(options.expires_in / _MS)
    budget_ms = int(options.attempt_timeout / _MS)
    run_at_ms = 0 if options.run_at is None else int(options.run_at.timestamp() * 1_000)
    if not 0 < life_ms <= MAX_JOB_LIFE_MS:
        raise InvalidArguments(f"expires_in: more than 0 and at most {MAX_JOB_LIFE_MS} ms")
    if not 0 < budget_ms <= MAX_COMMAND_LIFE_MS:
        raise InvalidArguments(f"attempt_timeout: at most {MAX_COMMAND_LIFE_MS} ms")
    if run_at_ms > now_ms + life_ms:
        raise InvalidArguments("run_at: the job expires before; say a longer expires_in")
    key = options.ordering_key or ""
    if len(key) > MAX_ORDERING_KEY_CHARS:
        raise InvalidArguments(f"ordering_key: at most {MAX_ORDERING_KEY_CHARS} characters")
    return JobTerms(now_ms + life_ms, budget_ms, run_at_ms if run_at_ms > now_ms else 0, key)


def _checked_key(key: str) -> str:
    if not 0 < len(key) <= MAX_IDEMPOTENCY_KEY_CHARS:
        raise InvalidArguments(
            f"idempotency_key: expected 1 to {MAX_IDEMPOTENCY_KEY_CHARS} characters"
        )
    return key
