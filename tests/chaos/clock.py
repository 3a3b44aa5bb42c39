"""A wall clock that a test can make jump, in processes that are started for that alone.

All of them read one file, as all processes of a machine have one clock. Monotonic clocks go on.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

VARIABLE: Final = "CHAOS_CLOCK"
"""The environment variable that names the file with the offset, milliseconds."""

LOOK_NS: Final = 20_000_000
"""Between two looks at the file, nanoseconds."""

_NS_PER_MS: Final = 1_000_000
_NS_PER_S: Final = 1_000_000_000


def set_offset(path: Path, milliseconds: int) -> None:
    """Let the clock jump."""
    temporary = path.with_suffix(".new")
    temporary.write_text(str(milliseconds))
    temporary.rename(path)


def install() -> None:
    """Bend this process's wall clock; to be called before anybody imports `time` by name."""
    path, true_ns, monotonic_ns = Path(os.environ[VARIABLE]), time.time_ns, time.monotonic_ns
    looked, offset = 0, 0

    def time_ns() -> int:
        nonlocal looked, offset
        now = monotonic_ns()
        if now - looked > LOOK_NS:
            looked = now
            try:
                offset = int(path.read_text()) * _NS_PER_MS
            except (OSError, ValueError):
                offset = 0
        return true_ns() + offset

    time.time_ns = time_ns
    time.time = lambda: time_ns() / _NS_PER_S
