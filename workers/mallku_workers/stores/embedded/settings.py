"""What an operator may tune about the embedded store, each with its unit."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from mallku_contracts.limits import KIB, MAX_CURSORS, MAX_EFFECT_BYTES, MAX_RESULT_BYTES, MIB


class EmbeddedSettings(BaseModel):
    """Limits and durability of one embedded store; every process on the same files may differ."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    synchronous: Literal["NORMAL", "FULL"] = Field(
        default="NORMAL",
        description="NORMAL: commits survive a killed process; FULL: a loss of power as well.",
    )
    busy_timeout_ms: int = Field(
        default=2_000,
        ge=1,
        le=60_000,
        description="How long to wait for another process that is writing, milliseconds.",
    )
    queue_works: int = Field(
        default=4_096, ge=1, description="Works that may wait or run in one queue, count."
    )
    group_works: int = Field(
        default=512, ge=1, le=10_000, description="Works that share one commit, count."
    )
    group_bytes: int = Field(
        default=8 * MIB,
        ge=1,
        description="New document text after which a commit takes no further work, bytes.",
    )
    cache_bytes: int = Field(
        default=16 * MIB,
        ge=64 * KIB,
        description="Page cache of one connection: three of a database, and each of its queries at"
        " work, bytes.",
    )
    wal_pages: int = Field(
        default=4_000,
        ge=1,
        description="Pages in the write-ahead log at which a commit moves them into the file.",
    )
    max_document_bytes: int = Field(
        default=MAX_EFFECT_BYTES,
        ge=KIB,
        le=MAX_EFFECT_BYTES,
        description="One document as JSON text, bytes.",
    )
    max_result_bytes: int = Field(
        default=MAX_RESULT_BYTES,
        ge=KIB,
        le=MAX_RESULT_BYTES,
        description="Documents of one result as JSON text, bytes; msgpack at most doubles it.",
    )
    max_match_documents: int = Field(
        default=10_000, ge=1, description="Documents that one command may change by filters."
    )
    max_match_bytes: int = Field(
        default=16 * MIB,
        ge=MAX_EFFECT_BYTES,
        description="The same, that are changed or replaced, as JSON text before that, bytes.",
    )
    max_sort_documents: int = Field(
        default=200_000, ge=1, description="Documents that one sort may look at."
    )
    query_threads: int = Field(
        default=3,
        ge=1,
        le=64,
        description="Reading queries at work at once, threads; nobody has more of them than are"
        " free, so that one alone has 2 of 3.",
    )
    max_cursors: int = Field(
        default=MAX_CURSORS,
        ge=1,
        le=4_096,
        description="Reading queries that are not at their end, count; nobody has more of them than"
        " are free.",
    )
    query_memory_bytes: int = Field(
        default=128 * MIB,
        ge=MIB,
        description="What one query may keep at a time, and the keys of one sorted `find`,"
        " bytes (an estimate).",
    )
    ledger_body_bytes: int = Field(
        default=64 * KIB,
        ge=0,
        description="A ledger entry's result above this is kept without document bodies, bytes.",
    )
    ledger_sweep_after_s: float = Field(
        default=300.0,
        ge=0,
        le=86_400,
        description="After its start a store removes no expired ledger entries for so long,"
        " seconds: what became of commands is looked up in them after a crash.",
    )
    ledger_sweep_entries: int = Field(
        default=64,
        ge=1,
        description="Expired ledger entries that a commit removes beyond twice what it adds.",
    )
