"""The measuring itself, against loads whose figures are known beforehand."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mallku_deploy.bench import CpuMeter, Load, Run, Spread, drive, summarize
from tests.benchmarks.contest import Results, quiet_rounds
from tests.benchmarks.contestants import Goal
from tests.benchmarks.run import BEGIN, END
from tests.support.marked import write_between


def test_percentiles_are_measured_latencies() -> None:
    """Of 100 latencies the 50th, 95th and 99th are the percentiles: nothing is interpolated."""
    run = summarize((number / 1_000 for number in range(100, 0, -1)), seconds=2.0)
    assert (run.done, run.throughput) == (100, 50.0)
    assert (run.p50_ms, run.p95_ms, run.p99_ms) == (50.0, 95.0, 99.0)


async def test_a_load_keeps_its_calls_under_way_and_ends_at_its_count() -> None:
    """Never more calls at once than asked for, all of them used, and each number once."""
    under_way, most, numbers = 0, 0, set[int]()

    async def call(number: int) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        numbers.add(number)
        await asyncio.sleep(0)
        under_way -= 1

    run = await drive(call, Load(in_flight=7, count=100, seconds=60))
    assert (run.done, most, numbers) == (100, 7, set(range(100)))


async def test_a_call_that_fails_ends_the_run_with_its_own_error() -> None:
    """What fails is not measured: the call's error comes out as it is, in no group."""

    async def call(number: int) -> None:
        await asyncio.sleep(0)
        if number == 5:
            raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        await drive(call, Load(in_flight=3, count=100, seconds=60))


def test_a_process_that_is_gone_is_not_charged_as_zero() -> None:
    """A part whose CPU cannot be read is left out instead of looking cheap."""
    assert CpuMeter({"nobody": [2**22 + 1]}).used() == {}


def test_a_ratio_is_taken_between_runs_of_the_same_round() -> None:
    """Rounds of different speed give the same ratio when both sides share them."""
    ours = [Run(100, 1.0, 1, 1, 1), Run(200, 1.0, 1, 1, 1), Run(50, 1.0, 1, 1, 1)]
    theirs = [Run(400, 1.0, 1, 1, 1), Run(800, 1.0, 1, 1, 1), Run(200, 1.0, 1, 1, 1)]
    goal = Goal("ours", "theirs", "throughput", wanted=0.25)
    ratio = Results([{"ours": ours, "theirs": theirs}]).ratio(goal)
    assert ratio is not None
    assert ratio == Spread(0.25, 0.25, 0.25)
    assert goal.reached(ratio)
    assert not Goal("ours", "theirs", "throughput", wanted=0.3).reached(ratio)
    assert Goal("ours", "theirs", "p99_ms", wanted=0.5).reached(ratio)


def test_only_what_stands_between_the_markers_is_rewritten(tmp_path: Path) -> None:
    """Text around the tables survives, and a document without markers is left alone."""
    document = tmp_path / "benchmarks.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    write_between(document, BEGIN, END, "\nnew\n\n")
    assert document.read_text(encoding="utf-8") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    document.write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match="has no"):
        write_between(document, BEGIN, END, "\nnew\n\n")
    assert document.read_text(encoding="utf-8") == "nothing"


@pytest.mark.parametrize(
    ("others", "played", "kept"),
    [
        ([0.0, 0.0, 0.9, 0.9], 2, [0.0, 0.0]),
        ([0.9, 0.0, 0.05, 0.9], 3, [0.0, 0.05]),
        ([0.9, 0.5, 0.7, 0.3, 0.0], 4, [0.3, 0.5]),
    ],
)
async def test_a_disturbed_round_is_played_again(
    others: list[float], played: int, kept: list[float]
) -> None:
    """Until there are quiet ones enough, or twice as many in all; the quietest are kept."""
    numbers: list[int] = []

    async def play(number: int) -> float:
        numbers.append(number)
        return others[number - 1]

    assert await quiet_rounds(2, play, lambda share: share) == kept
    assert numbers == list(range(1, played + 1))
