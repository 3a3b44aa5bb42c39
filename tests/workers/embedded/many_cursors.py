"""Opens cursors over more than a page cache holds and says what they take, bytes: a process.

`python -m tests.workers.embedded.many_cursors DIRECTORY CURSORS`
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from mallku_workers.stores.embedded import EmbeddedStore
from tests.stores.asking import Asker
from tests.stores.calling import Caller

DOCUMENTS = 16_000
BATCH = 400
TEXT_CHARS = 1_500


def resident_bytes() -> int:
    """What this process has in memory."""
    [line] = [
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmRSS")
    ]
    return int(line.split()[1]) * 1_024


async def main(directory: str, cursors: int) -> None:
    """Fill a store, open the cursors, each behind a scan of everything, and say what they took."""
    store = EmbeddedStore(Path(directory))
    await store.start()
    docs = Caller(store, "docs")
    await docs("create-collection")
    for start in range(0, DOCUMENTS, BATCH):
        some = [{"n": start + place, "t": "x" * TEXT_CHARS} for place in range(BATCH)]
        await docs("insert-many", documents=some, silent=True)
    before = resident_bytes()
    text = f"FOR d IN docs FILTER d.n >= {DOCUMENTS - 9} RETURN d.n"
    opened = [await Asker(store).done(text, batch_size=1) for _ in range(cursors)]
    assert all(done.cursor is not None for done in opened)
    sys.stdout.write(f"{resident_bytes() - before}\n")
    await store.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
