"""`audit rebuild`: a database made again of the trail alone, and held against another one."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from mallku_broker.files import make_private_folder
from mallku_client.settings import ClientSettings
from mallku_client.trail import AUDIT, Selection, StreamState, TrailEntry
from mallku_contracts.errors import ConfigurationError, NotSupported
from mallku_contracts.limits import MIB
from mallku_deploy.auditing.auditor import open_trail
from mallku_deploy.auditing.exported import ExportedTrail
from mallku_deploy.auditing.rebuild_report import show_report
from mallku_deploy.copying import Bars
from mallku_deploy.extras import require_workers
from mallku_deploy.house import default_house
from mallku_deploy.stretch import read_since
from mallku_deploy.terminal import REFUSED, err, say_aside
from mallku_workers.rebuilding import Applying, Gathering, Identity, Rebuilt, Wanted, WorkFile
from mallku_workers.rebuilding.gathering import GATHERED
from mallku_workers.rebuilding.steps import MUTATING
from mallku_workers.stores.copying import (
    Compared,
    Credentials,
    Side,
    Spec,
    compare,
    open_source,
    open_target,
    read_spec,
)

SAVE_EVERY: Final = 5_000
"""Records of the trail between two times that progress is written down."""

SAVE_BYTES: Final = 64 * MIB
"""The same, bytes of records."""

_DIGITS: Final = 16
_MS_PER_S: Final = 1_000


class Trail(Protocol):
    """Where records are read: the streams themselves, or an export of them."""

    async def stream_info(self, stream: str = ...) -> StreamState:
        """What is known of the stream."""
        ...

    def batches(self, selection: Selection = ...) -> AsyncGenerator[list[TrailEntry]]:
        """The messages that are selected, in the order of the stream."""
        ...


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be rebuilt where; credentials are a user's name and password file, or None.

    Attributes:
        into: The target's specification.
        until: A sequence, or a time; None for the whole trail.
        compare_with: The specification of what it is held against; None for nothing.
        state: The work file; None for one of its own.
    """

    into: str
    database: str
    into_credentials: tuple[str | None, Path | None]
    until: str | None = None
    collections: tuple[str, ...] = ()
    resume: bool = False
    compare_with: str | None = None
    compare_credentials: tuple[str | None, Path | None] = (None, None)
    state: Path | None = None

    @property
    def target(self) -> Spec:
        """Where it is put, by default under the same name."""
        return read_spec(self.into if "#" in self.into else f"{self.into}#{self.database}")

    @property
    def wanted(self) -> Wanted:
        """What is made."""
        return Wanted(self.database, frozenset(self.collections))


async def rebuild(source: ClientSettings | Path, order: Order, *, compact: bool) -> int:
    """Read, put, compare; the exit code.

    Args:
        source: An auditor of the trail itself, or the folder of an export.

    Raises:
        MallkuError: nothing was lost: the same order with `resume` goes on where this one stopped.
    """
    require_workers()
    until = _Until.read(order.until)
    async with AsyncExitStack() as stack:
        trail, info = await _open(source, stack)
        file = stack.enter_context(_work_file(order, until, info))
        with Bars() as bars:
            if not file.fact(GATHERED):
                await _gather(_Stretch(trail, info, until), file, order.wanted, bars)
            credentials = Credentials(*order.into_credentials)
            target = await stack.enter_async_context(open_target(order.target, credentials))
            rebuilt = await _apply(file, target, order.wanted, bars)
            compared = await _compare(order, target, bars, stack)
        good = rebuilt.whole and (compared is None or compared.same)
        show_report(rebuilt, compared, compact=compact)
        if good:
            file.remove()
        else:
            err.print(f"[dim]what was understood of the trail stays in {file.path}[/]")
    return 0 if good else REFUSED


@dataclass(frozen=True, slots=True)
class _Until:
    """Where the trail ends for this rebuild."""

    sequence: int | None = None
    time_ms: int | None = None

    @classmethod
    def read(cls, text: str | None) -> _Until:
        """A sequence, a time, or how long ago."""
        if text is None:
            return cls()
        if text.isdecimal():
            return cls(sequence=int(text))
        moment = read_since(text, datetime.now(UTC))
        return cls(time_ms=int(moment.timestamp() * _MS_PER_S))

    def __str__(self) -> str:
        if self.sequence is not None:
            return f"sequence {self.sequence}"
        return "" if self.time_ms is None else f"time {self.time_ms}"

    def covers(self, entry: TrailEntry) -> bool:
        """Whether an entry counts."""
        return (self.sequence is None or entry.sequence <= self.sequence) and (
            self.time_ms is None or entry.time <= self.time_ms
        )


@dataclass(frozen=True, slots=True)
class _Stretch:
    """What is read of which trail."""

    trail: Trail
    info: StreamState
    until: _Until


async def _open(source: ClientSettings | Path, stack: AsyncExitStack) -> tuple[Trail, StreamState]:
    if isinstance(source, Path):
        exported = ExportedTrail(source)
        return exported, await exported.stream_info()
    reader = await stack.enter_async_context(await open_trail(source))
    return reader, await reader.stream_info()


def _work_file(order: Order, until: _Until, info: StreamState) -> WorkFile:
    """The file of this rebuild; an unfinished one is gone on with only where that is asked for."""
    target = str(order.target)
    identity = Identity(
        f"{AUDIT} of {info.created}",
        order.database,
        target,
        str(until),
        tuple(sorted(order.collections)),
    )
    file = WorkFile(order.state or _own_path(order.database, target), identity)
    if file.resumed and not order.resume:
        raise ConfigurationError(
            f"a rebuild into {target} was begun and not finished: --resume goes on with it"
            f" (or remove {file.path} and what is in the target)"
        )
    if order.resume and not file.resumed:
        raise ConfigurationError(f"there is nothing to go on with: no {file.path}")
    return file


def _own_path(database: str, target: str) -> Path:
    root = default_house().root
    make_private_folder(root)
    digest = hashlib.sha256(f"{database}\n{target}".encode()).hexdigest()
    return root / "rebuilds" / f"rebuild-{digest[:_DIGITS]}.sqlite"


async def _gather(stretch: _Stretch, file: WorkFile, wanted: Wanted, bars: Bars) -> None:
    """Read the trail into the work file."""
    trail, info, until = stretch.trail, stretch.info, stretch.until
    gathering = Gathering(file, wanted)
    end = info.last if until.sequence is None else min(info.last, until.sequence)
    bars.begin("read", "the trail", end)
    bars.advance(gathering.sequence)
    saved = seen = gathering.sequence
    held = 0
    async with aclosing(trail.batches(_selection(trail, wanted, gathering.sequence))) as batches:
        async for batch in batches:
            for entry in batch:
                if not until.covers(entry):
                    break
                gathering.take(entry)
            bars.advance(gathering.sequence - seen)
            seen = gathering.sequence
            held += sum(len(entry.data) for entry in batch)
            if seen - saved >= SAVE_EVERY or held > SAVE_BYTES:
                gathering.save()
                saved, held = seen, 0
            if not until.covers(batch[-1]):
                break
    bars.advance(max(0, end - seen))
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


async def _apply(file: WorkFile, target: Side, wanted: Wanted, bars: Bars) -> Rebuilt:
    """Put what was read into the target."""
    bars.begin("apply", "commits", file.steps())
    bars.advance(file.done())
    return await Applying(file, target, wanted, bars.advance).run()


async def _compare(
    order: Order, target: Side, bars: Bars, stack: AsyncExitStack
) -> Compared | None:
    """Hold the target against another database."""
    if order.compare_with is None:
        return None
    text = order.compare_with
    spec = read_spec(text if "#" in text else f"{text}#{order.database}")
    if spec == order.target:
        raise ConfigurationError("--compare-with is the database that is rebuilt")
    credentials = Credentials(*order.compare_credentials)
    other = await stack.enter_async_context(open_source(spec, credentials))
    say_aside(f"comparing with {spec}: what is written there meanwhile differs")
    return await compare(other, target, bars, only=order.collections)
