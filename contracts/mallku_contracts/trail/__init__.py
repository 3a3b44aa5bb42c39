"""What the trail proves and how: checkpoints, Merkle paths, and records about the gateway itself.

Pure: values in, values out; no I/O, no clock.
"""

from __future__ import annotations

from mallku_contracts.trail.gateway import START_FACTS, STOP_FACTS, TRAIL, Verb, about_gateway

__all__ = ["START_FACTS", "STOP_FACTS", "TRAIL", "Verb", "about_gateway"]
