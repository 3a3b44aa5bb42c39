"""A worker's numbers for Prometheus: read off its parts when somebody asks, and never before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from typing import Any, Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.core import (
    Metric as Family,
)
from prometheus_client.exposition import choose_encoder

from mallku_workers.observing.definitions import METRICS, Metric
from mallku_workers.observing.parts import Parts
from mallku_workers.observing.tally import BOUNDS_US, Histogram, Tally

BREAKER_STATES: Final = ("closed", "open", "half-open")
"""Where a breaker can stand."""

_US_PER_S: Final = 1_000_000
_BOUNDS: Final = (*(str(bound / _US_PER_S) for bound in BOUNDS_US), "+Inf")

Series = Iterable[tuple[tuple[str, ...], float]]
"""Values of labels, and the number that stands there."""


class WorkerCollector:
    """Makes metric families out of what a worker's parts say now.

    `collect` takes copies first, so that it may run beside the loop.
    """

    def __init__(self, parts: Parts, tally: Tally) -> None:
        self._parts, self._tally = parts, tally

    def collect(self) -> Iterator[Family]:
        """Every family of the table, those without any series too."""
        numbers = dict(_numbers(self._parts, self._tally))
        for metric in METRICS.values():
            if metric.kind == "histogram":
                yield _histogram(metric, HISTOGRAMS[metric.name](self._tally))
            else:
                yield _family(metric, numbers.get(metric.name, ()))


def make_registry(parts: Parts, tally: Tally) -> CollectorRegistry:
    """A registry with a worker's own numbers, and those of its process."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(WorkerCollector(parts, tally))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def expose(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """The numbers as text, and its content type: OpenMetrics for who accepts it."""
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


HISTOGRAMS: Final[dict[str, Callable[[Tally], dict[str, Histogram]]]] = {
    "mallku_command_seconds": lambda tally: dict(tally.durations),
    "mallku_step_seconds": lambda tally: dict(tally.steps),
}
"""Where the times of each histogram are counted."""


def _numbers(parts: Parts, tally: Tally) -> Iterator[tuple[str, Series]]:
    yield "mallku_commands_total", _counted(tally.commands)
    yield "mallku_collection_commands_total", _counted(tally.collections)
    yield "mallku_principal_commands_total", _counted(tally.principals)
    yield "mallku_ledger_hits_total", _one(tally.ledger_hits)
    yield from _of_load(parts)
    yield from _of_broker(parts)
    yield from _of_trail(parts)
    yield from _of_health(parts)
    yield from _of_identity(parts)


def _of_load(parts: Parts) -> Iterator[tuple[str, Series]]:
    if parts.slots is not None:
        yield "mallku_commands_in_flight", _one(parts.slots.in_flight)
        yield "mallku_turned_away_total", _one(parts.slots.turned_away)
    if parts.under_way is not None:
        yield "mallku_messages_under_way", _one(parts.under_way())
    if parts.replies is not None:
        yield "mallku_replies_dropped_total", _one(parts.replies.dropped)
    if parts.cursors is not None:
        yield "mallku_cursors", _one(len(parts.cursors))
    at_work = parts.at_work()
    yield "mallku_store_at_work", [((name,), inside) for name, (inside, _) in at_work.items()]
    yield "mallku_store_waiting", [((name,), waiting) for name, (_, waiting) in at_work.items()]
    yield (
        "mallku_breaker_state",
        [
            ((name, state), float(state == now))
            for name, now in parts.breakers().items()
            for state in BREAKER_STATES
        ],
    )
    yield "mallku_jobs", [((state,), count) for state, count in parts.jobs.items()]
    if parts.desk is not None:
        fates = parts.desk.fates.items()
        yield "mallku_jobs_ended_total", [((fate.name.lower(),), count) for fate, count in fates]


def _of_broker(parts: Parts) -> Iterator[tuple[str, Series]]:
    connections = parts.connections.items()
    yield "mallku_broker_up", [((name,), float(one.is_up)) for name, one in connections]
    yield (
        "mallku_broker_pending_bytes",
        [((name,), one.pending_bytes) for name, one in connections],
    )


def _of_trail(parts: Parts) -> Iterator[tuple[str, Series]]:
    if parts.trail is not None:
        audit = parts.trail.audit
        yield "mallku_audit_records_total", _one(audit.records)
        yield "mallku_audit_pending_records", _one(audit.pending)
        yield "mallku_audit_uncovered_records", _one(audit.uncovered)
        yield "mallku_audit_answers", _one(audit.answers)
        yield "mallku_audit_checkpoint_number", _one(parts.trail.checkpoints.head.number)
    if parts.groups is not None:
        yield "mallku_audit_groups_total", _one(parts.groups.groups)
        yield "mallku_audit_grouped_records_total", _one(parts.groups.grouped)
    if parts.watch is not None:
        yield "mallku_durability_level", _one(parts.watch.declared.level)
        if (state := parts.watch.state) is not None:
            yield "mallku_audit_stream_bytes", _one(state.fill.used)
            yield "mallku_audit_stream_limit_bytes", _one(state.fill.limit)


def _of_health(parts: Parts) -> Iterator[tuple[str, Series]]:
    health = parts.health()
    yield "mallku_ready", _one(health.ready)
    yield "mallku_part_ok", [((one.part.value,), float(one.holds)) for one in health.conditions]
    yield "mallku_draining", _one(parts.draining)
    yield "mallku_away", _one(parts.away)
    yield "mallku_event_loop_lag_seconds", _one(parts.lag.recent_worst_s)
    yield "mallku_event_loop_lag_median_seconds", _one(parts.lag.usual_s)
    if (apart_ms := parts.clocks.apart_ms) is not None:
        yield "mallku_clock_apart_seconds", _one(apart_ms / 1_000)


def _of_identity(parts: Parts) -> Iterator[tuple[str, Series]]:
    token = parts.token
    who = (str(token.get("sub", "")), parts.instance, version("mallku-gateway"), parts.store)
    yield "mallku_worker_info", [(who, 1.0)]
    yield "mallku_start_timestamp_seconds", _one(parts.started_s)
    if "exp" in token:
        yield "mallku_token_expiry_timestamp_seconds", _one(token["exp"])
    if parts.identifier is not None:
        yield "mallku_tokens_remembered", _one(parts.identifier.remembered)
    if (policy := parts.policy_version) is not None:
        yield "mallku_policy_version", _one(policy)


def _one(value: float) -> Series:
    return [((), float(value))]


def _counted(counts: dict[Any, int]) -> Series:
    return list(counts.items())


def _family(metric: Metric, series: Series) -> Family:
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name.removesuffix("_total"), metric.text, labels=metric.labels)
    for labels, value in series:
        family.add_metric(list(labels), value)
    return family


def _histogram(metric: Metric, histograms: dict[str, Histogram]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.text, labels=metric.labels)
    for label, histogram in histograms.items():
        total, buckets = 0, []
        for bound, count in zip(_BOUNDS, tuple(histogram.counts), strict=True):
            total += count
            buckets.append((bound, total))
        family.add_metric([label], buckets=buckets, sum_value=histogram.total_us / _US_PER_S)
    return family
