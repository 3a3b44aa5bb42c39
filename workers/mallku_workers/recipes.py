"""What the settings say, made into the parts of a worker; nothing here is started or sends."""

from __future__ import annotations

import time
from functools import partial
from importlib.metadata import version
from typing import Any, Final

from mallku_broker.connection import GatewayConnection
from mallku_broker.files import load_digests
from mallku_broker.trust import TrustFile
from mallku_contracts.keys import SigningKey
from mallku_contracts.trail.digests import Digests
from mallku_workers.admission import Slots
from mallku_workers.audit import (
    AuditLimits,
    CheckpointLimits,
    Trail,
    TrailLimits,
    Witnessing,
    witness_at,
)
from mallku_workers.authorization import Authorizer
from mallku_workers.breaker import BreakerLimits, Breakers, StateLog
from mallku_workers.durability import DeclaredDurability
from mallku_workers.execution import Bulkheads, Executor, Own
from mallku_workers.governance import Governor
from mallku_workers.governance.describing import describe_flags
from mallku_workers.identity import Identifier
from mallku_workers.jobs.desk import Desk
from mallku_workers.message import unix_ms
from mallku_workers.observing.stored import TimedStore
from mallku_workers.queries.authorize import QueryAuthorizer
from mallku_workers.queries.cursors import Cursors
from mallku_workers.reconciling import DecisionLimits, Looking, Reconciler, ReconcilerLimits
from mallku_workers.reporting import report_violation
from mallku_workers.settings import WorkerSettings
from mallku_workers.stores.base import Store
from mallku_workers.stores.embedded import EmbeddedSettings, EmbeddedStore

_MS_PER_S: Final = 1_000


def store(settings: WorkerSettings) -> Store:
    """The chosen store over the databases of the settings, not started yet; timed for traces."""
    chosen = _store(settings)
    return TimedStore(chosen) if settings.tracing else chosen


def _store(settings: WorkerSettings) -> Store:
    names = settings.database_names
    if settings.store == "arango":
        # Whoever serves from the embedded store needs no driver.
        from mallku_workers.stores.arango import ArangoSettings, ArangoStore

        return ArangoStore(ArangoSettings(), databases=names)
    own = EmbeddedSettings(synchronous=settings.store_synchronous)
    return EmbeddedStore(settings.store_directory, settings=own, databases=names)


def trail_limits(settings: WorkerSettings) -> TrailLimits:
    """What bounds the writing of records and of checkpoints, in seconds and counts."""
    wait_s = settings.audit_wait_ms / _MS_PER_S
    records = AuditLimits(
        wait_s=wait_s,
        retry_s=settings.audit_retry_ms / _MS_PER_S,
        max_pending=settings.max_pending_outcomes,
        refusals_per_minute=settings.refusals_recorded_per_minute,
    )
    checkpoints = CheckpointLimits(settings.checkpoint_every_ms / _MS_PER_S, wait_s)
    return TrailLimits(records, checkpoints, settings.max_uncovered_records)


def witnessing(settings: WorkerSettings, instance: str) -> Witnessing | None:
    """Where checkpoints go besides the stream; None where no witness is set."""
    if settings.checkpoint_witness is None:
        return None
    credentials = settings.checkpoint_witness_credentials
    witness = witness_at(settings.checkpoint_witness, credentials, instance)
    return Witnessing(witness, retry_s=settings.checkpoint_every_ms / _MS_PER_S)


def start_facts(
    store: Store, declared: DeclaredDurability, governor: Governor, key: SigningKey
) -> dict[str, Any]:
    """What the trail says of a worker that begins (`START_FACTS`)."""
    return {
        "store": store.name,
        "durability": str(declared.level),
        "version": version("mallku-gateway"),
        "policy": governor.policy.version,
        "kid": key.kid,
    }


def slots(settings: WorkerSettings, governor: Governor) -> Slots:
    """Places for commands under way, within the limits that the policy in force gives."""
    return Slots(settings.max_in_flight, governor.limits, settings.busy_retry_ms / _MS_PER_S)


def identifier(settings: WorkerSettings, trust: TrustFile, governor: Governor) -> Identifier:
    """Who tells whose command it is, by the trusted issuers and without whoever is revoked."""
    return Identifier(
        trust,
        governor.is_revoked,
        max_tokens=settings.max_tokens,
        skew_ms=settings.clock_skew_ms,
    )


def authorizer(settings: WorkerSettings, store: Store) -> Authorizer:
    """What a command may do; the store says which collections a query would use."""
    return Authorizer(QueryAuthorizer(store.collections_of), digests(settings))


def digests(settings: WorkerSettings) -> Digests | None:
    """What hides recorded values, with the key of the settings; None where there is no key.

    Raises:
        ConfigurationError: the key's file cannot be used.
    """
    path = settings.audit_digest_key_file
    return None if path is None else load_digests(path)


def cursors(settings: WorkerSettings, instance: str) -> Cursors:
    """Where queries wait for their next page to be asked for."""
    return Cursors(
        instance,
        idle_s=settings.cursor_idle_s,
        life_s=settings.cursor_life_s,
        clock=time.monotonic,
    )


def executor(
    settings: WorkerSettings, store: Store, cursors: Cursors, governor: Governor, jobs: Desk
) -> Executor:
    """What carries commands out in the store, behind breakers and bulkheads."""
    limits = BreakerLimits(
        settings.breaker_failure_ratio,
        settings.breaker_min_calls,
        settings.breaker_window_s,
        settings.breaker_reset_s,
    )
    breakers = Breakers(limits, time.monotonic, store.name, [StateLog()])
    bulkheads = Bulkheads(
        settings.max_reads,
        settings.max_writes,
        settings.max_waiting_reads,
        settings.max_waiting_writes,
        settings.busy_retry_ms / _MS_PER_S,
    )
    own: dict[str, Own] = {
        "describe-flags": partial(describe_flags, lambda: governor.flags),
        "redrive": jobs.redriving(),
        "report-violation": report_violation,
    }
    outcomes = jobs.outcomes(store)
    return Executor(store, breakers, cursors, bulkheads, clock=unix_ms, own=own, outcomes=outcomes)


def reconciler(  # noqa: PLR0913 - what it is made of
    settings: WorkerSettings,
    records: GatewayConnection,
    instance: str,
    store: Store,
    trail: Trail,
    *,
    trust: TrustFile,
) -> Reconciler:
    """What closes the intents that dead workers left open."""
    decision = DecisionLimits(settings.clock_skew_ms, settings.reconcile_runtime_ms)
    limits = ReconcilerLimits(
        untouched_ms=int(settings.reconcile_untouched_s * _MS_PER_S),
        silent_ms=int(settings.reconcile_silent_s * _MS_PER_S),
    )
    return Reconciler(
        records,
        instance,
        Looking(store, decision, unix_ms, digests(settings)),
        trail.audit,
        limits,
        trust=lambda: trust.trust,
        clock=unix_ms,
        vouching=trail.checkpoints,
    )
