"""Writes that are only tried: `await collection.dry_run.delete_match({"kind": "old"})`.

Each method of a collection that changes or removes documents is there under its own name and with
its own arguments; the answer says which documents it would touch, and none is touched.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Unpack, cast, overload

from mallku_client.answers import Answer
from mallku_client.collection.base import Sender
from mallku_client.collection.batches import BatchOperations
from mallku_client.collection.documents import DocumentOperations
from mallku_client.collection.matches import MatchOperations
from mallku_client.options import CallOptions

if TYPE_CHECKING:  # brings pydantic, which a client has no other use for
    from mallku_contracts.results import DryRun

P = ParamSpec("P")


class _Tried(Generic[P]):
    """A method of a collection that answers with a `DryRun`."""

    def __init__(self, method: Callable[Concatenate[Any, P], Awaitable[Any]]) -> None:
        name = method.__name__

        async def run(tried: DryRunCollection, /, *args: P.args, **kwargs: P.kwargs) -> DryRun:
            trying = _Trying(tried.commands)
            await getattr(_Writes(trying, tried.name), name)(*args, **kwargs)
            return cast("DryRun", trying.result)

        run.__name__, run.__doc__ = name, method.__doc__
        self._run = run

    @overload
    def __get__(
        self, tried: None, owner: type
    ) -> Callable[Concatenate[Any, P], Awaitable[DryRun]]: ...
    @overload
    def __get__(self, tried: DryRunCollection, owner: type) -> Callable[P, Awaitable[DryRun]]: ...
    def __get__(self, tried: DryRunCollection | None, owner: type) -> Callable[..., Any]:
        return self._run if tried is None else self._run.__get__(tried, owner)


class _Writes(DocumentOperations, BatchOperations, MatchOperations):
    """The methods that are tried."""


class _Trying:
    """Sends an operation with the wish that nothing be touched, and keeps its result.

    The methods themselves would take it for the result of a write.
    """

    def __init__(self, commands: Sender) -> None:
        self._commands = commands
        self.result: Any = None

    async def send(
        self,
        operation: str,
        collection: str | None,
        arguments: Mapping[str, Any],
        **options: Unpack[CallOptions],
    ) -> Answer:
        """As `Commands.send`."""
        wish = {**arguments, "dry_run": True}
        answer = await self._commands.send(operation, collection, wish, **options)
        self.result = answer.result
        return answer


class DryRunCollection:
    """A collection whose writes are only tried; made by `Collection.dry_run`.

    Attributes:
        commands: Where they are sent.
        name: The collection's name.

    Raises:
        MallkuError: what the write itself would have raised.
    """

    def __init__(self, commands: Sender, name: str) -> None:
        self.commands = commands
        self.name = name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    update = _Tried(DocumentOperations.update)
    replace = _Tried(DocumentOperations.replace)
    delete = _Tried(DocumentOperations.delete)
    update_many = _Tried(BatchOperations.update_many)
    replace_many = _Tried(BatchOperations.replace_many)
    delete_many = _Tried(BatchOperations.delete_many)
    update_match = _Tried(MatchOperations.update_match)
    replace_match = _Tried(MatchOperations.replace_match)
    delete_match = _Tried(MatchOperations.delete_match)
