"""What one input costs: CPU time of this thread, and the worst of all inputs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

MAX_CPU_MS: Final = 50.0
"""What a single message may cost, milliseconds of CPU time."""

REPEATS: Final = 5
"""How often an input that seems to cost too much is run again; the least counts."""

_MS_PER_S: Final = 1_000


class TooSlow(AssertionError):
    """One input costs more than it may, however often it is tried."""


def cpu_ms(run: Callable[[], object]) -> float:
    """CPU time that `run` takes of this thread, milliseconds."""
    began = time.thread_time()
    run()
    return (time.thread_time() - began) * _MS_PER_S


@dataclass
class Worst:
    """Keeps the input that cost most.

    Attributes:
        limit_ms: Beyond it an input is tried again, and then refused.
    """

    limit_ms: float = MAX_CPU_MS
    ms: float = 0.0
    data: bytes = field(default=b"", repr=False)

    def run(self, target: Callable[[bytes], None], data: bytes) -> None:
        """Run one input and keep it when it is the worst so far.

        Raises:
            TooSlow: it costs more than the limit, in the best of several tries.
        """
        took = cpu_ms(lambda: target(data))
        if took <= self.ms:
            return
        # A pause of the collector or of the machine is not the input's fault; a cost is repeated.
        took = min(took, *(cpu_ms(lambda: target(data)) for _ in range(REPEATS)))
        if took > self.ms:
            self.ms, self.data = took, data
        if took > self.limit_ms:
            raise TooSlow(f"{took:.1f} ms of CPU time; a single input may take {self.limit_ms:.0f}")
