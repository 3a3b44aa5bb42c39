"""The audit trail as a worker writes it."""

from __future__ import annotations

from mallku_workers.audit.writer import Acknowledgements, AuditLimits, AuditWriter

__all__ = ["Acknowledgements", "AuditLimits", "AuditWriter"]
