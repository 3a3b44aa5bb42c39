"""Flags on their way to callers: told at once that there are others, and told by a worker which."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from nats.aio.msg import Msg

from mallku_broker.files import write_private_text
from mallku_contracts.subjects import FLAGS_CHANGED
from mallku_deploy.governing import push_flags
from mallku_deploy.pushing import Outcome
from tests.integration.world import EVENT_S, World, running_world

pytestmark = pytest.mark.asyncio(loop_scope="session")

POLICY = """
version: 1
roles:
  service:
    rules:
      - {id: documents, collections: ["memory_*"], operations: [read, write]}
principals:
  mallku: {roles: [service]}
  inspector: {kind: inspector}
  auditor: {kind: auditor}
  administrator: {kind: administrator}
"""
FLAGS = """
version: 1
collections: {memory_anchors: shadow, hidden_things: legacy, "fc_*": gateway}
default: legacy
flags: {combine: true, most: 7}
"""


@pytest_asyncio.fixture(loop_scope="session")
async def own(tmp_path: Path) -> AsyncIterator[World]:
    """A gateway with two workers of one's own under the policy above."""
    async with running_world(tmp_path / "house", policy=POLICY) as world:
        yield world


async def _push(world: World, text: str) -> Outcome:
    file = world.house.root.parent / "flags.yaml"
    write_private_text(file, text)
    return await push_flags(file, world.administrator_settings())


async def test_callers_are_told_of_other_flags_and_ask_a_worker_which(own: World) -> None:
    """The hint has no content; the answer leaves out collections that are not the caller's."""
    async with own.connection() as connection, own.client() as client:
        told: asyncio.Queue[Msg] = asyncio.Queue()
        await connection.subscribe(FLAGS_CHANGED, cb=told.put)
        await connection.flush()
        assert await client.describe_flags() == {
            "version": 0,
            "collections": {},
            "default": "gateway",
            "flags": {},
        }
        await _push(own, FLAGS)  # and all workers run by them
        hint = await asyncio.wait_for(told.get(), EVENT_S)
        assert hint.data == b""
        assert await client.describe_flags() == {
            "version": 1,
            "collections": {"memory_anchors": "shadow", "fc_*": "gateway"},
            "default": "legacy",
            "flags": {"combine": True, "most": 7},
        }


async def test_nobody_among_callers_can_say_that_there_are_other_flags(own: World) -> None:
    """The broker refuses to carry it."""
    async with own.connection() as speaking, own.connection() as hearing:
        told: asyncio.Queue[Msg] = asyncio.Queue()
        await hearing.subscribe(FLAGS_CHANGED, cb=told.put)
        await hearing.flush()
        await speaking.publish(FLAGS_CHANGED, b"forged")
        await speaking.flush()
        await hearing.flush()
        assert told.empty()
