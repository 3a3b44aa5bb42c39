"""A signed document on its way: into its bucket, and on to every worker, as the trail tells."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from mallku_broker.adoptions import adoption_filter, highest_adopted, watching_workers
from mallku_broker.buckets import Batch, Watch, kept, put
from mallku_broker.connection import GatewayConnection
from mallku_broker.generations import generations
from mallku_broker.succession import Succession
from mallku_contracts.audit import Record
from mallku_contracts.documents import (
    read_flags_document,
    read_policy_document,
    read_revocations,
)
from mallku_contracts.governed import CURRENT, Document, Kind, sign_document
from mallku_deploy.administration import Administration

ADOPT_WITHIN_S: Final = 5.0
"""How long workers may take until all of them have adopted a document, seconds."""

_READ = {
    Kind.POLICY: read_policy_document,
    Kind.KEYS: read_revocations,
    Kind.FLAGS: read_flags_document,
}
_MS_PER_S: Final = 1_000


@dataclass(frozen=True, slots=True)
class Standing:
    """What is in force of one kind.

    Attributes:
        document: None before the first.
        lowest: The lowest version that the next document may have.
        revision: The last revision of the bucket's key; 0 when it has none.
    """

    document: Document | None
    lowest: int
    revision: int


@dataclass(frozen=True, slots=True)
class Adoption:
    """A worker that put a document in force, `after_ms` milliseconds after it was stored."""

    worker: str
    after_ms: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a pushed document; `missing` are workers that said nothing in time."""

    document: Document
    adoptions: list[Adoption]
    missing: list[str]


async def standing(administration: Administration, kind: Kind) -> Standing:
    """What is in force, as a worker that starts now would find it.

    Raises:
        GatewayUnreachable, ConfigurationError: buckets or trail cannot be read.
    """
    connection = administration.connection
    succession = Succession(kind, await highest_adopted(connection, kind))
    batch = await kept(connection, kind.bucket, CURRENT)
    await succession.consider(batch, administration.administrators, _READ[kind])
    current = succession.current
    highest = max(succession.floor, current.version if current else 0)
    return Standing(current, highest + 1, batch[-1].revision if batch else 0)


async def push(
    administration: Administration, kind: Kind, text: str, version: int, revision: int
) -> Outcome:
    """Sign a document, put it in the place of `revision`, and wait until all workers run by it.

    Raises:
        Conflict: somebody else has pushed one in the meantime.
        GatewayUnreachable, ConfigurationError: bucket or trail do not answer, or refuse.
    """
    connection, now_ms = administration.connection, int(time.time() * _MS_PER_S)
    document = sign_document(kind, version, text.encode(), administration.key, issued_at=now_ms)
    expected = await watching_workers(connection, kind)
    await put(connection, kind.bucket, CURRENT, document.data, revision=revision)
    (stored,) = (await kept(connection, kind.bucket, CURRENT))[-1:]
    adoptions: dict[str, Adoption] = {}
    try:
        async with asyncio.timeout(ADOPT_WITHIN_S), aclosing(_told(connection, document)) as told:
            while expected - adoptions.keys():
                for worker, time_ms in await anext(told):
                    adoptions[worker] = Adoption(worker, max(0, time_ms - stored.time_ms))
    except TimeoutError:
        expected &= await watching_workers(connection, kind)  # the others ended meanwhile
    quickest_first = sorted(adoptions.values(), key=lambda each: each.after_ms)
    return Outcome(document, quickest_first, sorted(expected - adoptions.keys()))


async def _told(
    connection: GatewayConnection, document: Document
) -> AsyncGenerator[list[tuple[str, int]]]:
    """The workers that have put the document in force, and when by the server's clock (ms)."""
    subject = adoption_filter(document.kind, document.version)
    newest = (await generations(connection))[-1].name
    async with Watch(
        connection, newest, subject, name="push", troubled=lambda _error: None
    ) as watch:
        while True:
            yield list(_workers(await watch.next()))


def _workers(batch: Batch) -> list[tuple[str, int]]:
    return [
        (Record.read(entry.value).worker, entry.time_ms)
        for entry in batch
        if entry.value is not None
    ]
