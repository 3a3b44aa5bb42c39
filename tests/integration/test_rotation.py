"""Keys of issuers come and go while the gateway runs, and no worker is restarted for it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from mallku_broker.files import write_private_text
from mallku_contracts.keys import SigningKey
from mallku_deploy.house import ISSUER
from tests.integration.world import LOOK_S, World, exchange, running_world
from tests.support.simulated_caller import SimulatedCaller, make_token

WITHIN_S = 5.0
"""The interval of looking is one second; the machine may be busy."""

SECOND = SigningKey(b"2" * 32)

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def own(tmp_path: Path) -> AsyncIterator[World]:
    """A gateway whose trust file a test may change."""
    async with running_world(tmp_path / "house") as world:
        async with world.client() as client:
            await client.create_collection("memory_anchors")
        yield world


def _keys(world: World, *keys: dict[str, str]) -> None:
    """Give the local issuer these keys."""
    document = json.loads(world.house.trust.read_text())
    document["issuers"][ISSUER] = {"keys": keys}
    write_private_text(world.house.trust, json.dumps(document))


def _vouched_by_second(world: World) -> SimulatedCaller:
    """`mallku` with a token that the second key signed."""
    caller = world.caller()
    caller.token = make_token(
        caller.key,
        principal="mallku",
        roles=frozenset({"service"}),
        issuer=ISSUER,
        issuer_key=SECOND,
    )
    return caller


async def _answered(world: World, caller: SimulatedCaller, code: str | None) -> None:
    """Wait until every worker answers like this, many times in a row."""
    in_a_row = 0
    end_s = time.monotonic() + WITHIN_S
    async with world.connection() as connection:
        while in_a_row < 20:
            assert time.monotonic() < end_s, f"not within {WITHIN_S} s: {code or 'an answer'}"
            answer = await exchange(connection, caller.seal("count", {}))
            found = answer.error.code if "error" in answer.body else None
            in_a_row = in_a_row + 1 if found == code else 0
            if not in_a_row:
                await asyncio.sleep(LOOK_S)


async def _answers(world: World, caller: SimulatedCaller, for_s: float) -> set[str | None]:
    """Every kind of answer that is given in this time: error codes, or None for a result."""
    found: set[str | None] = set()
    end_s = time.monotonic() + for_s
    async with world.connection() as connection:
        while time.monotonic() < end_s:
            answer = await exchange(connection, caller.seal("count", {}))
            found.add(answer.error.code if "error" in answer.body else None)
            await asyncio.sleep(LOOK_S)
    return found


async def test_a_key_comes_works_beside_the_old_one_and_goes(own: World) -> None:
    """Unknown, then trusted, then taken away, each within moments and on every worker.

    The first key's tokens hold all the time, and a file that is broken meanwhile changes nothing.
    """
    first = json.loads(own.house.trust.read_text())["issuers"][ISSUER]["keys"][0]
    caller, workers = _vouched_by_second(own), own.workers
    await _answered(own, caller, "invalid_token")
    _keys(own, first, SECOND.public.jwk())
    await _answered(own, caller, None)
    await _answered(own, own.caller(), None)
    good = own.house.trust.read_text()
    own.house.trust.write_text(good[:-20])
    assert await _answers(own, caller, for_s=2.5) == {None}
    own.house.trust.write_text(good)
    _keys(own, first)
    await _answered(own, caller, "invalid_token")
    await _answered(own, own.caller(), None)
    assert own.workers == workers
