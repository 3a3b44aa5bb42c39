"""What the trail costs: its writer alone, and commands with it and without it.

    python -m tests.benchmarks.trail [--rounds 5] [--seconds 1.5] [--skip-writer] [--skip-commands]

The writer numbers, packs, hashes and publishes intents of about 700 bytes, 256 at a time, to a real
server that flushes and to one that syncs each write; there once in groups and once one by one. The
commands are inserts over the whole line; the worker without a trail differs by two calls that do
nothing (`unaudited`). All of it takes turns in one run. Exits non-zero when a goal is not reached.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple

from mallku_broker.acknowledgements import AcknowledgementMultiplexer
from mallku_broker.group_commit import GroupCommit
from mallku_broker.streams import AUDIT, StreamSettings, bring_about, definitions
from mallku_contracts.tokens import COMMAND_AUDIENCE, Identity
from mallku_deploy import life
from mallku_deploy.bench import Call, Load, Run, Spread, drive
from mallku_deploy.bench.policy import lift_limits
from mallku_deploy.furnish import furnish
from mallku_deploy.gateway import LocalGateway
from mallku_deploy.house import House
from mallku_deploy.options import DurabilityKind
from mallku_workers.audit import Acknowledgements, AuditLimits, AuditWriter, Numbers
from mallku_workers.collecting import spare_the_collector
from mallku_workers.message import Case, Message, unix_ms
from tests.benchmarks.children import run_on
from tests.benchmarks.contest import Results, compete
from tests.benchmarks.contestants import Contestant
from tests.benchmarks.report import Block, disturbance, machine, show
from tests.benchmarks.stage import LOOPS, HouseOnStage
from tests.support.nats import ADMINISTRATOR, WORKER_RECORDS, nats_house
from tests.support.simulated_caller import SimulatedCaller

WRITER_IN_FLIGHT: Final = 256
WRITER_LIMITS: Final = AuditLimits(
    wait_s=10.0, retry_s=0.2, max_pending=10_000, refusals_per_minute=60
)
SIZE: Final = 512
"""A document's JSON, bytes."""

IDLE: Final = Load(in_flight=1, count=500, seconds=1.5)
LEVELS: Final[tuple[DurabilityKind, ...]] = ("flush", "fsync")
WRITER_GOALS: Final = {"flush": 20_000.0, "fsync": 8_000.0}
"""Records a second."""

RATIO_GOALS: Final = {"flush": 0.75, "fsync": 0.4}
IDLE_GOAL_MS: Final = {"flush": 1.5, "fsync": None}
"""What both records may add to a command that is alone, milliseconds."""


class Result(NamedTuple):
    """One figure, and what was wanted of it; `None` where nothing is promised."""

    name: str
    unit: str
    spread: Spread
    wanted: float | None
    less_is_better: bool = False

    @property
    def reached(self) -> bool:
        """Whether the median is as wanted."""
        if self.wanted is None:
            return True
        median = self.spread.median
        return median <= self.wanted if self.less_is_better else median >= self.wanted

    def row(self) -> tuple[str, ...]:
        """The line of the table."""
        sign = "≤" if self.less_is_better else "≥"
        known = self.wanted is not None
        return (
            self.name,
            f"{self.spread.median:,.4g} {self.unit}".strip(),
            f"{self.spread.low:,.4g} to {self.spread.high:,.4g}",
            f"{sign} {self.wanted:,g}" if known else "",
            ("yes" if self.reached else "no") if known else "",
        )


@asynccontextmanager
async def writers(folder: Path) -> AsyncGenerator[dict[str, Call]]:
    """A writer for each way of publishing; each call writes one intent."""
    async with AsyncExitStack() as stack:
        calls: dict[str, Call] = {}
        for level in LEVELS:
            opened = nats_house(folder / level, streams=False, sync_every_write=level == "fsync")
            house = await stack.enter_async_context(opened)
            async with house.connection(ADMINISTRATOR) as administrator:
                await bring_about(administrator, definitions(StreamSettings()))
            connection = await stack.enter_async_context(house.connection(WORKER_RECORDS))
            singly = await stack.enter_async_context(
                AcknowledgementMultiplexer(connection, expected_stream=AUDIT)
            )
            calls[f"writer at {level}, one by one"] = _intents(singly)
            if level == "fsync":
                groups = await stack.enter_async_context(GroupCommit(singly))
                calls[f"writer at {level}, in groups"] = _intents(groups)
        yield calls


def _intents(acknowledgements: Acknowledgements) -> Call:
    """Intents of inserts; each has the bytes of a sealed command, and an id of its own."""
    name = secrets.token_hex(8)
    writer = AuditWriter(acknowledgements, name, WRITER_LIMITS, unix_ms, Numbers(sys.maxsize))
    caller = SimulatedCaller.of("mallku", "service")
    sent = caller.seal("insert", {"document": {"kind": "khipu", "text": "x" * 200}})
    roles = frozenset({"service"})
    identity = Identity("local", COMMAND_AUDIENCE, "mallku", roles, 0, 1, "t", caller.key.public)
    message = Message(str(sent.subject), "", sent.data, unix_ms(), 0.0)
    numbers = count()

    async def call(_number: int) -> None:
        case = Case(message, subject=sent.subject, envelope=sent.envelope, identity=identity)
        case.header = replace(sent.header, id=f"{name}-{next(numbers)}")
        await writer.intent(case)

    return call


async def measure_writers(load: Load, rounds: int) -> list[Result]:
    """All of them in turns."""
    rates: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="mallku-") as folder:
        async with writers(Path(folder)) as calls:
            for call in calls.values():
                await drive(call, replace(load, seconds=0.3))
            for _ in range(rounds):
                for name, call in calls.items():
                    rates.setdefault(name, []).append((await drive(call, load)).throughput)
    wanted = {
        "writer at flush, one by one": WRITER_GOALS["flush"],
        "writer at fsync, in groups": WRITER_GOALS["fsync"],
    }
    return [
        Result(name, "records/s", Spread.of(found), wanted.get(name))
        for name, found in rates.items()
    ]


@asynccontextmanager
async def gateway(
    root: Path, level: DurabilityKind, *, audited: bool
) -> AsyncGenerator[HouseOnStage]:
    """A gateway with one worker, with a trail or without."""
    house = lift_limits(House(root))
    running = LocalGateway(furnish(house, 1), port=0, announce=_say, durability=level)
    with _workers(audited=audited):
        await running.__aenter__()
    try:
        yield HouseOnStage(running, house, signs_reads=True)
    finally:
        await running.__aexit__(None, None, None)


@contextmanager
def _workers(*, audited: bool) -> Generator[None]:
    """Which program a worker is, for those that are started meanwhile."""
    usual = life._command
    if not audited:
        life._command = lambda: [sys.executable, "-m", "tests.benchmarks.unaudited"]
    try:
        yield
    finally:
        life._command = usual


def _say(event: object) -> None:
    print(event, file=sys.stderr)


async def measure_commands(load: Load, rounds: int) -> tuple[list[Result], Results]:
    """At each level, with the trail and without it in turns: under load, and alone."""
    found: list[Result] = []
    groups: list[dict[str, list[Run]]] = []
    for level in LEVELS:
        with tempfile.TemporaryDirectory(prefix="mallku-") as folder:
            async with (
                gateway(Path(folder) / "on", level, audited=True) as on,
                gateway(Path(folder) / "off", level, audited=False) as off,
            ):
                pair = [_contestant(level, "on", on), _contestant(level, "off", off)]
                busy = await compete(pair, load, rounds)
                idle = await compete(pair, IDLE, rounds)
        groups += [busy, idle]
        found += _compare(level, pair, busy, idle)
    return found, Results(groups)


def _contestant(level: str, trail: str, house: HouseOnStage) -> Contestant:
    setting: dict[str, Any] = {
        "kind": "gateway",
        "loop": "asyncio",
        "operation": "insert",
        "environment": house.environment,
        "size": SIZE,
        "documents": 1,
    }
    return Contestant(f"insert at {level}, trail {trail}", setting, house.processes)


def _compare(
    level: str,
    pair: Sequence[Contestant],
    busy: dict[str, list[Run]],
    idle: dict[str, list[Run]],
) -> list[Result]:
    on, off = (one.name for one in pair)
    rates = [
        Result(name, "calls/s", Spread.of(run.throughput for run in busy[name]), None)
        for name in (on, off)
    ]
    ratio = Spread.of(
        ours.throughput / theirs.throughput
        for ours, theirs in zip(busy[on], busy[off], strict=True)
    )
    added = Spread.of(
        ours.p50_ms - theirs.p50_ms for ours, theirs in zip(idle[on], idle[off], strict=True)
    )
    return [
        *rates,
        Result(f"insert at {level}, on / off", "", ratio, RATIO_GOALS[level]),
        Result(f"insert at {level}, alone: added", "ms", added, IDLE_GOAL_MS[level], True),
    ]


async def run(options: argparse.Namespace) -> None:
    """Measure, draw the table, and end with what the goals say."""
    results: list[Result] = []
    load = Load(options.in_flight, 20_000, options.seconds)
    if not options.skip_writer:
        writing = replace(load, in_flight=WRITER_IN_FLIGHT, count=1_000_000)
        results += await measure_writers(writing, options.rounds)
    if not options.skip_commands:
        compared, runs = await measure_commands(load, options.rounds)
        results += compared
        print(machine(load, options.rounds, SIZE), disturbance(runs), sep="\n")
    columns = ("", "median", "least to most", "wanted", "reached")
    show([Block("The trail", columns, [result.row() for result in results])])
    sys.exit(not all(result.reached for result in results))


def main() -> None:
    """Read the options and run, on the loop that workers have."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="the longest run")
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--skip-writer", action="store_true")
    parser.add_argument("--skip-commands", action="store_true")
    spare_the_collector()
    run_on(LOOPS[-1], run(parser.parse_args()))


if __name__ == "__main__":
    main()
