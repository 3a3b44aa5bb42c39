"""Awaited methods made into blocking ones, by one descriptor; their types and names stay."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from mallku_client import portal

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Facade(Protocol):
    """A blocking object in front of an awaited one."""

    async def target(self) -> Any:
        """The awaited object; runs on the portal's loop, and may connect first."""
        ...


class Blocking(Generic[P, R]):
    """A blocking method: calls the awaited one of the same name on the facade's target.

    Args:
        method: The awaited method, which gives name, documentation and types.
    """

    def __init__(self, method: Callable[Concatenate[Any, P], Awaitable[R]]) -> None:
        @functools.wraps(method)
        def call(facade: Facade, /, *args: P.args, **kwargs: P.kwargs) -> R:
            return portal.current().call(run(facade, *args, **kwargs))

        async def run(facade: Facade, /, *args: P.args, **kwargs: P.kwargs) -> R:
            target = await facade.target()
            bound: Callable[P, Awaitable[R]] = getattr(target, method.__name__)
            return await bound(*args, **kwargs)

        self._call = call

    @overload
    def __get__(self, facade: None, owner: type) -> Callable[Concatenate[Any, P], R]: ...
    @overload
    def __get__(self, facade: Facade, owner: type) -> Callable[P, R]: ...
    def __get__(self, facade: Facade | None, owner: type) -> Callable[..., R]:
        if facade is None:
            return self._call
        return functools.partial(self._call, facade)
