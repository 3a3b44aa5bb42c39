"""Single reads that are asked for at the same moment become one command.

A loop over keys that awaits each `get` in its own task, or hands them all to `gather`, costs one
round trip for all of them. Whoever waits in a thread is combined with other threads that wait.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import Any, Final, Protocol

from mallku_client import portal
from mallku_contracts.errors import (
    CollectionNotFound,
    MallkuError,
    PermissionDenied,
    ResultTooLarge,
)

MAX_COMBINED: Final = 500
"""Keys that one combined read asks for."""

_Group = tuple[str, str | None, bool]
"""A collection, the model in whose name it is read, and whether it may be missing."""

_ONE_BY_ONE: Final = (PermissionDenied, ResultTooLarge)
"""What refuses several documents at once, and may allow each of them."""

Document = dict[str, Any]


class Reader(Protocol):
    """Where documents come from; coroutines for the portal's loop."""

    async def get(self, collection: str, key: str, model: str | None) -> Document | None:
        """One document, None where there is none."""
        ...

    async def get_many(self, collection: str, keys: list[str], model: str | None) -> list[Document]:
        """Those of the documents that are there."""
        ...


class Combiner:
    """Collects reads until `flush`, which may be called from any thread."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._waiting: dict[_Group, dict[str, list[Future[Document | None]]]] = {}

    def ask(
        self, collection: str, key: str, model: str | None, may_be_missing: bool
    ) -> Future[Document | None]:
        """The document with this key; nothing is sent before `flush`.

        Where a loop runs in this thread, it flushes by itself once it is at its next turn.
        """
        if self._process != os.getpid():  # a child: what its parent collected is the parent's
            self._begin()
        future: Future[Document | None] = Future()
        with self._lock:
            first = not self._waiting
            group = self._waiting.setdefault((collection, model, may_be_missing), {})
            group.setdefault(key, []).append(future)
        if first:
            _soon(self.flush)
        return future

    def flush(self) -> None:
        """Send what was collected."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for group, wanted in waiting.items():
            futures = list(wanted.items())
            for place in range(0, len(futures), MAX_COMBINED):
                part = dict(futures[place : place + MAX_COMBINED])
                portal.current().submit(self._fetch(group, part))

    async def _fetch(self, group: _Group, wanted: dict[str, list[Future[Document | None]]]) -> None:
        collection, model, may_be_missing = group
        try:
            found = await self._found(collection, list(wanted), model, may_be_missing)
        except BaseException as error:  # whoever waits has to learn of everything, then it goes on
            for future in (each for some in wanted.values() for each in some):
                _settle(future.set_exception, error)
            if not isinstance(error, Exception):
                raise
            return
        for key, futures in wanted.items():
            await _hand_out(found.get(key), futures)

    async def _found(
        self, collection: str, keys: list[str], model: str | None, may_be_missing: bool
    ) -> dict[str, Document | MallkuError]:
        try:
            if len(keys) > 1:
                documents = await self._reader.get_many(collection, keys, model)
                return {document["_key"]: document for document in documents}
            document = await self._reader.get(collection, keys[0], model)
            return {} if document is None else {keys[0]: document}
        except CollectionNotFound:
            if not may_be_missing:
                raise
            return {}
        except _ONE_BY_ONE:
            if len(keys) == 1:
                raise
            return await self._singly(collection, keys, model)

    async def _singly(
        self, collection: str, keys: list[str], model: str | None
    ) -> dict[str, Document | MallkuError]:
        async def one(key: str) -> Document | MallkuError | None:
            try:
                return await self._reader.get(collection, key, model)
            except MallkuError as error:
                return error

        answers = await asyncio.gather(*map(one, keys))
        return {
            key: answer for key, answer in zip(keys, answers, strict=True) if answer is not None
        }


async def _hand_out(
    found: Document | MallkuError | None, futures: list[Future[Document | None]]
) -> None:
    """Give everybody who asked a document of their own."""
    from copy import deepcopy

    for place, future in enumerate(futures):
        if isinstance(found, MallkuError):
            _settle(future.set_exception, found)
        else:
            _settle(future.set_result, found if place == 0 else deepcopy(found))


def _settle(settle: Callable[[Any], None], value: Any) -> None:
    try:
        settle(value)
    except InvalidStateError:
        return  # whoever waited has gone


def _soon(flush: Callable[[], None]) -> None:
    try:
        asyncio.get_running_loop().call_soon(flush)
    except RuntimeError:
        return  # no loop runs here: whoever asked flushes before they wait
