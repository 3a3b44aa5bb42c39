"""What somebody outside sees of real workers: over HTTP, over NATS, and in their log."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from mallku_deploy.targets import addresses
from tests.integration.world import LOOK_S, World

HTTP_S = 5.0

POLICY = """
version: 1
roles:
  service:
    rules:
      - {id: documents, collections: ["*"], operations: [read, write]}
      - {id: shapes, collections: ["*"], operations: [create-collection]}
principals:
  mallku: {roles: [service]}
  inspector: {kind: inspector}
  auditor: {kind: auditor}
  administrator: {kind: administrator}
"""


def scraping(world: World) -> list[str]:
    """Where the metrics of each worker are, as `up` writes it down."""
    return addresses(world.house.targets)


async def get(address: str, path: str) -> tuple[int, str]:
    """Status and body of one page."""
    return await asyncio.to_thread(_get, f"http://{address}{path}")


def _get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=HTTP_S) as answer:  # noqa: S310 - ours
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def ready(address: str) -> dict[str, Any]:
    """What a worker says of its readiness, with its status."""
    status, body = await get(address, "/readyz")
    return {"status": status, **json.loads(body)}


async def ready_when(
    address: str, condition: Callable[[dict[str, Any]], bool], timeout_s: float = 20.0
) -> dict[str, Any]:
    """Wait until what a worker says of its readiness is so."""
    said: dict[str, Any] = {}
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                said = await ready(address)
                if condition(said):
                    return said
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise AssertionError(f"not within {timeout_s} s; the last was {said}") from None


def metric(text: str, name: str, **labels: str) -> float:
    """The sum of the samples of a metric with these labels."""
    total = 0.0
    for line in text.splitlines():
        known, _, value = line.rpartition(" ")
        if known.partition("{")[0] == name and all(
            f'{label}="{wanted}"' in known for label, wanted in labels.items()
        ):
            total += float(value)
    return total


def lines(log: str) -> list[dict[str, Any]]:
    """The lines of JSON in a log."""
    return [json.loads(line) for line in log.splitlines() if line.startswith("{")]
