"""Every size, wait and count that the wire itself fixes, by name and with its unit.

What an operator may tune lives in the settings classes of the other packages; what is written here
is part of the protocol, and changing it changes `docs/wire.md`.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

MAX_PAYLOAD_BYTES: Final = 8 * MIB
"""The broker's `max_payload`: headers and body of any one message, bytes."""

MAX_COMMAND_BYTES: Final = 2 * MIB
"""A whole command message body, bytes."""

MAX_REPLY_BYTES: Final = MAX_PAYLOAD_BYTES - 64 * KIB
"""A whole reply message body, bytes; the rest is left for headers and a margin."""

MAX_EFFECT_BYTES: Final = 2 * MIB
"""The new versions of all documents that one mutation touches, bytes of JSON text."""

MAX_RESULT_BYTES: Final = 3 * MIB
"""The documents of one result, bytes of JSON text: a reply has room for them as msgpack."""

MAX_RECORD_BYTES: Final = 6 * MIB
"""A whole audit record, bytes: effects as msgpack and what stands around each of them."""

MAX_CHECKPOINT_BYTES: Final = 64 * KIB
"""A whole checkpoint, bytes."""

MAX_PROTECTED_BYTES: Final = 2 * KIB
"""The protected part of a command or a reply, bytes."""

MAX_TOKEN_BYTES: Final = 8 * KIB
"""A token, bytes."""

MAX_COMMAND_LIFE_MS: Final = 60_000
"""From `iat` to `exp` of a command, milliseconds."""

MAX_JOB_LIFE_MS: Final = 7 * 24 * 3_600 * 1_000
"""From `iat` to `exp` of a durable job, milliseconds."""

JOB_MEMORY_MS: Final = 24 * 3_600 * 1_000
"""How long after its `exp` the ledger remembers what a job did, milliseconds."""

REDRIVE_WITHIN_MS: Final = 23 * 3_600 * 1_000
"""How long after its `exp` a dead job may be tried again, milliseconds; the ledger knows it yet."""

MAX_ORDERING_KEY_CHARS: Final = 128
"""An ordering key, characters."""

MAX_CURSORS: Final = 64
"""Queries of one worker that are not at their end, count: cursors, and what a store keeps open."""

MAX_CLOCK_SKEW_MS: Final = 30_000
"""How far the clocks of caller and worker may stand apart, milliseconds."""

MAX_TIME_MS: Final = 2**48 - 1
"""The latest Unix time that can be said, milliseconds: what a UUIDv7 has room for."""

AUDIT_DUPLICATE_WINDOW_S: Final = 180
"""How long the audit stream remembers message ids, seconds (> life + 2 * skew)."""

MAX_ATTEMPTS: Final = 1_000
"""The highest attempt number of one command."""

MAX_IDEMPOTENCY_KEY_CHARS: Final = 128
"""An idempotency key, characters."""

MAX_DEPTH: Final = 64
"""Containers inside containers in a command's body, levels."""

MAX_FRAME_DEPTH: Final = 8
"""What replies and audit records may put around a document, levels on top of `MAX_DEPTH`."""

MAX_ROW_DEPTH: Final = MAX_DEPTH + MAX_FRAME_DEPTH // 2
"""Containers inside containers in one row of a query, levels: a job's outcome frames it twice."""

MAX_CONTAINERS: Final = 25_000
"""Arrays and maps together in one command's body."""

MAX_WRITTEN_CONTAINERS: Final = MAX_PAYLOAD_BYTES // 4
"""Arrays and maps together in a reply or an audit record: more than their documents can have."""

ITEMS_FOR_EACH: Final = 8
"""Items of all arrays and maps together in one body, for each container that it may have."""

ENTRY_ITEMS: Final = 4
"""Items that one entry of a map counts for, because it costs as much."""

MAX_PROVEN_BYTES: Final = MIB
"""The arguments of a command that a door carries, packed, bytes: a worker spells them as JSON."""

MAX_PROVEN_CONTAINERS: Final = 2_500
"""Arrays and maps together in them; with `ITEMS_FOR_EACH` it bounds their items as well."""

MAX_PROVEN_FLOATS: Final = 5_000
"""Numbers with a fraction or an exponent in them: nothing is as slow to spell."""

MAX_MAP_ENTRIES: Final = 5_000
"""Entries of one map in a command's body: with `MAX_DEPTH` it bounds what is built uncounted."""

MAX_CONTAINER_ITEMS: Final = 100_000
"""Items of one array in a command's body; what workers write is bounded by its bytes."""

MAX_STRING_BYTES: Final = MAX_PAYLOAD_BYTES
"""One string in a body, bytes of UTF-8."""

MAX_NAME_CHARS: Final = 64
"""One token of a subject: a principal, database, collection or operation name, characters."""

MAX_KEY_BYTES: Final = 254
"""A document key, bytes (ArangoDB manual, "Document Keys")."""

MAX_BATCH_DOCUMENTS: Final = 10_000
"""Documents in one batch command."""

MAX_TOKEN_LIFE_S: Final = 24 * 3_600
"""From `iat` to `exp` of a token, seconds."""

MAX_TOKEN_ID_CHARS: Final = 128
"""The `jti` of a token, characters."""

MAX_TRUST_CHARS: Final = MIB
"""A trust document, characters."""

MAX_RETRY_AFTER_S: Final = 24 * 3_600
"""The longest wait that an error may ask for, seconds; clients cut what is longer."""

MAX_ROLES: Final = 32
"""Roles in one token."""
