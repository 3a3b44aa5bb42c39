"""How full a stream of a real server is, and who fills it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mallku_broker.filling import Filling, count_below, filling
from mallku_broker.jobs import jobs_of
from mallku_broker.requests import RequestMultiplexer
from mallku_broker.streams import DEAD, JOBS, RESULTS
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable
from mallku_contracts.limits import KIB, MIB
from tests.integration.stage import eventually
from tests.support.nats import WORKER_RECORDS, nats_house

COMMAND = "mallku.v1.job.mallku.db.anchors.insert"


async def test_a_worker_counts_what_a_principal_holds(tmp_path: Path) -> None:
    """On every subject of its own, none of another's; and how much all hold together."""
    async with (
        nats_house(tmp_path) as house,
        house.connection(WORKER_RECORDS) as worker,
        house.connection("mallku") as caller,
        house.connection("mallory") as mallory,
        RequestMultiplexer(worker, f"{worker.inbox_prefix}.asking") as asking,
    ):
        assert await count_below(asking, JOBS, jobs_of("mallku")) == 0
        assert await filling(worker, JOBS) == Filling(0, 8 * MIB)
        for number in range(30):
            await caller.publish(f"{COMMAND}.key.{number % 7:032x}", bytes(150 * KIB))
        await caller.publish(f"{COMMAND}.at", b"job")
        await mallory.publish("mallku.v1.job.mallory.mallku.memory_anchors.get", b"job")
        await eventually(lambda: count_below(asking, JOBS, jobs_of("mallku")), lambda n: n >= 31)
        await eventually(lambda: count_below(asking, JOBS, jobs_of("mallory")), lambda n: n >= 1)
        assert await count_below(asking, JOBS, jobs_of("mallku")) == 31
        assert await count_below(asking, JOBS, jobs_of("mallory")) == 1
        assert await count_below(asking, JOBS, jobs_of("nobody")) == 0
        assert (await filling(worker, JOBS)).half_full
        for stream in (DEAD, f"KV_{RESULTS}"):
            assert not (await filling(worker, stream)).half_full
            assert await count_below(asking, stream, ">") == 0


async def test_what_may_not_be_seen_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that is not there has no filling, and no count of zero either."""
    monkeypatch.setattr("mallku_broker.jetstream.API_TIMEOUT_S", 0.5)
    monkeypatch.setattr("mallku_broker.filling.API_TIMEOUT_S", 0.5)
    async with (
        nats_house(tmp_path, streams=False) as house,
        house.connection(WORKER_RECORDS) as worker,
        RequestMultiplexer(worker, f"{worker.inbox_prefix}.asking") as asking,
    ):
        with pytest.raises((ConfigurationError, GatewayUnreachable)):
            await filling(worker, JOBS)
        with pytest.raises((ConfigurationError, GatewayUnreachable)):
            await count_below(asking, JOBS, jobs_of("mallku"))
