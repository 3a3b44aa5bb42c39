"""Writes that are collected first and carried out together: all of them, or none.

A transaction is one command. Nothing is sent and nothing is locked while it is written down, so
that no step can depend on what another one answered.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, Unpack, cast, overload

from mallku_client.answers import Answer
from mallku_client.collection import Collection
from mallku_client.options import CallOptions
from mallku_contracts.subjects import check_name

P = ParamSpec("P")
R = TypeVar("R")

_NOT_YET = object()


class TransactionJob(Generic[R]):
    """One write of a transaction; `result()` is there once the transaction was committed."""

    def __init__(self, operation: str, collection: str, arguments: Mapping[str, Any]) -> None:
        self.step: dict[str, Any] = {
            "operation": operation,
            "collection": collection,
            "arguments": dict(arguments),
        }
        self._result: object = _NOT_YET

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.step['operation']} {self.step['collection']}>"

    def result(self) -> R:
        """What the write would have answered alone; `RuntimeError` before the commit."""
        if self._result is _NOT_YET:
            raise RuntimeError("the transaction was not committed: there is no result")
        return cast("R", self._result)

    def finish(self, result: R) -> None:
        """Give the job its result; for the transaction's own use."""
        self._result = result


class TransactionSteps:
    """What a transaction holds before it is sent; made by `transaction()` of a database."""

    def __init__(self) -> None:
        self._jobs: list[TransactionJob[Any]] = []
        self._ended = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self._jobs)}>"

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The writes so far, as the operation `transaction` takes them."""
        return [job.step for job in self._jobs]

    @property
    def results(self) -> list[Any]:
        """What each write answered, in their order; `RuntimeError` before the commit."""
        return [job.result() for job in self._jobs]

    def collection(self, name: str) -> TransactionCollection:
        """A collection whose writes become steps of this transaction.

        Raises:
            InvalidSubject: that is no name.
        """
        return TransactionCollection(self, name)

    def abort(self) -> None:
        """End it; nothing was sent and nothing will be."""
        self._ended = True

    def add(self, job: TransactionJob[Any]) -> None:
        """Put another write behind the others; `RuntimeError` when it was committed or aborted."""
        self._refuse_ended()
        self._jobs.append(job)

    def _refuse_ended(self) -> None:
        if self._ended:
            raise RuntimeError("the transaction has ended; begin another one")

    def _finish(self, results: Sequence[Any]) -> list[Any]:
        for job, result in zip(self._jobs, results, strict=True):
            job.finish(result)
        return list(results)


ExecuteTransaction = Callable[..., Coroutine[Any, Any, list[Any]]]
"""`SecuredDatabaseInterface.execute_transaction`."""


class Transaction(TransactionSteps):
    """Collects writes, and sends them as one command when its block ends.

    ::

        async with db.transaction() as tx:
            meta = tx.collection("memory_anchors").insert({"_key": "a"})
            tx.collection("khipu_blocks").update({"_key": "b", "anchor": "a"})
        meta.result()["_rev"]

    A block that raises sends nothing. Where a step is refused nothing of it all is done, and
    `details["step"]` of the error is its place, from 0.
    """

    def __init__(self, execute: ExecuteTransaction, options: CallOptions) -> None:
        super().__init__()
        self._execute = execute
        self._options = options

    async def commit(self) -> list[Any]:
        """Carry out all writes, or none; what each of them answered.

        Raises:
            MallkuError: of the first step that fails, or of what the gateway refuses.
        """
        self._refuse_ended()
        self._ended = True
        if not self._jobs:
            return []
        return self._finish(await self._execute(self.steps, **self._options))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.abort()
        elif not self._ended:
            await self.commit()


class _Recorder:
    """Stands where commands are sent, and writes them down instead."""

    def __init__(self, transaction: TransactionSteps) -> None:
        self._transaction = transaction
        self.job: TransactionJob[Any] | None = None

    async def send(
        self,
        operation: str,
        collection: str | None,
        arguments: Mapping[str, Any],
        **options: Unpack[CallOptions],
    ) -> Answer:
        """Add a step."""
        if options:
            given = ", ".join(sorted(options))
            raise TypeError(f"{given}: not of a step, but of the whole transaction")
        self.job = TransactionJob(operation, collection or "", arguments)
        self._transaction.add(self.job)
        return Answer([], "", "")


class _Collected(Generic[P, R]):
    """A write that becomes a step: takes the awaited method's arguments, and does not wait."""

    def __init__(self, method: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]) -> None:
        @functools.wraps(method)
        def collect(
            collection: TransactionCollection, /, *args: P.args, **kwargs: P.kwargs
        ) -> TransactionJob[R]:
            recorder = _Recorder(collection.transaction)
            _run_through(method(Collection(recorder, collection.name), *args, **kwargs))
            return cast("TransactionJob[R]", recorder.job)

        self._collect = collect

    @overload
    def __get__(
        self, collection: None, owner: type
    ) -> Callable[Concatenate[TransactionCollection, P], TransactionJob[R]]: ...
    @overload
    def __get__(
        self, collection: TransactionCollection, owner: type
    ) -> Callable[P, TransactionJob[R]]: ...
    def __get__(
        self, collection: TransactionCollection | None, owner: type
    ) -> Callable[..., TransactionJob[R]]:
        if collection is None:
            return self._collect
        return functools.partial(self._collect, collection)


def _run_through(method: Coroutine[Any, Any, Any]) -> None:
    """Run what is written as awaited, and has nothing to wait for, to its end."""
    try:
        method.send(None)
    except StopIteration:
        return
    method.close()
    raise RuntimeError("a step of a transaction has nothing to wait for")


class TransactionCollection:
    """One collection within a transaction: its writes are collected, and answer with a job."""

    def __init__(self, transaction: TransactionSteps, name: str) -> None:
        self.transaction = transaction
        self._name = check_name(name, "collection")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name}>"

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._name

    insert = _Collected(Collection.insert)
    update = _Collected(Collection.update)
    replace = _Collected(Collection.replace)
    upsert = _Collected(Collection.upsert)
    delete = _Collected(Collection.delete)

    insert_many = _Collected(Collection.insert_many)
    update_many = _Collected(Collection.update_many)
    replace_many = _Collected(Collection.replace_many)
    delete_many = _Collected(Collection.delete_many)

    update_match = _Collected(Collection.update_match)
    replace_match = _Collected(Collection.replace_match)
    delete_match = _Collected(Collection.delete_match)
