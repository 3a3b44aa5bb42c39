"""A gateway for durable jobs, whose stream gives a job to another worker within moments."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mallku_client import ClientSettings, Job, MallkuError
from mallku_contracts.subjects import CommandSubject
from mallku_deploy.jobs import looking
from mallku_deploy.jobs.looking import SeenJob
from tests.integration.stage import Stage, stage_in
from tests.integration.world import World
from tests.support.simulated_caller import SimulatedCaller, now_ms

ACK_WAIT_S = 1.5
"""After so long a silent worker's job is another's, seconds."""

RESULT_S = 40.0
"""How long a job may take that a worker was killed over, seconds."""


DAY_MS = 86_400_000


def seal_job(
    caller: SimulatedCaller,
    arguments: dict[str, Any],
    collection: str = "memory_anchors",
    **header: Any,
) -> tuple[str, bytes]:
    """A job's subject and bytes, signed by `caller` with `header` overruling what is usual."""
    subject = CommandSubject(caller.principal, caller.database, collection, "insert", "job")
    fields: dict[str, Any] = {"exp": now_ms() + DAY_MS, "run_at": 0, "order": ""} | header
    sent = caller.seal("insert", arguments, subject=subject, **fields)
    return str(subject), sent.data


@asynccontextmanager
async def job_stage(
    folder: Path, patch: pytest.MonkeyPatch, **settings: Any
) -> AsyncGenerator[Stage]:
    """Start one with failpoints."""
    patch.setattr("mallku_broker.jobs.ACK_WAIT_S", ACK_WAIT_S)
    async with stage_in(folder, patch, **settings) as stage:
        yield stage


def settings_of(world: World) -> ClientSettings:
    """The administrator's."""
    return world.administrator_settings()


async def dead_jobs(world: World, key: str | None = None) -> list[SeenJob]:
    """All that are dead, or those of one idempotency key: some moments after their replies."""
    dead = await looking.dead(settings_of(world), 1, 1_000)
    return [job for job in dead if key in {None, job.job}]


async def refusal(job: Job[Any]) -> MallkuError:
    """Why the job was not done."""
    with pytest.raises(MallkuError) as raised:
        await job.result(RESULT_S)
    return raised.value
