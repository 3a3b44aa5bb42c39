"""What governs a worker: the policy and the revocations that administrators signed."""

from __future__ import annotations

from mallku_workers.governance.governor import Governor

__all__ = ["Governor"]
