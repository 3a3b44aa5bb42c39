"""How fast a trail is verified: numbers, hashes and checkpoints on one core, signatures on all.

::

    python -m tests.benchmarks.verify [--records N] [--profile]

The pure part reads a made trail from memory; `gateway` reads one out of a real nats-server, with
everything that a command line does, but the start of Python.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mallku_broker.streams import StreamSettings
from mallku_contracts.limits import MIB
from mallku_contracts.trail.entry import read_entry
from mallku_contracts.trail.verification import Report
from mallku_deploy.auditing.entries import cores
from tests.integration.vault import opened, write_trail
from tests.support.made_trail import TRUST, MadeTrail

RECORDS = 100_000
EVERY = 500
ROUNDS = 3
LARGE = StreamSettings(audit_bytes=512 * MIB, checkpoint_bytes=64 * MIB)


def made(records: int) -> MadeTrail:
    """Two workers that take turns, each with a checkpoint every so many records."""
    trail = MadeTrail()
    for name in ("w1", "w2"):
        trail.start(name)
    for number in range(records // 2):
        worker = f"w{number % 2 + 1}"
        trail.command(worker)
        if number % EVERY == EVERY - 1:
            trail.checkpoint("w1")
            trail.checkpoint("w2")
    trail.checkpoint("w1", final=True)
    trail.checkpoint("w2", final=True)
    return trail


def pure(trail: MadeTrail) -> None:
    """Each part alone, in processor time of this process, the best of some rounds."""
    count = len(trail.records)
    for name, work in (
        ("entries, no signatures", lambda: _read(trail, signatures=False)),
        ("all, no signatures", lambda: trail.verify(signatures=False)),
        ("entries, signatures", lambda: _read(trail, signatures=True)),
        ("all, signatures", lambda: trail.verify(signatures=True)),
    ):
        seconds = min(_processor_s(work) for _ in range(ROUNDS))
        rate, each = count / seconds, seconds / count * 1e6
        print(f"  pure     {name:26} {rate:9,.0f} records/s  {each:6.1f} us each")


def _read(trail: MadeTrail, *, signatures: bool) -> None:
    for stored in trail.records:
        read_entry(stored.sequence, stored.subject, stored.data, signatures=signatures)


def _processor_s(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


async def gateway(trail: MadeTrail) -> None:
    """The same trail in a real server, read as `audit verify` reads it."""
    with tempfile.TemporaryDirectory() as folder:
        held = await write_trail(Path(folder))
        async with opened(held.house) as vault:
            for stream, entries in (
                ("MALLKU_AUDIT", trail.records),
                ("MALLKU_CHECKPOINTS", trail.checkpoints),
            ):
                await vault.recreate(stream, entries, LARGE)
            for signatures, jobs in ((False, 1), (False, cores()), (True, 1), (True, cores())):
                begun = time.perf_counter()
                report = await vault.verify(signatures=signatures, jobs=jobs, trust=TRUST)
                _show(report, signatures, jobs, time.perf_counter() - begun)


def _show(report: Report, signatures: bool, jobs: int, seconds: float) -> None:
    what = f"{'' if signatures else 'no '}signatures, {jobs} jobs"
    rate = report.records / seconds
    print(f"  gateway  {what:26} {rate:9,.0f} records/s  covered {report.covered:,}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    trail = made(options.records)
    size = sum(len(stored.data) for stored in trail.records) // len(trail.records)
    print(
        f"{len(trail.records):,} records of {size} bytes, {len(trail.checkpoints)} checkpoints,"
        f" {cores()} cores"
    )
    if options.profile:
        profile = cProfile.Profile()
        profile.runcall(trail.verify, signatures=False)
        pstats.Stats(profile).sort_stats("tottime").print_stats(15)
        return
    pure(trail)
    asyncio.run(gateway(trail))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"  at most {peak} MiB, the made trail included")


if __name__ == "__main__":
    main()
