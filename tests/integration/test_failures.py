from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import replace

import pytest

from mallku_contracts.errors import MallkuError
from mallku_deploy.life import WorkerLife
from tests.integration.load import Load
from tests.integration.world import EVENT_S, World, until

SOON_S = 5.0
"""Half of a call's usual timeout: a loaded machine needs its share of it."""

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_killed_worker_loses_nothing(own_world: World) -> None:
    """Kill -9 under load: what was acknowledged is there, every call succeeds, each once.

    No transmission has two intents or two outcomes, and the signatures of all hold.
    """
    async with own_world.client() as client:
        async with Load(client) as load:
            pid = await own_world.kill("worker-1", signal.SIGKILL)
            await load.grown()
            loss = await own_world.replaced(pid)
            await load.grown()
        assert "SIGKILL" in loss.reason
        await load.check()
    trail = await own_world.trail(settle_s=0)
    assert max(trail.ids("intent").values()) == 1
    assert max(trail.ids("done", "failed").values()) == 1
    assert (await own_world.verify()).findings.accusations == []


async def test_a_worker_that_is_told_to_stop_drains(own_world: World) -> None:
    """SIGTERM under load: exit code 0, and not one command had to be sent twice."""
    async with own_world.client() as client:
        async with Load(client) as load:
            for place in ("worker-1", "worker-2", "worker-1"):
                pid = await own_world.kill(place, signal.SIGTERM)
                assert (await own_world.replaced(pid)).reason == "ended with 0"
                await load.grown()
        await load.check()
    assert {answer.attempts for answer in load.answers} == {1}
    trail = await own_world.trail()
    assert trail.ids("intent") == trail.ids("done", "failed")
    assert (await own_world.verify()).findings.accusations == []


async def test_a_worker_that_hangs(own_world: World) -> None:
    """SIGSTOP under load: the other one serves, the hanging one is replaced, nothing is lost."""
    async with own_world.client() as client:
        async with Load(client) as load:
            pid = await own_world.kill("worker-2", signal.SIGSTOP)
            await load.grown()
            loss = await own_world.replaced(pid)
        assert "silent" in loss.reason
        await load.check()


async def test_a_worker_that_hung_for_a_moment(own_world: World) -> None:
    """SIGSTOP and SIGCONT: what lay in its buffers in between is executed at most once."""
    async with own_world.client() as client:
        async with Load(client) as load:
            pid = await own_world.kill("worker-2", signal.SIGSTOP)
            await load.grown(5)
            os.kill(pid, signal.SIGCONT)
            await load.grown()
        await load.check()
    assert own_world.losses == []


async def test_a_server_that_dies(own_world: World) -> None:
    """Kill -9 on nats-server: calls end soon with a typed error that may be tried again.

    When it is back they work, what was acknowledged is there, and no worker had to be replaced.
    """
    async with own_world.client() as client:
        anchors = client.collection("memory_anchors")
        await anchors.insert({"_key": "before"})
        os.kill(own_world.gateway.pids["nats-server"], signal.SIGKILL)
        errors: list[MallkuError] = []
        longest, begun = 0.0, time.monotonic()
        while time.monotonic() - begun < EVENT_S:
            call = time.monotonic()
            try:
                await anchors.has("before", timeout=0.2)
            except MallkuError as error:
                errors.append(error)
            else:
                if errors:
                    break
            longest = max(longest, time.monotonic() - call)
        assert errors
        assert all(error.retryable for error in errors)
        assert longest < SOON_S
        assert await anchors.has("before", timeout=5)
        assert await anchors.insert({"_key": "after"}, timeout=10)
    assert own_world.losses == []


async def test_workers_end_without_a_server(own_world: World) -> None:
    """SIGTERM while the broker hangs: the drain is bounded, and the worker is gone soon."""
    server = own_world.gateway.pids["nats-server"]
    os.kill(server, signal.SIGSTOP)
    begun = time.monotonic()
    try:
        pid = await own_world.kill("worker-1", signal.SIGTERM)
        await until("its end", lambda: any(loss.pid == pid for loss in own_world.losses))
        assert time.monotonic() - begun < 12
    finally:
        os.kill(server, signal.SIGCONT)
    assert own_world.losses[0].reason == "ended with 0"
    await own_world.replaced(pid)


async def test_the_heart_beats_while_a_worker_drains(own_world: World) -> None:
    """A drain that takes seconds does not look like a hang: the beats go on until it is over."""
    spec = own_world.gateway._worker_specs()[0]
    patient = replace(spec, environment={**spec.environment, "MALLKU_WORKER_DRAIN_S": "2.5"})
    life = await WorkerLife.start(patient)
    server = own_world.gateway.pids["nats-server"]
    try:
        async with asyncio.timeout(EVENT_S):
            assert (await life._heartbeat.readline()).startswith(b"ready ")
            os.kill(server, signal.SIGSTOP)
            life.ask_to_end()
            lines = (await life._heartbeat.read()).split()
    finally:
        os.kill(server, signal.SIGCONT)
        await life.kill()
    assert lines[lines.index(b"draining") :].count(b"beat") >= 2
    assert life._process.returncode == 0
