"""Brings the proof that the record of a receipt stands in the trail."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from mallku_client.trail import AUDIT, CHECKPOINTS, AuditReader, Selection
from mallku_contracts.audit import Record, RecordError, record_hash
from mallku_contracts.limits import MAX_CLOCK_SKEW_MS
from mallku_contracts.trail.checkpoint import Checkpoint, CheckpointOpener
from mallku_contracts.trail.proof import (
    Inclusion,
    ProofError,
    Receipt,
    ReceiptBundle,
    check_bundle,
    covering,
    include,
    read_receipt,
)
from mallku_contracts.trail.resume import Leaf
from mallku_contracts.trail.statement import CheckpointError, Statement
from mallku_contracts.trail.stored import TrailEntry
from mallku_contracts.trust import Trust

LOOK_EVERY_S: Final = 0.25
"""Between two looks for a checkpoint that is not there yet, seconds."""

FIRST_STEP: Final = 2_000
"""How far before its record the others under the same root are looked for, records; then more."""

MAX_BACK: Final = 500_000
"""Records before its own that are read to find the others under the same root."""


async def prove(
    trail: AuditReader,
    bundle: ReceiptBundle,
    trust: Trust,
    *,
    wait_s: float,
    with_record: bool = False,
) -> ReceiptBundle:
    """The bundle with the proof that its record stands in the trail; checked before it is given.

    Args:
        wait_s: How long the checkpoint that covers the record is waited for, seconds.
        with_record: Put the record itself into the bundle too.

    Raises:
        ProofError: the receipt does not hold, or the trail does not hold what it says.
        ConfigurationError, GatewayUnreachable: the trail cannot be read.
    """
    receipt = read_receipt(bundle.reply, trust)
    stored = await _stored(trail, receipt)
    record = _record(stored)
    checkpoint = await _find_checkpoint(trail, trust, record, stored.time, wait_s)
    inclusion = await _include(trail, checkpoint, record, stored.sequence)
    data = stored.data if with_record else bundle.data
    proven = replace(bundle, inclusion=inclusion, data=data)
    check_bundle(proven, trust)
    return proven


async def _stored(trail: AuditReader, receipt: Receipt) -> TrailEntry:
    """The message that the receipt names."""
    if receipt.stream != AUDIT:
        raise ProofError(f"reply: it is about the stream {receipt.stream}, not {AUDIT}")
    wanted = receipt.sequence
    state = await trail.stream_info()
    if wanted > state.last:
        raise ProofError(f"the stream ends at {state.last}, before record {wanted}: it was cut")
    found = await _read(trail, wanted, wanted)
    if not found or record_hash(found[0].data) != receipt.hash:
        raise ProofError(f"record {wanted} is not the receipt's: it was changed or removed")
    return found[0]


def _record(stored: TrailEntry) -> Record:
    try:
        return Record.read(stored.data)
    except RecordError as error:
        raise ProofError(f"record {stored.sequence}: {error}") from None


async def _find_checkpoint(
    trail: AuditReader, trust: Trust, record: Record, since_ms: int, wait_s: float
) -> Checkpoint:
    """The checkpoint that covers a record, waited for where it has to be made first."""
    opener, loop = CheckpointOpener(trust), asyncio.get_running_loop()
    ends_s = loop.time() + wait_s
    selection = Selection(since_ms=max(since_ms - MAX_CLOCK_SKEW_MS, 0))
    while True:
        async with aclosing(trail.entries(selection, stream=CHECKPOINTS)) as entries:
            async for entry in entries:
                selection = Selection(first=entry.sequence + 1)
                checkpoint = _opened(opener, entry)
                if checkpoint and covering(checkpoint, record.worker, record.number):
                    return checkpoint
        if loop.time() >= ends_s:
            raise ProofError(
                f"no checkpoint covers record {record.number} of {record.worker} within {wait_s:g}"
                " s; if that worker died, `audit reconcile` has another one vouch for its records"
            )
        await asyncio.sleep(LOOK_EVERY_S)


def _opened(opener: CheckpointOpener, entry: TrailEntry) -> Checkpoint | None:
    """A checkpoint that is believed; what else stands there is for `audit verify` to judge."""
    try:
        return opener.believe(entry.data)
    except CheckpointError:
        return None


async def _include(
    trail: AuditReader, checkpoint: Checkpoint, record: Record, sequence: int
) -> Inclusion:
    """The path to the checkpoint's root, from all records under it."""
    tree = covering(checkpoint, record.worker, record.number)
    if tree is None:
        raise ProofError("the checkpoint does not cover the record")
    void = tree.void if isinstance(tree, Statement) else ()
    leaves: dict[int, Leaf] = {}
    last, step = tree.sequence, FIRST_STEP
    begin = max(sequence - step, 1)
    while True:
        for entry in await _read(trail, begin, last):
            found = _record(entry)
            number = found.number
            inside = tree.first <= number <= tree.last and number not in void
            if found.worker == record.worker and inside:
                leaves[number] = Leaf(entry.sequence, record_hash(entry.data))
        if len(leaves) >= tree.size or begin == 1 or sequence - begin > MAX_BACK:
            break
        last, step = begin - 1, 2 * step
        begin = max(begin - step, 1)
    return include(checkpoint, sorted(leaves.items()), record.worker, record.number)


async def _read(trail: AuditReader, first: int, last: int) -> list[TrailEntry]:
    async with aclosing(trail.entries(Selection(first=first, last=last))) as entries:
        return [entry async for entry in entries]
