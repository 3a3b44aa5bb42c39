"""`make fuzz`: mutated inputs by the million, then hypothesis, then atheris where it is installed.

`python -m tests.fuzz.run --help` lists the options. The first stage is a plain loop, the same for
the same seed; every find is saved with its input, and `--replay FILE` tries one again. Exits
non-zero when there was a find.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import queue
import secrets
import subprocess
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tests.fuzz.catalogue import NAMES, load
from tests.fuzz.loop import Find, Order, Report, work_through
from tests.fuzz.measure import Worst

COUNT: Final = 1_000_000
"""Messages to a worker that are tried, the other targets' inputs on top."""

JOBS: Final = 2
"""Processes."""

EXAMPLES: Final = 2_000
"""Examples that hypothesis tries for each of its properties."""

GUIDED: Final = ("message", "body", "token", "query", "policy")
"""What is fuzzed by coverage."""

GUIDED_SECONDS: Final = 30
"""How long each of them is, seconds."""

FINDS: Final = Path("build/fuzz")
"""Where finds and the costliest inputs go."""

LINE_EVERY_S: Final = 10.0
"""Between two lines where there is no terminal, seconds."""

_LOOK_EVERY_S: Final = 0.2

NO_ATHERIS: Final = (
    "atheris is not installed: no coverage-guided stage. It is the extra `fuzz`"
    " (pip install '.[fuzz]'), which has a wheel for Python 3.11 on Linux."
)


def main() -> int:
    """Run the stages that the options ask for."""
    options = _options()
    if options.replay:
        return _replay(options.replay)
    options.finds.mkdir(parents=True, exist_ok=True)
    print(f"seed {options.seed}; finds go to {options.finds}/", flush=True)
    failed = _mutations(options)
    if options.examples:
        failed |= _examples(options.examples)
    if options.guided_seconds:
        failed |= _guided(options)
    print("found something" if failed else "nothing found")
    return int(failed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, prog="make fuzz")
    parser.add_argument("--count", type=int, default=COUNT, help="mutated messages")
    parser.add_argument("--seconds", type=float, default=3_600.0, help="end the first stage then")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--jobs", type=int, default=JOBS, help="processes")
    parser.add_argument("--targets", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--finds", type=Path, default=FINDS, help="a directory")
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="of hypothesis; 0: none")
    parser.add_argument("--guided-seconds", type=int, default=GUIDED_SECONDS, help="0: none")
    parser.add_argument("--replay", type=Path, help="try the input in this file again")
    return parser.parse_args()


def _replay(file: Path) -> int:
    name = file.name.partition("-")[0]
    target = load(name)
    worst = Worst(target.limit_ms)
    worst.run(target.run, file.read_bytes())
    print(f"{file.name}: nothing happened, {worst.ms:.2f} ms")
    return 0


# The loop


def _mutations(options: argparse.Namespace) -> bool:
    """The first stage; whether there was a find."""
    context = multiprocessing.get_context("spawn")
    reports: Any = context.Queue()
    share = -(-options.count // options.jobs)
    orders = [
        Order(options.seed + job, share, options.seconds, tuple(options.targets), options.finds)
        for job in range(options.jobs)
    ]
    processes = [context.Process(target=work_through, args=(one, reports)) for one in orders]
    for process in processes:
        process.start()
    began = time.monotonic()
    latest: dict[int, Report] = {}
    finds: list[Find] = []
    with _bar(options.count) as (progress, task):
        while len([one for one in latest.values() if one.ended]) < options.jobs:
            _take(reports, processes, latest, finds)
            done = sum(one.envelopes for one in latest.values())
            _show(progress, task, done, time.monotonic() - began, len(finds))
    for process in processes:
        process.join()
    return _sum_up(latest, finds, time.monotonic() - began)


def _take(
    reports: Any,
    processes: list[Any],
    latest: dict[int, Report],
    finds: list[Find],
) -> None:
    """Wait a little for news; a process that ended without a word is a find of its own."""
    try:
        news = reports.get(timeout=_LOOK_EVERY_S)
    except queue.Empty:
        _refuse_dead(processes)
        return
    if isinstance(news, Find):
        finds.append(news)
        print(f"\nFIND in {news.target}: {news.summary}\n  {news.file}", flush=True)
    else:
        latest[news.seed] = news


def _refuse_dead(processes: list[BaseProcess]) -> None:
    for process in processes:
        if process.exitcode:
            raise SystemExit(f"a fuzzing process died with {process.exitcode}")


class _bar:  # noqa: N801 - used as a function
    """A bar on a terminal; nothing elsewhere."""

    def __init__(self, total: int) -> None:
        self._progress = Progress(
            TextColumn("fuzzing"),
            BarColumn(),
            TextColumn("{task.completed:>9,} of {task.total:,}  {task.fields[rate]:,}/s"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(),
            disable=not sys.stdout.isatty(),
        )
        self._total = total

    def __enter__(self) -> tuple[Progress, Any]:
        self._progress.start()
        return self._progress, self._progress.add_task("", total=self._total, rate=0)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


_last_line = [0.0]


def _show(progress: Progress, task: Any, done: int, seconds: float, finds: int) -> None:
    rate = int(done / seconds) if seconds else 0
    progress.update(task, completed=done, rate=rate)
    if progress.disable and seconds - _last_line[0] > LINE_EVERY_S:
        _last_line[0] = seconds
        print(f"{seconds:6.0f} s  {done:>9,} messages  {rate:,}/s  {finds} finds", flush=True)


def _sum_up(latest: dict[int, Report], finds: list[Find], seconds: float) -> bool:
    done = sum(one.envelopes for one in latest.values())
    print(f"{done:,} messages in {seconds:.0f} s, {done / max(seconds, 1e-9):,.0f} a second")
    print(f"{'target':<12}{'inputs':>12}{'worst, ms':>12}  costliest input")
    for name in NAMES:
        costs = [one.costs[name] for one in latest.values() if name in one.costs]
        if costs:
            worst = max(costs, key=lambda cost: cost.worst_ms)
            tried = sum(cost.tried for cost in costs)
            print(f"{name:<12}{tried:>12,}{worst.worst_ms:>12.2f}  {worst.file}")
    return bool(finds)


# The other stages


def _examples(count: int) -> bool:
    from tests.fuzz.properties import PROPERTIES, check

    failed = False
    for name, prove in PROPERTIES.items():
        began = time.monotonic()
        try:
            check(prove, count)
        except Exception as error:  # noqa: BLE001 - the other properties are to be tried too
            failed = True
            print(f"hypothesis, {name}: {type(error).__name__}: {error}")
            print("\n".join(getattr(error, "__notes__", [])))
        else:
            print(f"hypothesis, {name}: {count:,} examples in {time.monotonic() - began:.0f} s")
    return failed


def _guided(options: argparse.Namespace) -> bool:
    if importlib.util.find_spec("atheris") is None:
        print(NO_ATHERIS)
        return False
    failed = False
    for name in [one for one in GUIDED if one in options.targets]:
        command = [sys.executable, "-m", "tests.fuzz.guided", name,
                   str(options.guided_seconds), str(options.finds)]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = [line for line in done.stderr.splitlines() if line.startswith("Done ")]
        print(f"atheris, {name}: {lines[-1] if lines else 'ended early'}", flush=True)
        if done.returncode:
            failed = True
            print("\n".join([*done.stdout.splitlines()[-30:], *done.stderr.splitlines()[-15:]]))
    return failed


if __name__ == "__main__":
    sys.exit(main())
