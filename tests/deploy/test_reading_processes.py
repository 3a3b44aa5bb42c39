"""The processes that read records end with the one that started them, however it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

READING = """
import asyncio
from mallku_contracts.trail.stored import TrailEntry
from mallku_deploy.auditing.entries import CHUNK, read_entries

async def batches():
    while True:
        yield [TrailEntry(1, "mallku.v1.audit.x", 0, b"junk")] * CHUNK

async def main():
    async for _ in read_entries(batches(), jobs=2, signatures=False):
        print("reading", flush=True)

if __name__ == "__main__":
    asyncio.run(main())
"""
GONE_S = 10.0


def test_a_killed_reader_leaves_no_process(tmp_path: Path) -> None:
    """Killed in the middle with SIGKILL: those who read for it are gone soon after."""
    script = tmp_path / "reading.py"
    script.write_text(READING)
    reader = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert reader.stdout is not None
    try:
        assert reader.stdout.readline() == "reading\n"
        helpers = psutil.Process(reader.pid).children(recursive=True)
        assert len(helpers) >= 2
    finally:
        reader.kill()
        reader.wait()
        reader.stdout.close()
    _, alive = psutil.wait_procs(helpers, timeout=GONE_S)
    for process in alive:
        process.kill()
    assert alive == []
