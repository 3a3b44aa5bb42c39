"""How fast a replay goes: as it happened, so many times as fast, or as fast as it comes."""

from __future__ import annotations

from typing import Final

from mallku_contracts.errors import ConfigurationError

MAX_SPEED: Final = 1_000_000.0
"""How many times as fast as it happened."""


class Pace:
    """Says how long to wait before each record; the first one comes at once.

    What falls behind, because it could not be shown as fast, catches up.

    Args:
        speed: How many times as fast as it happened; None for no wait at all.
    """

    def __init__(self, speed: float | None) -> None:
        self._speed = speed
        self._began: tuple[int, float] | None = None

    @classmethod
    def read(cls, text: str) -> Pace:
        """Read `original`, `max`, or a number; `ConfigurationError` for anything else."""
        if text == "max":
            return cls(None)
        try:
            speed = 1.0 if text == "original" else float(text)
        except ValueError:
            speed = 0.0
        if not 0 < speed <= MAX_SPEED:
            raise ConfigurationError(
                f"--speed {text[:20]}: original, max, or how many times as fast (0.5, 10, …)"
            )
        return cls(speed)

    def wait_s(self, time_ms: int, now_s: float) -> float:
        """Seconds until a record that was stored at `time_ms` is due; `now_s` counts seconds."""
        if self._speed is None:
            return 0.0
        if self._began is None:
            self._began = time_ms, now_s
        first_ms, began_s = self._began
        due_s = began_s + (time_ms - first_ms) / 1_000 / self._speed
        return max(0.0, due_s - now_s)
