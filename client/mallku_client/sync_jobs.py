"""Durable jobs without `await`: `collection.submit.insert(…)` gives a job whose `result` blocks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import (
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    TypeVar,
    Unpack,
    overload,
)

from mallku_client import job_methods as methods
from mallku_client import jobs as awaited
from mallku_client import portal
from mallku_client.answers import Answer
from mallku_client.options import CallOptions
from mallku_client.session import Session

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Job(Generic[T]):
    """A command that the gateway keeps until it is done; see `mallku_client.jobs.Job`."""

    def __init__(self, job: awaited.Job[T]) -> None:
        self._job = job
        self.id = job.id
        self.idempotency_key = job.idempotency_key
        self.receipt = job.receipt

    def __repr__(self) -> str:
        return repr(self._job)

    def result(self, timeout: float | None = None) -> T:
        """What the operation answers, when it is done; see `mallku_client.jobs.Job.result`."""
        return portal.current().call(self._job.result(timeout))

    def answer(self, timeout: float | None = None) -> Answer:
        """Everything that the reply says."""
        return portal.current().call(self._job.answer(timeout))


class _HasTarget(Protocol):
    async def target(self) -> Any:
        """The awaited object."""
        ...


class _Submitted(Generic[P, R]):
    """A method whose command is kept as a job, by the awaited one of the same name."""

    def __init__(
        self, method: Callable[Concatenate[Any, P], Coroutine[Any, Any, awaited.Job[R]]]
    ) -> None:
        @functools.wraps(method)
        def submit(facade: _HasTarget, /, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
            return Job(portal.current().call(run(facade, *args, **kwargs)))

        async def run(facade: _HasTarget, /, *args: P.args, **kwargs: P.kwargs) -> awaited.Job[R]:
            return await method(await facade.target(), *args, **kwargs)

        self._submit = submit

    @overload
    def __get__(self, facade: None, owner: type) -> Callable[Concatenate[Any, P], Job[R]]: ...
    @overload
    def __get__(self, facade: _HasTarget, owner: type) -> Callable[P, Job[R]]: ...
    def __get__(self, facade: _HasTarget | None, owner: type) -> Callable[..., Job[R]]:
        return self._submit if facade is None else functools.partial(self._submit, facade)


class Submit:
    """The writes of a collection as durable jobs; see `mallku_client.job_methods.Submit`."""

    def __init__(
        self, session: Session, name: str, terms: awaited.JobOptions | None = None
    ) -> None:
        self._session = session
        self._name = name
        self._terms = terms or awaited.JobOptions()

    def __call__(self, **terms: Unpack[awaited.JobKeywords]) -> Submit:
        """The same with other terms; what is not given is as in `JobOptions`."""
        return Submit(self._session, self._name, awaited.job_terms(**terms))

    async def target(self) -> methods.Submit:
        """The awaited object behind this one; for the facade's own use."""
        collection = (await self._session.database()).collection(self._name)
        return collection.submit.with_terms(self._terms)

    insert = _Submitted(methods.Submit.insert)
    update = _Submitted(methods.Submit.update)
    replace = _Submitted(methods.Submit.replace)
    upsert = _Submitted(methods.Submit.upsert)
    delete = _Submitted(methods.Submit.delete)

    insert_many = _Submitted(methods.Submit.insert_many)
    update_many = _Submitted(methods.Submit.update_many)
    replace_many = _Submitted(methods.Submit.replace_many)
    delete_many = _Submitted(methods.Submit.delete_many)

    update_match = _Submitted(methods.Submit.update_match)
    replace_match = _Submitted(methods.Submit.replace_match)
    delete_match = _Submitted(methods.Submit.delete_match)
    truncate = _Submitted(methods.Submit.truncate)


class SubmitToDatabase:
    """Any operation as a durable job; see `mallku_client.job_methods.SubmitToDatabase`."""

    def __init__(self, session: Session, terms: awaited.JobOptions | None = None) -> None:
        self._session = session
        self._terms = terms or awaited.JobOptions()

    def __call__(self, **terms: Unpack[awaited.JobKeywords]) -> SubmitToDatabase:
        """The same with other terms; what is not given is as in `JobOptions`."""
        return SubmitToDatabase(self._session, awaited.job_terms(**terms))

    async def target(self) -> methods.SubmitToDatabase:
        """The awaited object behind this one; for the facade's own use."""
        return (await self._session.database()).submit.with_terms(self._terms)

    def command(
        self,
        operation: str,
        collection: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> Job[Any]:
        """Have any operation kept, by its name on the wire."""
        return self._run(lambda submit: submit.command(operation, collection, arguments, **options))

    def execute_transaction(
        self, steps: Sequence[Mapping[str, Any]], **options: Unpack[CallOptions]
    ) -> Job[list[Any]]:
        """Have several writes kept, that are carried out all or none."""
        return self._run(lambda submit: submit.execute_transaction(steps, **options))

    def _run(
        self, method: Callable[[methods.SubmitToDatabase], Coroutine[Any, Any, awaited.Job[T]]]
    ) -> Job[T]:
        async def run() -> awaited.Job[T]:
            return await method(await self.target())

        return Job(portal.current().call(run()))


def resume(session: Session, idempotency_key: str) -> Job[Any]:
    """A durable job that was submitted by this principal, in whatever process."""

    async def find() -> awaited.Job[Any]:
        return (await session.database()).job(idempotency_key)

    return Job(portal.current().call(find()))
