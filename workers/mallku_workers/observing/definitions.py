"""Every metric of a worker: one table, from which exposition and documentation are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric family.

    Attributes:
        name: As Prometheus knows it; counters end in `_total`.
        labels: What its series are told apart by; the values of each are bounded.
    """

    name: str
    kind: Kind
    text: str
    labels: tuple[str, ...] = ()


_TABLE: Final = (
    Metric(
        "mallku_commands_total",
        "counter",
        "Commands that were answered or refused; code is `ok` or the error's",
        ("operation", "collection_class", "outcome", "code"),
    ),
    Metric(
        "mallku_collection_commands_total",
        "counter",
        "The same by collection, for what the policy let in; from the 65th on it is `_other`",
        ("collection", "access", "outcome"),
    ),
    Metric(
        "mallku_principal_commands_total",
        "counter",
        "The same by principal; `_unknown` was not let in, from the 65th on it is `_other`",
        ("principal", "outcome"),
    ),
    Metric(
        "mallku_command_seconds",
        "histogram",
        "From the receipt of a command until its reply has left",
        ("access",),
    ),
    Metric(
        "mallku_step_seconds",
        "histogram",
        "Each step of the pipeline, the one that refused included; `intend` is what the trail's"
        " acknowledgement takes",
        ("step",),
    ),
    Metric("mallku_commands_in_flight", "gauge", "Commands that hold a slot"),
    Metric("mallku_messages_under_way", "gauge", "Messages that have come and are not answered"),
    Metric("mallku_turned_away_total", "counter", "Commands for which there was no slot"),
    Metric("mallku_replies_dropped_total", "counter", "Replies that could not be sent"),
    Metric("mallku_ledger_hits_total", "counter", "Commands whose effect the ledger had already"),
    Metric("mallku_store_at_work", "gauge", "Commands inside the store", ("class",)),
    Metric("mallku_store_waiting", "gauge", "Commands that wait for the store", ("class",)),
    Metric(
        "mallku_breaker_state",
        "gauge",
        "1 for the state that the store's breaker is in",
        ("class", "state"),
    ),
    Metric("mallku_broker_up", "gauge", "1 while the connection is up", ("connection",)),
    Metric(
        "mallku_broker_pending_bytes", "gauge", "What waits to leave, in bytes", ("connection",)
    ),
    Metric("mallku_audit_records_total", "counter", "Records that were written, or tried to be"),
    Metric("mallku_audit_pending_records", "gauge", "Records that are tried until acknowledged"),
    Metric("mallku_audit_uncovered_records", "gauge", "Records that no checkpoint covers yet"),
    Metric("mallku_audit_answers", "gauge", "1 while the trail acknowledges records"),
    Metric("mallku_audit_groups_total", "counter", "Groups of records that were published at once"),
    Metric("mallku_audit_grouped_records_total", "counter", "Records in those groups"),
    Metric("mallku_audit_checkpoint_number", "gauge", "The last checkpoint that stands"),
    Metric("mallku_audit_stream_bytes", "gauge", "What the audit stream holds, in bytes"),
    Metric("mallku_audit_stream_limit_bytes", "gauge", "What it may hold, in bytes; 0 is no limit"),
    Metric("mallku_durability_level", "gauge", "1 memory, 2 flush, 3 fsync, 4 quorum"),
    Metric(
        "mallku_jobs",
        "gauge",
        "Durable jobs: `under_way` in this worker, `stored` and not done in the whole gateway",
        ("state",),
    ),
    Metric("mallku_jobs_ended_total", "counter", "Tries of durable jobs, by their end", ("fate",)),
    Metric("mallku_cursors", "gauge", "Queries with pages that were not asked for yet"),
    Metric("mallku_tokens_remembered", "gauge", "Tokens that were verified and are remembered"),
    Metric("mallku_token_expiry_timestamp_seconds", "gauge", "When the worker's own token is over"),
    Metric("mallku_policy_version", "gauge", "The version of the policy in force"),
    Metric("mallku_clock_apart_seconds", "gauge", "How far our clock is ahead of the broker's"),
    Metric("mallku_event_loop_lag_seconds", "gauge", "The longest delay of the last five seconds"),
    Metric("mallku_event_loop_lag_median_seconds", "gauge", "The usual delay of five seconds"),
    Metric("mallku_ready", "gauge", "1 while commands are carried out"),
    Metric("mallku_part_ok", "gauge", "1 while this part is as it should be", ("part",)),
    Metric("mallku_draining", "gauge", "1 while the worker finishes and takes nothing new"),
    Metric("mallku_away", "gauge", "1 while it has left its queue groups for a fault of its own"),
    Metric("mallku_start_timestamp_seconds", "gauge", "When the worker began"),
    Metric(
        "mallku_worker_info",
        "gauge",
        "1; who it is",
        ("principal", "worker_id", "version", "store"),
    ),
)

METRICS: Final[Mapping[str, Metric]] = {metric.name: metric for metric in _TABLE}
"""Every metric by its name."""
