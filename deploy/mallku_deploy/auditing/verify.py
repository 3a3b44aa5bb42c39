"""Verifies a trail: brings both streams to the pure verifier, and remembers what was seen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from mallku_client.trail import AUDIT, CHECKPOINTS, Selection, StreamState, TrailSource
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.trail.resume import Resume
from mallku_contracts.trail.statement import Head
from mallku_contracts.trail.stored import TrailEntry
from mallku_contracts.trail.verification import Extent, Report, Verifier
from mallku_contracts.trust import Keys, Trust
from mallku_deploy.auditing.entries import POOL_FROM, cores, read_entries
from mallku_deploy.auditing.known import expect_receipts, expect_state, expect_witness
from mallku_deploy.auditing.progress import reading
from mallku_deploy.auditing.state import State, load_state, save_state

MAX_JOBS: Final = 256
"""Processes that read records at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is verified, and against what.

    Attributes:
        trust: Whose tokens workers may have.
        signatures: Check callers' signatures.
        jobs: Processes that read records; None for as many as there are cores, if it pays.
        state: Remembers what was seen; None for nowhere.
        from_start: Read everything again, whatever was read before.
        receipts: Files with receipts that the trail has to agree with.
        witnesses: Files in which witnesses keep checkpoints.
        administrators: Whose documents may govern; None where the auditor does not know.
        quiet: Show no progress.
    """

    trust: Trust
    signatures: bool = True
    jobs: int | None = None
    state: Path | None = None
    from_start: bool = False
    receipts: tuple[Path, ...] = ()
    witnesses: tuple[Path, ...] = ()
    administrators: Keys | None = None
    quiet: bool = False


async def verify_trail(
    trail: TrailSource, order: Order, now_ms: Callable[[], int] | None = None
) -> Report:
    """Verify what stands in the trail now.

    Raises:
        GatewayUnreachable: no answer.
        ConfigurationError: a file cannot be used, or who we are may not read the trail.
    """
    former = None if order.state is None else load_state(order.state)
    # Checkpoints first: everything that they cover stands in the other stream by then.
    checkpoints = await trail.stream_info(CHECKPOINTS)
    audit = await trail.stream_info(AUDIT)
    extent = Extent(AUDIT, created_ms(audit), audit.first if audit.messages else 0, audit.last)
    resume = _resume(former, extent, order)
    seams = await trail.seams()
    verifier = Verifier(extent, order.trust, resume, seams, order.administrators)
    _expect(verifier, former, order)
    read = resume or Resume()
    ahead = _Ahead(_batches(trail, checkpoints, read.checkpoints + 1))
    async with aclosing(ahead):
        await _feed(verifier, _batches(trail, audit, max(read.sequence, 1)), ahead, read, order)
    report = verifier.finish(now_ms() if now_ms else time.time_ns() // 1_000_000)
    _remember(order, former, State(AUDIT, extent.created, extent.last, _heads(report)), verifier)
    return report


def created_ms(state: StreamState) -> int:
    """When a stream was created, Unix milliseconds; the server says it in RFC 3339."""
    return int(datetime.fromisoformat(state.created).timestamp() * 1_000)


def _resume(former: State | None, extent: Extent, order: Order) -> Resume | None:
    """Where to go on; nowhere when it is not the stream that was read before."""
    if former is None or former.resume is None or order.from_start:
        return None
    if former.stream != extent.name:
        raise ConfigurationError(
            f"state file {order.state}: it is about the stream {former.stream}, not {extent.name}"
        )
    same = former.created == extent.created and former.resume.sequence <= extent.last
    return former.resume if same else None


def _expect(verifier: Verifier, former: State | None, order: Order) -> None:
    if former is not None and order.state is not None:
        expect_state(verifier, former, order.state)
    expect_receipts(verifier, order.receipts, order.trust, AUDIT)
    for witness in order.witnesses:
        expect_witness(verifier, witness, order.trust, AUDIT)


async def _feed(
    verifier: Verifier,
    batches: AsyncGenerator[list[TrailEntry]],
    ahead: _Ahead,
    read: Resume,
    order: Order,
) -> None:
    """Records to the verifier, with checkpoints a little ahead of them."""
    total = max(verifier.last - read.sequence, 0)
    pays = order.signatures and total >= POOL_FROM
    jobs = order.jobs or (cores() if pays else 1)
    begun = _behind_anchor(batches, verifier, read.sequence)
    chunks = read_entries(begun, jobs=jobs, signatures=order.signatures)
    with reading(total, quiet=order.quiet) as advance:
        async with aclosing(batches), aclosing(begun), aclosing(chunks):
            async for entries in chunks:
                while verifier.wants_checkpoint and (stored := await ahead.next()):
                    verifier.checkpoint(stored.sequence, stored.subject, stored.data)
                for entry in entries:
                    verifier.record(entry)
                advance(len(entries))
                await asyncio.sleep(0)  # let the connection live
    while stored := await ahead.next():
        verifier.checkpoint(stored.sequence, stored.subject, stored.data)


async def _behind_anchor(
    batches: AsyncGenerator[list[TrailEntry]], verifier: Verifier, sequence: int
) -> AsyncGenerator[list[TrailEntry]]:
    """What follows the last record that was read before, which is looked at once more."""
    anchored = not sequence
    async for batch in batches:
        if anchored:
            yield batch
            continue
        anchored, first = True, batch[0]
        here = first.sequence == sequence
        verifier.anchor(first.data if here else None)
        yield batch[1:] if here else batch
    if not anchored:
        verifier.anchor(None)


class _Ahead:
    """Takes messages one by one out of batches."""

    def __init__(self, batches: AsyncGenerator[list[TrailEntry]]) -> None:
        self._batches = batches
        self._waiting: AsyncIterator[TrailEntry] = _single(batches)

    async def next(self) -> TrailEntry | None:
        """The next message; None at the end."""
        return await anext(self._waiting, None)

    async def aclose(self) -> None:
        """Read no more."""
        await self._batches.aclose()


async def _single(batches: AsyncGenerator[list[TrailEntry]]) -> AsyncIterator[TrailEntry]:
    async for batch in batches:
        for stored in batch:
            yield stored


async def _batches(
    trail: TrailSource, state: StreamState, first: int
) -> AsyncGenerator[list[TrailEntry]]:
    """The messages of a stream from `first` to what was its last when it was asked."""
    if not state.messages or first > state.last:
        return
    selection = Selection(first=first, last=state.last)
    async with aclosing(trail.batches(selection, stream=state.name)) as batches:
        async for batch in batches:
            yield batch


def _heads(report: Report) -> dict[str, Head]:
    return {
        worker: Head(point.checkpoint, point.hash)
        for worker, point in report.workers.items()
        if point.checkpoint
    }


def _remember(order: Order, former: State | None, seen: State, verifier: Verifier) -> None:
    if order.state is None:
        return
    now = State(seen.stream, seen.created, seen.sequence, seen.heads, verifier.resume())
    after = now.after(former, clean=not verifier.findings.accused)
    if after is not None:
        save_state(order.state, after)
