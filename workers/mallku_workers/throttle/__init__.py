"""Step 6, throttle: every principal at its rate, whichever workers its commands reach."""

from __future__ import annotations

from mallku_workers.throttle.exchange import Counter
from mallku_workers.throttle.refusals import Refusals
from mallku_workers.throttle.throttle import Throttle

__all__ = ["Counter", "Refusals", "Throttle"]
