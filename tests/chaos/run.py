"""Chaos for as long as is asked for: rounds of faults under load, each followed by a check.

    python -m tests.chaos.run [--seconds 1800] [--round 60] [--seed N] [--only single]

Rounds take turns: one nats-server with the embedded store, three servers, the simulated ArangoDB.
Each round's faults follow from its seed, which is printed; `--only KIND --seed N --seconds S` has
one round again. Exits with 1 when something was found. What a round left is kept when it found
something, or with `--keep`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.chaos.report import report, write_into
from tests.chaos.round import Round, play
from tests.chaos.schedule import KINDS, Kind, plan

DEFAULT_S: Final = 1_800.0
ROUND_S: Final = 60.0
MAX_ROUNDS: Final = 10_000


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=DEFAULT_S, help="altogether")
    parser.add_argument("--round", type=float, default=ROUND_S, help="faults of one round, seconds")
    parser.add_argument("--seed", type=int, help="of the first round; random by default")
    parser.add_argument("--only", choices=KINDS, help="one round of this kind")
    parser.add_argument("--keep", action="store_true", help="keep what every round left")
    parser.add_argument("--write", type=Path, help="put the report into docs/reliability.md")
    parser.add_argument("--json", type=Path, help="write what was done and found here")
    return parser.parse_args()


async def _rounds(asked: argparse.Namespace, folder: Path) -> list[Round]:
    seed = random.SystemRandom().randrange(1_000_000) if asked.seed is None else asked.seed
    if asked.only:
        return [await _round(folder, asked.only, seed, asked.seconds, keep=asked.keep)]
    end, played = time.monotonic() + asked.seconds, list[Round]()
    while (left := end - time.monotonic()) > 0 and len(played) < MAX_ROUNDS:
        kind, seconds = KINDS[len(played) % len(KINDS)], min(asked.round, max(left, 10.0))
        played.append(await _round(folder, kind, seed + len(played), seconds, keep=asked.keep))
    return played


async def _round(folder: Path, kind: Kind, seed: int, seconds: float, *, keep: bool) -> Round:
    place = folder / f"{kind}-{seed}"
    print(
        f"{kind}, seed {seed}, {seconds:.0f} s, {len(plan(kind, seconds, seed))} faults", flush=True
    )
    begun = time.monotonic()
    played = await play(place, kind, seed, seconds)
    found = played.verdict.anomalies + len(played.surprises)
    print(
        f"  {played.told.total():,} calls, {played.kills.total()} kills, {found} anomalies,"
        f" {played.verdict.undecided} undecided,"
        f" {played.verdict.compared:,} of {played.verdict.looked:,} documents compared,"
        f" in {time.monotonic() - begun:.0f} s",
        flush=True,
    )
    if found:
        print(f"  again: {played.reproduction}\n  kept: {place}", flush=True)
        for fault in played.faults:
            print(f"    {fault}")
        for finding in played.verdict.findings:
            print(f"    {finding.kind} {finding.about}: {finding.text}")
        for surprise in played.surprises:
            print(f"    {surprise}")
    elif not keep:
        shutil.rmtree(place)
    return played


def main() -> int:
    """Run and report; the exit code."""
    asked = _asked()
    folder = Path(tempfile.mkdtemp(prefix="mallku-chaos-"))
    begun = time.monotonic()
    played = asyncio.run(_rounds(asked, folder))
    text = report(played, time.monotonic() - begun, " ".join(["tests.chaos.run", *sys.argv[1:]]))
    print(f"\n{text}")
    if asked.write:
        write_into(asked.write, "report", text)
    if asked.json:
        asked.json.write_text(json.dumps([one.plain() for one in played], indent=1))
    clean = not any(one.verdict.anomalies or one.surprises for one in played)
    if clean and not asked.keep:
        shutil.rmtree(folder)
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
