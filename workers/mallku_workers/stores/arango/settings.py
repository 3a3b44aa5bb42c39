"""What an operator may tune about the ArangoDB store, each with its unit.

Each is read from the environment as `MALLKU_WORKER_ARANGO_` and the field's name in capitals.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from mallku_contracts.limits import (
    KIB,
    MAX_BATCH_DOCUMENTS,
    MAX_EFFECT_BYTES,
    MAX_RESULT_BYTES,
    MIB,
)


class ArangoSettings(BaseSettings):
    """Where ArangoDB is, who we are there, and the limits of one store."""

    model_config = SettingsConfigDict(
        env_prefix="MALLKU_WORKER_ARANGO_", frozen=True, extra="forbid", hide_input_in_errors=True
    )

    url: str = Field(
        default="http://127.0.0.1:8529",
        description="ArangoDB's URL, or those of several coordinators with commas between",
    )
    username: str = Field(default="root", description="The database user of this worker")
    password_file: Path | None = Field(
        default=None, description="File with that user's password, mode 0600; none: no password"
    )
    read_username: str | None = Field(
        default=None, description="The user that runs queries which read; none: this worker's"
    )
    read_password_file: Path | None = Field(
        default=None, description="File with that user's password, mode 0600; none: no password"
    )
    write_username: str | None = Field(
        default=None, description="The user that runs queries which change; none: this worker's"
    )
    write_password_file: Path | None = Field(
        default=None, description="File with that user's password, mode 0600; none: no password"
    )
    auth: Literal["jwt", "basic"] = Field(
        default="jwt",
        description="How the user is proven: a token fetched by password, or each time",
    )
    tls_ca: Path | None = Field(default=None, description="Authority of ArangoDB's certificate")
    tls_cert: Path | None = Field(default=None, description="The worker's own certificate")
    tls_key: Path | None = Field(default=None, description="The key of that certificate")

    connections: int = Field(
        default=32, ge=1, le=512, description="Requests under way at once, each with its thread"
    )
    connect_timeout_ms: int = Field(
        default=1_000, ge=10, le=60_000, description="To reach one coordinator, milliseconds"
    )
    idle_s: float = Field(
        default=60.0, gt=0, le=3_600, description="A connection unused so long is closed, seconds"
    )
    max_runtime_ms: int = Field(
        default=30_000,
        ge=10,
        le=3_600_000,
        description="Longest runtime of one query or transaction, milliseconds",
    )
    memory_limit_bytes: int = Field(
        default=128 * MIB, ge=MIB, description="Memory of one query inside ArangoDB, bytes"
    )
    max_response_bytes: int = Field(
        default=256 * MIB, ge=MIB, description="One answer of ArangoDB, bytes"
    )
    cursor_idle_s: int = Field(
        default=300, ge=1, le=86_400, description="ArangoDB keeps an unread cursor so long, seconds"
    )
    lock_timeout_ms: int = Field(
        default=2_000, ge=10, le=60_000, description="To wait for a collection's lock, milliseconds"
    )
    conflict_retries: int = Field(
        default=4, ge=0, le=100, description="Further tries of a write that met another one, tries"
    )

    allow_several_shards: bool = Field(
        default=False,
        description="Serve a cluster's database that is not OneShard, where a write and its ledger"
        " entry are not one commit",
    )

    queue_works: int = Field(
        default=4_096, ge=1, description="Works that may wait or run in the store, works"
    )
    group_works: int = Field(
        default=256, ge=1, le=10_000, description="Single writes combined into one request, works"
    )
    group_bytes: int = Field(
        default=4 * MIB, ge=1, description="Documents combined into one request, bytes of JSON"
    )
    group_lanes: int = Field(
        default=2,
        ge=1,
        le=64,
        description="Combined requests under way for one collection and operation, requests",
    )

    max_result_bytes: int = Field(
        default=MAX_RESULT_BYTES,
        ge=KIB,
        le=MAX_RESULT_BYTES,
        description="Documents of one result as JSON text, bytes; msgpack at most doubles it",
    )
    max_document_bytes: int = Field(
        default=MAX_EFFECT_BYTES,
        ge=KIB,
        le=MAX_EFFECT_BYTES,
        description="One document as JSON text, bytes",
    )
    max_match_documents: int = Field(
        default=MAX_BATCH_DOCUMENTS,
        ge=1,
        description="Documents that one command may change by filters",
    )
    ledger_body_bytes: int = Field(
        default=64 * KIB,
        ge=0,
        description="A ledger entry's result above this is kept without document bodies, bytes",
    )

    @property
    def urls(self) -> tuple[str, ...]:
        """The coordinators."""
        return tuple(url.strip() for url in self.url.split(",") if url.strip())
