"""One event loop in a thread of its own, for everybody who cannot await.

There is one portal in a process. A child process gets a fresh one: threads do not survive a fork,
and the parent's loop must not be touched by the child, which shares its descriptors.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, Final, TypeVar

from mallku_contracts.errors import ClientClosed

CLOSE_TIMEOUT_S: Final = 8.0
"""At the end of the process: how long all connections may take to close, seconds."""

R = TypeVar("R")


class Portal:
    """Runs coroutines for other threads; made by `current`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._closers: dict[int, Callable[[], Awaitable[None]]] = {}
        self._thread = threading.Thread(target=self._run, name="mallku-client", daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, R]) -> R:
        """Run `work` on the loop and wait for its result, in whatever thread this is.

        Whoever interrupts the wait cancels the work.

        Raises:
            RuntimeError: this is the portal's own thread, which would wait for itself.
            ClientClosed: the process is ending.
        """
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("a blocking call inside a callback of the client waits for itself")
        return self.wait(self.submit(work))

    def submit(self, work: Coroutine[Any, Any, R]) -> Future[R]:
        """Begin `work` on the loop, from whatever thread; cancelling the future cancels it.

        Raises:
            ClientClosed: the process is ending.
        """
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:
            work.close()
            raise ClientClosed("the process is ending") from None

    def wait(self, future: Future[R]) -> R:
        """The result of what `submit` began; raises as `call`."""
        if threading.current_thread() is self._thread and not future.done():
            raise RuntimeError("a blocking call inside a callback of the client waits for itself")
        try:
            return future.result()
        except CancelledError:
            raise ClientClosed("the client was closed during the call") from None
        except BaseException:
            future.cancel()
            raise

    def close_at_exit(self, owner: object, closer: Callable[[], Awaitable[None]]) -> None:
        """Run `closer` on the loop when the process ends, unless `forget(owner)` came before."""
        self._closers[id(owner)] = closer

    def forget(self, owner: object) -> None:
        """Nothing has to be closed for `owner` any more."""
        self._closers.pop(id(owner), None)

    def shut_down(self) -> None:
        """Close what is open, within `CLOSE_TIMEOUT_S`, and end the thread."""
        if self._loop.is_closed():
            return
        try:
            self.call(self._close_all())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CLOSE_TIMEOUT_S)

    async def _close_all(self) -> None:
        closers = [closer() for closer in self._closers.values()]
        self._closers.clear()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await asyncio.gather(*closers, return_exceptions=True)
        except TimeoutError:
            return

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._cancel_rest()
            self._loop.close()

    def _cancel_rest(self) -> None:
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))


_lock = threading.Lock()
_portal: Portal | None = None
_of_parents: list[Portal] = []
"""Kept, never used: collecting a parent's loop would close descriptors that the parent uses."""


def current() -> Portal:
    """The portal of this process; started when it is first needed."""
    global _portal  # noqa: PLW0603  # one loop per process is the point
    with _lock:
        if _portal is None:
            _portal = Portal()
        return _portal


def _leave_to_parent() -> None:
    global _lock, _portal  # noqa: PLW0603  # as above; a lock may have been held during the fork
    _lock = threading.Lock()
    if _portal is not None:
        _of_parents.append(_portal)
        _portal = None


def _shut_down() -> None:
    if _portal is not None:
        _portal.shut_down()


atexit.register(_shut_down)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)
