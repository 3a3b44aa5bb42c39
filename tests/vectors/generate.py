"""Rewrites the vectors beside it, byte for byte the same on every machine.

::

    python -m tests.vectors.generate

Everything that would differ from run to run is fixed here: keys are made from seeds of one repeated
byte, the time stands still, random bits are counted. Bytes are written in lower-case hexadecimal;
a byte string inside a value is `{"hex": …}`. `docs/wire.md` says how to use the files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tests.vectors import checkpoints, commands, doors, proofs, records, refusals, replies, world

FOLDER: Final = Path(__file__).parent

FILES: Final[Mapping[str, Callable[[], dict[str, Any]]]] = {
    "keys.json": world.key_vectors,
    "tokens.json": world.token_vectors,
    "commands.json": commands.vectors,
    "doors.json": doors.vectors,
    "replies.json": replies.vectors,
    "records.json": records.vectors,
    "checkpoints.json": checkpoints.vectors,
    "proofs.json": proofs.vectors,
    "refusals.json": refusals.vectors,
}


def text(name: str) -> str:
    """What stands in the file `name`."""
    return json.dumps(FILES[name](), indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write every file."""
    for name in FILES:
        (FOLDER / name).write_text(text(name), "utf-8")


if __name__ == "__main__":
    main()
