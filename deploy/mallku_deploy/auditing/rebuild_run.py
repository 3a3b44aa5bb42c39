"""One rebuild from beginning to end: read the trail, put it into the target, compare."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from mallku_client.trail import Selection, StreamState, TrailEntry
from mallku_contracts.errors import NotSupported
from mallku_contracts.limits import MIB
from mallku_deploy.auditing.exported import ExportedTrail
from mallku_deploy.auditing.rebuild_order import Order
from mallku_workers.rebuilding import Applying, Gathering, Rebuilt, Wanted, WorkFile
from mallku_workers.rebuilding.gathering import GATHERED
from mallku_workers.rebuilding.steps import MUTATING
from mallku_workers.stores.copying import (
    Compared,
    Credentials,
    Side,
    compare,
    open_source,
    open_target,
)

SAVE_EVERY: Final = 5_000
"""Records of the trail between two times that progress is written down."""

SAVE_BYTES: Final = 64 * MIB
"""The same, bytes of records."""


class Trail(Protocol):
    """Where records are read: the streams themselves, or an export of them."""

    async def stream_info(self, stream: str = ...) -> StreamState:
        """What is known of the stream."""
        ...

    def batches(self, selection: Selection = ...) -> AsyncGenerator[list[TrailEntry]]:
        """The messages that are selected, in the order of the stream."""
        ...


class Watch(Protocol):
    """Is told what happens; observes only."""

    def begin(self, phase: str, collection: str, total: int) -> None:
        """Reading, applying, or comparing a collection begins, of about so many."""
        ...

    def advance(self, documents: int) -> None:
        """So many more are done."""
        ...

    def note(self, text: str) -> None:
        """Something that should be known."""
        ...


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a rebuild.

    Attributes:
        compared: None where there was nothing to compare with.
        path: The work file; it is there as long as not all is `good`.
    """

    rebuilt: Rebuilt
    compared: Compared | None
    path: Path

    @property
    def good(self) -> bool:
        """Whether all that the trail tells of is there, and the same as it should be."""
        return self.rebuilt.whole and (self.compared is None or self.compared.same)


async def make_again(trail: Trail, order: Order, watch: Watch) -> Report:
    """Rebuild, and compare where that is asked for.

    Raises:
        NotSupported: the trail holds hashes in the place of what is wanted; nothing was made.
        CollectionExists: the target is not empty.
        MallkuError: nothing was lost: the same order with `resume` goes on where this one stopped.
    """
    other = order.other
    info = await trail.stream_info()
    async with AsyncExitStack() as stack:
        file = stack.enter_context(order.work_file(info))
        if not file.fact(GATHERED):
            await _gather(trail, info, file, order, watch)
        credentials = Credentials(*order.into_credentials)
        target = await stack.enter_async_context(open_target(order.target, credentials))
        rebuilt = await _apply(file, target, order.wanted, watch)
        compared = None
        if other is not None:
            watch.note(f"comparing with {other}: what is written there meanwhile differs")
            with_ = Credentials(*order.compare_credentials)
            source = await stack.enter_async_context(open_source(other, with_))
            compared = await compare(source, target, watch, only=order.collections)
        report = Report(rebuilt, compared, file.path)
        if report.good:
            file.remove()
    return report


async def _gather(
    trail: Trail, info: StreamState, file: WorkFile, order: Order, watch: Watch
) -> None:
    """Read the trail into the work file."""
    gathering, until = Gathering(file, order.wanted), order.until
    end = info.last if until.sequence is None else min(info.last, until.sequence)
    watch.begin("read", "the trail", end)
    watch.advance(gathering.sequence)
    saved = seen = gathering.sequence
    held = 0
    selection = _selection(trail, order.wanted, gathering.sequence)
    async with aclosing(trail.batches(selection)) as batches:
        async for batch in batches:
            counting = [entry for entry in batch if until.covers(entry)]
            for entry in counting:
                gathering.take(entry)
                held += len(entry.data)
            watch.advance(gathering.sequence - seen)
            seen = gathering.sequence
            if seen - saved >= SAVE_EVERY or held > SAVE_BYTES:
                gathering.save()
                saved, held = seen, 0
            if len(counting) < len(batch):
                break
    watch.advance(max(0, end - seen))
    try:
        gathering.finish()
    except NotSupported:
        file.remove()
        raise


def _selection(trail: Trail, wanted: Wanted, read: int) -> Selection:
    if isinstance(trail, ExportedTrail):  # which selects by sequence alone
        return Selection(first=read + 1)
    return Selection(
        databases=(wanted.database,), operations=tuple(sorted(MUTATING)), first=read + 1
    )


async def _apply(file: WorkFile, target: Side, wanted: Wanted, watch: Watch) -> Rebuilt:
    """Put what was read into the target."""
    watch.begin("apply", "commits", file.steps())
    watch.advance(file.done())
    return await Applying(file, target, wanted, watch.advance).run()
