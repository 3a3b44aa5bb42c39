"""Threads do not survive a fork: who has some begins anew in the child."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class HasThreads(Protocol):
    """Somebody whose threads and locks stay in the parent."""

    def begin_in_child(self) -> None:
        """Make them anew, unless everything had ended before the fork."""
        ...


_alive: WeakSet[HasThreads] = WeakSet()


def begin_in_children(who: HasThreads) -> None:
    """Call `who.begin_in_child` in each child that is forked while `who` is alive."""
    _alive.add(who)


def _begin() -> None:
    for who in list(_alive):
        who.begin_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin)
