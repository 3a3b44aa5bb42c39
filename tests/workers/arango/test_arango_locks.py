"""Locks of ArangoDB are not left with somebody who has gone."""

from __future__ import annotations

import asyncio

import pytest

from mallku_contracts.errors import MallkuError
from mallku_workers.stores.arango import ArangoStore
from mallku_workers.stores.arango.budget import budget_for, spending
from mallku_workers.stores.arango.server import Server
from tests.support.simulated_arango import SimulatedArango

LEFT_S = 0.3
LEDGER = "mallku_ledger"


def _begin(server: Server) -> None:
    with spending(budget_for(LEFT_S)), server.transaction([], [LEDGER]):
        raise AssertionError("the lock is held by another one")


async def test_a_lock_is_waited_for_no_longer_than_its_answer(
    store: ArangoStore, server: SimulatedArango
) -> None:
    """Who has 0.3 s left asks for 0.3 s, and is told no before it goes."""
    engine = server.databases["mallku"]
    await asyncio.to_thread(engine.begin, "another", 1.0)
    with pytest.raises(MallkuError):
        await asyncio.to_thread(_begin, store._servers["mallku"])
    asked = next(one for one in reversed(server.asked) if one.path == "/_api/transaction/begin")
    assert 0 < asked.body["lockTimeout"] <= LEFT_S
    assert list(engine.open) == ["another"]
    engine.end("another", commit=False)
