"""What an operator may tune in a worker: numbers with a unit, a default and bounds.

Each is read from the environment as `MALLKU_WORKER_` and the field's name in capitals.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from mallku_contracts.durability import Durability
from mallku_contracts.limits import MAX_CLOCK_SKEW_MS, MAX_COMMAND_LIFE_MS
from mallku_workers.audit.numbers import MAX_UNCOVERED
from mallku_workers.jobs.delivery import MAX_TRIES


class WorkerSettings(BaseSettings):
    """Everything one worker process needs to know."""

    model_config = SettingsConfigDict(
        env_prefix="MALLKU_WORKER_", frozen=True, extra="forbid", hide_input_in_errors=True
    )

    url: str = Field(description="The broker's URL, or several with commas between")
    bus_credentials: Path = Field(description="File with the nkey seed of the bus connection")
    records_credentials: Path = Field(
        description="File with the nkey seed of the records connection"
    )
    key_file: Path = Field(description="The worker's signing key, PKCS#8 PEM")
    token_file: Path = Field(description="The worker's token, read again before it expires")
    trust_file: Path = Field(description="Issuers whose tokens are believed")

    connection_keys_file: Path | None = Field(
        default=None,
        description="Whose connection each nkey is, where the policy does not say so; JSON",
    )

    tls_ca: Path | None = Field(default=None, description="Authority of the broker's certificate")
    tls_cert: Path | None = Field(default=None, description="The worker's own certificate")
    tls_key: Path | None = Field(default=None, description="The key of that certificate")

    heartbeat_fd: int | None = Field(
        default=None, ge=0, description="Descriptor of the pipe to the supervisor"
    )

    store: Literal["embedded", "arango"] = Field(
        default="embedded", description="Which store executes"
    )
    store_directory: Path = Field(
        default=Path("store"), description="Where the embedded store keeps its files"
    )
    store_synchronous: Literal["NORMAL", "FULL"] = Field(
        default="NORMAL",
        description="Commits of the embedded store survive a killed process, or with FULL a loss of"
        " power as well",
    )
    require_durability: Literal["memory", "flush", "fsync", "quorum"] = Field(
        default="memory",
        description="Refuse to serve where audit stream or store keep less than this",
    )
    trail_look_s: float = Field(
        default=10.0,
        gt=0,
        le=3_600,
        description="Between two looks at how full the trail is, and what it promises, seconds",
    )
    databases: str = Field(default="mallku", description="Databases served, commas between")

    max_in_flight: int = Field(
        default=1_024, ge=1, le=65_536, description="Commands under way in this worker, commands"
    )
    max_reads: int = Field(
        default=512, ge=1, le=65_536, description="Reads inside the store at once, commands"
    )
    max_writes: int = Field(
        default=512, ge=1, le=65_536, description="Writes inside the store at once, commands"
    )
    max_waiting_reads: int = Field(
        default=256,
        ge=0,
        le=65_536,
        description="Reads that wait for a place in the store; more are told `busy`, commands",
    )
    max_waiting_writes: int = Field(
        default=256,
        ge=0,
        le=65_536,
        description="Writes that wait for a place in the store; more are told `busy`, commands",
    )
    max_jobs: int = Field(
        default=16,
        ge=1,
        le=1_024,
        description="Durable jobs at once; as many more whose time has come",
    )
    job_tries: int = Field(
        default=MAX_TRIES,
        ge=1,
        le=100,
        description="How often a durable job is begun before it is given up, tries",
    )
    job_share: float = Field(
        default=0.125,
        gt=0,
        le=1,
        description="What one principal may hold of the jobs, the dead and the results, each,"
        " once it is half full, part of its bytes",
    )
    max_tokens: int = Field(
        default=10_000, ge=1, le=1_000_000, description="Verified tokens remembered, tokens"
    )
    max_seen_ids: int = Field(
        default=1_000_000, ge=1_000, le=10_000_000, description="Transmissions remembered, ids"
    )
    max_pending_outcomes: int = Field(
        default=10_000, ge=1, le=1_000_000, description="Outcomes not yet acknowledged, records"
    )
    clock_skew_ms: int = Field(
        default=MAX_CLOCK_SKEW_MS,
        ge=0,
        le=MAX_CLOCK_SKEW_MS,
        description="Allowed difference of clocks, milliseconds",
    )
    audit_wait_ms: int = Field(
        default=2_000, ge=10, le=60_000, description="Wait for the trail's answer, milliseconds"
    )
    checkpoint_every_ms: int = Field(
        default=1_000, ge=50, le=60_000, description="Between two checkpoints, milliseconds"
    )
    max_uncovered_records: int = Field(
        default=MAX_UNCOVERED,
        ge=1_000,
        le=1_000_000,
        description="Records that no checkpoint covers yet, from which on nothing is executed",
    )
    audit_digest_key_file: Path | None = Field(
        default=None,
        description="Key of the hashes in records of collections whose rules say `audit: digest`",
    )
    checkpoint_witness: str | None = Field(
        default=None,
        description="Who else keeps checkpoints: file:/PATH or nats://HOST:PORT/SUBJECT",
    )
    checkpoint_witness_credentials: Path | None = Field(
        default=None, description="NATS credentials for the witness's broker"
    )
    audit_retry_ms: int = Field(
        default=200, ge=10, le=60_000, description="Between two tries of an outcome, milliseconds"
    )
    reconcile_every_s: float = Field(
        default=60.0,
        ge=0.1,
        le=3_600,
        description="Between two searches for intents without outcome, in the whole gateway,"
        " seconds",
    )
    reconcile_untouched_s: float = Field(
        default=30.0,
        ge=0,
        le=3_600,
        description="An intent is left to its own worker for so long, seconds",
    )
    reconcile_silent_s: float = Field(
        default=90.0,
        ge=1,
        le=86_400,
        description="A worker that is silent for so long, with records that no checkpoint covers,"
        " is taken for dead, seconds",
    )
    reconcile_runtime_ms: int = Field(
        default=MAX_COMMAND_LIFE_MS,
        ge=0,
        le=MAX_COMMAND_LIFE_MS,
        description="The longest that any store works on a command, milliseconds; before that is"
        " over nobody says that it was not applied",
    )
    refusals_recorded_per_minute: int = Field(
        default=60,
        ge=1,
        le=100_000,
        description="Refusals with a record each, per principal and minute; the rest are summed up",
    )
    refusals_per_s: int = Field(
        default=200,
        ge=1,
        le=1_000_000,
        description="Refusals of a principal in a second, after which it waits unseen; 5 s at once",
    )
    expected_workers: int = Field(
        default=4,
        ge=1,
        le=1_000,
        description="Among how many a rate is shared while its counters are silent, workers",
    )
    breaker_failure_ratio: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Part of the calls of one class to the store that failed, from which on it is"
        " left alone",
    )
    breaker_min_calls: int = Field(
        default=5,
        ge=1,
        le=100_000,
        description="Calls of the window below which the breaker concludes nothing, calls",
    )
    breaker_window_s: float = Field(
        default=10.0, gt=0, le=300, description="How far back the breaker looks, seconds"
    )
    breaker_reset_s: float = Field(
        default=2.0, gt=0, le=300, description="Before an open breaker lets one try pass, seconds"
    )
    busy_retry_ms: int = Field(
        default=50,
        ge=1,
        le=60_000,
        description="Advice to callers turned away before any pace was measured, milliseconds",
    )
    sign_read_replies: bool = Field(
        default=True,
        description="Sign the results of reads too; replies to mutations and errors always are",
    )
    cursor_idle_s: float = Field(
        default=30.0, gt=0, le=3_600, description="A cursor that nobody asks for is kept, seconds"
    )
    cursor_life_s: float = Field(
        default=600.0, gt=0, le=86_400, description="A cursor is kept at most, seconds"
    )
    drain_s: float = Field(
        default=10.0, gt=0, le=300, description="To finish what is under way at the end, seconds"
    )
    token_reread_s: float = Field(
        default=30.0, gt=0, le=3_600, description="Between two looks at the token file, seconds"
    )
    trust_reread_s: float = Field(
        default=1.0, gt=0, le=3_600, description="Between two looks at the trust file, seconds"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info",
        description="The least severe line that is written; SIGUSR1 makes it `debug`, SIGUSR2 this"
        " again",
    )
    log_format: Literal["json", "console"] = Field(
        default="json", description="Lines for machines or for people"
    )
    observe: bool = Field(
        default=True, description="Count, answer discovery, and serve metrics and health over HTTP"
    )
    tracing: bool = Field(
        default=False,
        description="Make OpenTelemetry spans of commands and export them by OTLP, as the SDK's own"
        " variables (`OTEL_EXPORTER_OTLP_ENDPOINT` and others) say",
    )
    trace_ratio: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="With tracing: how many commands are sampled that bring no trace of their own;"
        " the others are when their caller's trace is",
    )
    http_host: str = Field(
        default="127.0.0.1", description="Where metrics and health are served: an address"
    )
    http_port: int = Field(
        default=0, ge=0, le=65_535, description="At which port; 0 takes a free one"
    )

    @property
    def required(self) -> Durability:
        """The least durability to serve with."""
        return Durability[self.require_durability.upper()]

    @property
    def database_names(self) -> tuple[str, ...]:
        """The databases as names."""
        return tuple(name.strip() for name in self.databases.split(",") if name.strip())
