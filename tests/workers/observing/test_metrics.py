from __future__ import annotations

import asyncio
import random
import time
from dataclasses import replace

from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open
from prometheus_client.parser import text_string_to_metric_families as read_plain

from mallku_contracts.operations import OPERATIONS
from mallku_workers.message import STEPS
from mallku_workers.observing.definitions import METRICS
from mallku_workers.observing.metrics import expose, make_registry
from mallku_workers.observing.parts import Parts
from mallku_workers.observing.tally import CollectionClasses, Tally
from tests.support.simulated_caller import SimulatedCaller
from tests.workers.world import COMPILED, Cluster, Worker

COLLECTIONS, PRINCIPALS = 30, 20
SCRAPE_S = 0.020


def made() -> tuple[Parts, Tally]:
    """A worker that has just begun."""
    return Parts("abc", 30_000.0, store="embedded"), Tally(CollectionClasses(lambda: COMPILED))


def scraped(parts: Parts, tally: Tally, accept: str = "") -> dict[str, dict[str, float]]:
    """The samples by name and labels, as Prometheus reads them."""
    body, _ = expose(make_registry(parts, tally), accept)
    found: dict[str, dict[str, float]] = {}
    for family in read_plain(body.decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def test_every_family_is_in_the_table_and_shown_from_the_start() -> None:
    """A worker without a broker yet shows each family that the table has, and no other of ours."""
    body, content_type = expose(make_registry(*made()), "")
    assert content_type.startswith("text/plain")
    families = {family.name: family for family in read_plain(body.decode())}
    ours = {name for name in families if name.startswith("mallku_")}
    assert ours == {name.removesuffix("_total") for name in METRICS}
    for metric in METRICS.values():
        family = families[metric.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.text)


def test_open_metrics_for_who_asks() -> None:
    """Prometheus asks for OpenMetrics, and its own reader takes what it gets."""
    body, content_type = expose(make_registry(*made()), "application/openmetrics-text")
    assert content_type.startswith("application/openmetrics-text")
    families = read_open(body.decode())  # type: ignore[no-untyped-call]
    assert {family.name for family in families} >= {"mallku_commands"}


async def test_numbers_are_those_of_the_pipeline() -> None:
    """Commands, steps and durations add up; buckets are cumulative and end with all of them."""
    parts, tally = made()
    worker = Worker(Cluster())
    worker.pipeline = replace(worker.pipeline, observer=tally)
    parts.slots, parts.stage = worker.slots, ""
    caller = SimulatedCaller.of("mallku", "service")
    for _ in range(5):
        await worker.take(caller.seal("insert", {"document": {"kind": "khipu"}}))
    await worker.take(caller.seal("truncate", {}))
    found = scraped(parts, tally)
    done = "code=ok,collection_class=plain,operation=insert,outcome=done"
    assert found["mallku_commands_total"][done] == 5
    steps = found["mallku_step_seconds_count"]
    assert {label.removeprefix("step=") for label in steps} == set(STEPS)
    assert steps["step=admit"] == 6
    assert steps["step=execute"] == 5
    assert found["mallku_command_seconds_bucket"]["access=write,le=+Inf"] == 5
    counts = [
        value
        for label, value in found["mallku_step_seconds_bucket"].items()
        if "step=admit" in label
    ]
    assert counts == sorted(counts)
    assert found["mallku_commands_in_flight"][""] == 0


def fill(tally: Tally) -> None:
    """Everything that 30 collections and 20 principals can bring about."""
    chance = random.Random(4)
    codes = ("ok", "permission_denied", "rate_limited", "unavailable", "document_not_found")
    for operation in OPERATIONS:
        for kind in ("plain", "governed", "secured", "refused"):
            for code in codes:
                outcome = "done" if code == "ok" else "failed"
                tally.commands[operation, kind, outcome, code] = chance.randrange(1_000_000)
    for number in range(COLLECTIONS):
        for access in ("read", "write", "admin"):
            for outcome in ("done", "failed", "denied"):
                tally.collections[f"c{number}", access, outcome] = number
    for number in range(PRINCIPALS):
        for outcome in ("done", "failed", "denied"):
            tally.principals[f"p{number}", outcome] = number


def test_a_scrape_is_quick() -> None:
    """30 collections, 20 principals, each code of each operation: under 20 ms of a processor."""
    parts, tally = made()
    fill(tally)
    registry = make_registry(parts, tally)
    took, body = list[float](), b""
    for _ in range(15):
        began = time.thread_time()  # others may hold the machine; that is no part of a scrape
        body, _ = expose(registry, "")
        took.append(time.thread_time() - began)
    assert body.count(b"\n") > 1_000
    assert min(took) < SCRAPE_S


async def test_scraping_beside_commands_breaks_nothing() -> None:
    """Read in a thread while the loop counts: every scrape is whole, and no count gets lost."""
    parts, tally = made()
    worker = Worker(Cluster())
    worker.pipeline = replace(worker.pipeline, observer=tally)
    caller = SimulatedCaller.of("mallku", "service")
    registry = make_registry(parts, tally)

    async def scrape() -> None:
        for _ in range(20):
            body, _ = await asyncio.to_thread(expose, registry, "")
            assert list(read_plain(body.decode()))

    scraping = asyncio.create_task(scrape())
    sent = 0
    while not scraping.done():
        await worker.take(caller.seal("insert", {"document": {}}, collection=f"c{sent % 40}"))
        sent += 1
        await asyncio.sleep(0)
    await scraping
    assert sum(tally.collections.values()) == sent
