"""Calls that may be awaited or not: the two faces of everything here, over one core.

The core is awaited code on the client's own loop and thread (`mallku_client.portal`). A *face* says
what a method gives back: `BLOCKING` waits and gives the result, `AWAITED` gives a `Pending` at
once. Either may be used the other way too: a result that came from waiting may be awaited, and a
`Pending` that nobody awaits is waited for when its value is looked at. Whoever needs neither still
has the call carried out.
"""

from __future__ import annotations

import asyncio
import logging
import operator
from collections.abc import Callable, Coroutine, Generator, Iterator
from concurrent.futures import Future
from enum import Enum
from typing import Any, Generic, TypeVar

from mallku_client import portal

R = TypeVar("R")

_LOG = logging.getLogger(__name__)


class Face(Enum):
    """How an object was obtained: by a plain call, or by awaiting one."""

    BLOCKING = "blocking"
    AWAITED = "awaited"


def start(face: Face, work: Coroutine[Any, Any, Any]) -> Any:
    """Have the core carry out `work`, and give back what the face gives: a result, or `Pending`.

    Raises:
        MallkuError: on the blocking face, whatever `work` raises.
    """
    return give(face, portal.current().submit(work))


def give(face: Face, future: Future[Any], flush: Callable[[], None] | None = None) -> Any:
    """As `start`, for what the core has begun; `flush` sends what was only collected so far."""
    if face is Face.AWAITED:
        return Pending(future, flush)
    if flush is not None:
        flush()
    return both_ways(portal.current().wait(future))


def failed(face: Face, error: Exception) -> Any:
    """What a face gives of a call that could not begin: it raises, or its `Pending` does."""
    if face is Face.BLOCKING:
        raise error
    future: Future[Any] = Future()
    future.set_exception(error)
    return Pending(future)


class Pending(Coroutine[Any, Any, R], Generic[R]):
    """A call that is under way: `await` it, or use it as its value, which waits for that.

    It is a coroutine as far as asyncio can tell, so that `gather`, `wait_for` and `create_task`
    take it. Cancelling whoever awaits it cancels the call. A failure that nobody looked at is
    logged.
    """

    def __init__(self, future: Future[R], flush: Callable[[], None] | None = None) -> None:
        self._future = future
        self._flush = flush
        self._steps: Generator[Any, None, R] | None = None
        self._seen = False

    def result(self) -> R:
        """The result, waited for in whatever thread this is."""
        self._seen = True
        if self._flush is not None:
            self._flush()
        return portal.current().wait(self._future)

    def __await__(self) -> Generator[Any, None, R]:
        self._seen = True
        if self._future.done() and not self._future.cancelled():
            return self._future.result()
        if self._flush is not None:
            asyncio.get_running_loop().call_soon(self._flush)
        return (yield from asyncio.wrap_future(self._future).__await__())

    def send(self, value: Any) -> Any:
        """One step of whoever drives this as a coroutine."""
        return self._driven().send(value)

    def throw(self, *error: Any) -> Any:
        """As `send`, with an exception."""
        return self._driven().throw(*error)

    def close(self) -> None:
        """Nobody waits any more; the call goes on."""
        if self._steps is not None:
            self._steps.close()

    def _driven(self) -> Generator[Any, None, R]:
        if self._steps is None:
            self._steps = self.__await__()
        return self._steps

    def __del__(self) -> None:
        if not getattr(self, "_seen", True):
            self._future.add_done_callback(tell_failure)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'done' if self._future.done() else 'under way'}>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_asyncio_future_blocking":
            raise AttributeError(name)
        return getattr(self.result(), name)

    def __getitem__(self, key: Any) -> Any:
        value: Any = self.result()
        return value[key]

    def __setitem__(self, key: Any, item: Any) -> None:
        value: Any = self.result()
        value[key] = item

    def __delitem__(self, key: Any) -> None:
        value: Any = self.result()
        del value[key]

    def __iter__(self) -> Iterator[Any]:
        value: Any = self.result()
        return iter(value)

    def __len__(self) -> int:
        value: Any = self.result()
        return len(value)

    def __contains__(self, item: object) -> bool:
        value: Any = self.result()
        return item in value

    def __bool__(self) -> bool:
        return bool(self.result())

    def __index__(self) -> int:
        value: Any = self.result()
        return operator.index(value)

    def __reduce__(self) -> tuple[Any, ...]:
        """What is copied or pickled is the value."""
        return _itself, (self.result(),)

    def __str__(self) -> str:
        return str(self.result())

    def __format__(self, specification: str) -> str:
        return format(self.result(), specification)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Pending):
            return self is other
        return bool(self.result() == other)

    __hash__ = object.__hash__


def _itself(value: R) -> R:
    return value


def _act_as_value(operate: Callable[[Any, Any], Any]) -> None:
    """Give `Pending` an operator, with its value on the left or on the right."""

    def left(pending: Pending[Any], other: Any) -> Any:
        return operate(pending.result(), other)

    def right(pending: Pending[Any], other: Any) -> Any:
        return operate(other, pending.result())

    name = operate.__name__.strip("_")
    setattr(Pending, f"__{name}__", left)
    setattr(Pending, f"__r{name}__", right)


for _operate in (
    *(operator.lt, operator.le, operator.gt, operator.ge),
    *(operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod),
    *(operator.and_, operator.or_),
):
    _act_as_value(_operate)


def tell_failure(future: Future[Any]) -> None:
    """Log the failure of a call that nobody looked at."""
    if not future.cancelled() and (error := future.exception()) is not None:
        _LOG.error("a call whose result nobody awaited has failed: %s", error)


async def at_once(value: R) -> R:
    """What is known already, for whoever awaits it."""
    return value


class AwaitableDict(dict[str, Any]):
    """A plain dict that may be awaited as well, also by `gather`, which asks for a hash."""

    __hash__ = object.__hash__  # type: ignore[assignment]  # a dict has none

    def __await__(self) -> Generator[Any, None, dict[str, Any]]:
        return at_once(dict(self)).__await__()


class AwaitableList(list[Any]):
    """A plain list that may be awaited as well; as `AwaitableDict`."""

    __hash__ = object.__hash__  # type: ignore[assignment]  # a list has none

    def __await__(self) -> Generator[Any, None, list[Any]]:
        return at_once(list(self)).__await__()


class AwaitableInt(int):
    """A number that may be awaited as well."""

    def __await__(self) -> Generator[Any, None, int]:
        return at_once(int(self)).__await__()


class AwaitableBool(int):
    """True or false, that may be awaited as well.

    Python has but two bools, so that this is none: `is True` cannot hold. It equals the one that it
    stands for, is an instance of `bool` for whoever asks by `isinstance`, and is copied and pickled
    as that one.
    """

    __class__ = bool  # type: ignore[assignment]  # what `isinstance` asks behind the type

    def __await__(self) -> Generator[Any, None, bool]:
        return at_once(self != 0).__await__()

    def __reduce_ex__(self, _protocol: Any) -> tuple[Any, ...]:
        return bool, (int(self),)

    def __and__(self, other: Any) -> Any:
        return (self != 0) & other

    def __or__(self, other: Any) -> Any:
        return (self != 0) | other

    def __xor__(self, other: Any) -> Any:
        return (self != 0) ^ other

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __repr__(self) -> str:
        return repr(bool(self))

    __str__ = __repr__


def both_ways(value: Any) -> Any:
    """A result that may be used as it is, and awaited; None can only be used as it is."""
    match value:
        case bool():
            return AwaitableBool(value)
        case int():
            return AwaitableInt(value)
        case dict():
            return AwaitableDict(value)
        case list():
            return AwaitableList(value)
        case _:
            return value
