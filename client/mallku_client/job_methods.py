"""The methods that have commands kept: those of a collection, with the same arguments, as jobs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    TypeVar,
    Unpack,
    overload,
)

from mallku_client.answers import Answer
from mallku_client.collection import Collection
from mallku_client.jobs import Job, JobKeywords, JobOptions, job_terms
from mallku_client.options import CallOptions

if TYPE_CHECKING:
    from mallku_client.commands import Commands

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class SubmittingCommands:
    """Stands where commands are sent, and has them kept instead."""

    def __init__(self, commands: Commands, terms: JobOptions) -> None:
        self._commands = commands
        self._terms = terms

    async def submit(
        self,
        operation: str,
        collection: str | None,
        arguments: Mapping[str, Any],
        finish: Callable[[Answer], Coroutine[Any, Any, T]] | None = None,
        **options: Unpack[CallOptions],
    ) -> Job[T]:
        """Have one operation kept; errors as of `Submitter.submit`."""
        terms = self._terms
        key, submitted = await self._commands.submit(
            operation, collection, arguments, terms, **options
        )
        return Job(self._commands, key, submitted, finish)


class _Stop(Exception):
    """No error: a method has said what it would send."""


class _Recorder:
    """Stands where commands are sent, and writes down what would have been."""

    def __init__(self) -> None:
        self.operation = ""
        self.arguments: Mapping[str, Any] = {}
        self.options = CallOptions()

    async def send(
        self,
        operation: str,
        collection: str | None,  # noqa: ARG002  # known already
        arguments: Mapping[str, Any],
        **options: Unpack[CallOptions],
    ) -> Answer:
        """Stop here."""
        self.operation, self.arguments, self.options = operation, arguments, options
        raise _Stop


class _Answered:
    """Stands where commands are sent, and has the answer already."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def send(
        self,
        operation: str,  # noqa: ARG002  # as above
        collection: str | None,  # noqa: ARG002
        arguments: Mapping[str, Any],  # noqa: ARG002
        **options: Unpack[CallOptions],
    ) -> Answer:
        """Give the answer."""
        if (on_answer := options.get("on_answer")) is not None:
            on_answer(self._answer)
        return self._answer


class HasSubmitting(Protocol):
    """Has jobs kept for one collection."""

    name: str
    commands: SubmittingCommands


class _Submitted(Generic[P, R]):
    """A method whose command is kept as a job: takes the same arguments, and gives a `Job`."""

    def __init__(self, method: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]) -> None:
        @functools.wraps(method)
        async def submit(collection: HasSubmitting, /, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
            async def finish(answer: Answer) -> R:
                return await method(Collection(_Answered(answer), collection.name), *args, **kwargs)

            recorder = _Recorder()
            with suppress(_Stop):
                await method(Collection(recorder, collection.name), *args, **kwargs)
            return await collection.commands.submit(
                recorder.operation, collection.name, recorder.arguments, finish, **recorder.options
            )

        self._submit = submit

    @overload
    def __get__(
        self, collection: None, owner: type
    ) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, Job[R]]]: ...
    @overload
    def __get__(
        self, collection: HasSubmitting, owner: type
    ) -> Callable[P, Coroutine[Any, Any, Job[R]]]: ...
    def __get__(
        self, collection: HasSubmitting | None, owner: type
    ) -> Callable[..., Coroutine[Any, Any, Job[R]]]:
        if collection is None:
            return self._submit
        return functools.partial(self._submit, collection)


class Submit:
    """The writes of a collection as durable jobs; called, with other terms (`JobOptions`)."""

    def __init__(self, commands: Commands, name: str, terms: JobOptions | None = None) -> None:
        self._plain = commands
        self.name = name
        self.commands = SubmittingCommands(commands, terms or JobOptions())

    def __call__(self, **terms: Unpack[JobKeywords]) -> Submit:
        """The same with other terms; what is not given is as in `JobOptions`."""
        return self.with_terms(job_terms(**terms))

    def with_terms(self, terms: JobOptions) -> Submit:
        """The same with these terms."""
        return Submit(self._plain, self.name, terms)

    insert = _Submitted(Collection.insert)
    update = _Submitted(Collection.update)
    replace = _Submitted(Collection.replace)
    upsert = _Submitted(Collection.upsert)
    delete = _Submitted(Collection.delete)

    insert_many = _Submitted(Collection.insert_many)
    update_many = _Submitted(Collection.update_many)
    replace_many = _Submitted(Collection.replace_many)
    delete_many = _Submitted(Collection.delete_many)

    update_match = _Submitted(Collection.update_match)
    replace_match = _Submitted(Collection.replace_match)
    delete_match = _Submitted(Collection.delete_match)
    truncate = _Submitted(Collection.truncate)


class SubmitToDatabase:
    """Any operation as a durable job; called, with other terms (`JobOptions`)."""

    def __init__(self, commands: Commands, terms: JobOptions | None = None) -> None:
        self._plain = commands
        self._commands = SubmittingCommands(commands, terms or JobOptions())

    def __call__(self, **terms: Unpack[JobKeywords]) -> SubmitToDatabase:
        """The same with other terms; what is not given is as in `JobOptions`."""
        return self.with_terms(job_terms(**terms))

    def with_terms(self, terms: JobOptions) -> SubmitToDatabase:
        """The same with these terms."""
        return SubmitToDatabase(self._plain, terms)

    async def command(
        self,
        operation: str,
        collection: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> Job[Any]:
        """Have any operation kept, by its name on the wire."""
        return await self._commands.submit(operation, collection, arguments or {}, None, **options)

    async def execute_transaction(
        self, steps: Sequence[Mapping[str, Any]], **options: Unpack[CallOptions]
    ) -> Job[list[Any]]:
        """Have several writes kept, that are carried out all or none."""
        arguments = {"steps": [dict(step) for step in steps]}
        return await self._commands.submit("transaction", None, arguments, None, **options)
