"""A real Prometheus scrapes a real gateway, and every expression of ours gives it something."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from mallku_client import SecuredDatabaseInterface
from mallku_contracts.errors import MallkuError
from tests.integration.load import Load
from tests.integration.seeing import POLICY, scraping
from tests.integration.world import running_world
from tests.support.prometheus import Prometheus, find_program, running_prometheus
from tests.test_alerts import ALERTS, BOARDS, RULES, expressions

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCRAPE_S = 0.5
PATIENCE_S = 30.0
LOOK_S = 0.25
VARIABLES = {"$__rate_interval": "10s", "$operation": ".*"}


def configuration(folder: Path, targets: Path) -> Path:
    """Ours, with this house's targets and a shorter interval."""
    ours = yaml.safe_load(ALERTS.with_name("prometheus.yaml").read_text())
    ours["global"] = {"scrape_interval": f"{int(SCRAPE_S * 1000)}ms", "evaluation_interval": "1s"}
    ours["rule_files"] = [str(ALERTS)]
    ours["scrape_configs"][0]["file_sd_configs"] = [{"files": [str(targets)]}]
    path = folder / "prometheus.yaml"
    path.write_text(yaml.safe_dump(ours))
    return path


def filled(expression: str) -> str:
    """As Grafana asks it."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def measured(rule: str) -> str:
    """What an alert compares, without the bound that it is compared with."""
    return re.sub(r"\s[<>]=?\s[\d.]+$", "", rule.strip())


async def empty(prometheus: Prometheus, asked: list[str]) -> list[str]:
    """The expressions that give nothing, after they had time to."""
    left = asked
    try:
        async with asyncio.timeout(PATIENCE_S):
            while left:
                left = [each for each in left if not await prometheus.query(each)]
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        pass
    return left


@asynccontextmanager
async def refused(client: SecuredDatabaseInterface) -> AsyncGenerator[None]:
    """Commands that are refused, one after the other, meanwhile."""

    async def ask() -> None:
        while True:
            with contextlib.suppress(MallkuError):
                await client.collection("nowhere").insert({})

    asking = asyncio.create_task(ask())
    try:
        yield
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def test_every_expression_gives_something(tmp_path: Path) -> None:
    """Scraped under load, each panel and what each alert looks at has data; no alert fires."""
    find_program("prometheus")
    house = tmp_path / "house"
    async with running_world(house, policy=POLICY, durability="fsync") as world:
        path = configuration(tmp_path, world.house.targets)
        async with world.client() as client, running_prometheus(tmp_path, path) as prometheus:
            await client.create_collection("memory_anchors")
            async with Load(client), refused(client):
                boards = [filled(each) for board in BOARDS for each in expressions(board)]
                alerts = [measured(rule["expr"]) for rule in RULES]
                assert await empty(prometheus, boards + alerts) == []
            assert len(await prometheus.query("up == 1")) == len(scraping(world)) == 2
            rules = await prometheus.rules()
            assert {rule["health"] for rule in rules} == {"ok"}
            assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []
