from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mallku_broker.jetstream import ask
from mallku_broker.streams import AUDIT
from mallku_client.trail import AuditReader
from mallku_deploy.auditing.custody import look
from tests.integration.world import EVENT_S, LOOK_S, World

pytestmark = pytest.mark.asyncio(loop_scope="session")

Facts = dict[str, Any]


async def _facts(world: World, wanted: Callable[[Facts], bool]) -> list[Facts]:
    """What the trail says of the gateway, once there is what is wanted among it."""
    async with asyncio.timeout(EVENT_S):
        while True:
            trail = await world.trail(settle_s=0)
            found = [one.facts for one in trail.administrative if wanted(one.facts)]
            if found:
                return found
            await asyncio.sleep(LOOK_S)


async def test_whoever_reads_the_trail_stands_on_it(own_world: World) -> None:
    """By name, with what was asked for; and workers, who read it every minute, do not."""
    settings = own_world.client_settings("auditor")
    async with await AuditReader.connect(settings=settings) as reader:
        async for _ in reader.records():
            break
    found = await _facts(own_world, lambda facts: "consumer" in facts)
    assert {facts["by"] for facts in found} == {"auditor"}
    assert {facts["account"] for facts in found} == {"AUDITORS"}
    assert found[0]["stream"] == AUDIT


async def test_whoever_changes_the_trails_stream_stands_on_it(own_world: World) -> None:
    """That it changed, and who did it: once each, though several workers listen; it verifies."""
    async with own_world.connection("administrator") as connection:
        found = (await ask(connection, f"STREAM.INFO.{AUDIT}", {}))["config"]
        changed = found | {"max_bytes": found["max_bytes"] + 1}
        await ask(connection, f"STREAM.UPDATE.{AUDIT}", changed)
    (call,) = await _facts(own_world, lambda facts: facts.get("advisory") == "STREAM.UPDATE")
    assert (call["by"], call["stream"], call["refused"]) == ("administrator", AUDIT, 0)
    (event,) = await _facts(own_world, lambda facts: facts.get("advisory") == "updated")
    assert event["stream"] == AUDIT
    report = await own_world.verify()
    assert report.findings.accusations == []


async def test_an_auditor_sees_how_the_trail_is_kept(own_world: World) -> None:
    """Through the calls that auditors have: sound as the gateway made it, weak when changed."""
    auditor = own_world.client_settings("auditor")
    assert [each.is_sound for each in await look(auditor)] == [True, True]
    async with own_world.connection("administrator") as connection:
        found = (await ask(connection, f"STREAM.INFO.{AUDIT}", {}))["config"]
        await ask(connection, f"STREAM.UPDATE.{AUDIT}", found | {"discard": "old"})
    audit, checkpoints = await look(auditor)
    assert [drift.field for drift in audit.weak] == ["discard"]
    assert checkpoints.is_sound
