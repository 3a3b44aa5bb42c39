"""The audit trail as a worker writes it."""

from __future__ import annotations

from mallku_workers.audit.checkpoints import CheckpointLimits, Checkpoints
from mallku_workers.audit.numbers import Numbers
from mallku_workers.audit.publishing import Acknowledgements, AuditLimits
from mallku_workers.audit.seam import Seam
from mallku_workers.audit.trail import Trail, TrailLimits, open_trail
from mallku_workers.audit.witness import Witnessing, witness_at
from mallku_workers.audit.writer import AuditWriter

__all__ = [
    "Acknowledgements",
    "AuditLimits",
    "AuditWriter",
    "CheckpointLimits",
    "Checkpoints",
    "Numbers",
    "Seam",
    "Trail",
    "TrailLimits",
    "Witnessing",
    "open_trail",
    "witness_at",
]
