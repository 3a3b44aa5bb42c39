"""The whole benchmark: `python -m tests.benchmarks.run [--json] [--write docs/benchmarks.md]`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from mallku_deploy.bench import Load
from tests.benchmarks.contest import Results, compete
from tests.benchmarks.contestants import Casting, goals
from tests.benchmarks.report import blocks, disturbance, machine, show
from tests.benchmarks.stage import Stage
from tests.benchmarks.startup import Startup, measure
from tests.support.marked import write_between

BEGIN: Final = "<!-- measured: begin -->"
END: Final = "<!-- measured: end -->"


def main() -> None:
    """Measure, draw the tables, and do with the figures what the options say."""
    options = _options()
    load = Load(options.in_flight, options.count, options.seconds)
    startup = None if options.skip_startup else measure(options.rounds)
    results = asyncio.run(_contest(options, load))
    found = blocks(results, startup)
    if options.json:
        print(json.dumps(_as_json(results, startup), indent=2))
    else:
        show(found)
        print(disturbance(results))
    if options.write:
        text = [machine(load, options.rounds, options.size), disturbance(results)]
        text += [block.markdown() for block in found]
        write_between(options.write, BEGIN, END, "\n" + "\n\n".join(text) + "\n\n")


async def _contest(options: argparse.Namespace, load: Load) -> Results:
    runs = []
    with tempfile.TemporaryDirectory(prefix="mallku-") as folder:
        async with Stage.set_up(Path(folder)) as stage:
            casting = Casting(stage, options.size, options.in_flight, options.documents)
            for group in casting.groups():
                if any(options.only in one.name for one in group):
                    print(", ".join(one.name for one in group), file=sys.stderr)
                    runs.append(await compete(group, load, options.rounds))
    return Results(runs)


def _as_json(results: Results, startup: Startup | None) -> dict[str, Any]:
    ratios = {
        f"{goal.figure}: {goal.ours} / {goal.theirs}": asdict(ratio)
        for goal in goals()
        if (ratio := results.ratio(goal)) is not None
    }
    return {
        "runs": [
            {name: [asdict(run) for run in runs] for name, runs in group.items()}
            for group in results.groups
        ],
        "ratios": ratios,
        "startup": None if startup is None else asdict(startup),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="the longest run")
    parser.add_argument("--count", type=int, default=20_000, help="the most calls of a run")
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--size", type=int, default=512, help="a document's JSON, bytes")
    parser.add_argument("--documents", type=int, default=500, help="documents to be read")
    parser.add_argument("--only", default="", help="groups with this in a contestant's name")
    parser.add_argument("--skip-startup", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", type=Path, help="rewrite the tables in this document")
    return parser.parse_args()


if __name__ == "__main__":
    main()
