"""A worker that keeps no trail of commands, to show what the trail costs: for a benchmark alone.

It stands in the place of `mallku-gateway worker`; no setting of the product leads here.
"""

from __future__ import annotations

import sys

from mallku_broker.streams import AUDIT
from mallku_contracts.errors import MallkuError
from mallku_contracts.results import Receipt
from mallku_deploy import worker
from mallku_workers.audit import AuditWriter, trail
from mallku_workers.message import Case
from mallku_workers.stores.base import Done

NO_RECEIPT: Receipt = {"stream": AUDIT, "sequence": 1, "hash": bytes(32)}


class NoRecords(AuditWriter):
    """Answers at once, and writes no record of any command."""

    async def intent(self, case: Case) -> None:
        """Step 8, left out."""
        case.announced = case.intended = True

    async def done(self, case: Case, done: Done) -> Receipt | None:
        """Step 10, left out."""
        case.concluded = True
        return NO_RECEIPT if case.mutates else None

    async def failed(self, case: Case, error: MallkuError) -> Receipt | None:
        """Step 10, left out."""
        case.concluded = True
        return NO_RECEIPT if case.mutates else None

    def denied(self, case: Case, error: MallkuError) -> None:
        """A refusal without a record."""


if __name__ == "__main__":
    setattr(trail, "AuditWriter", NoRecords)  # noqa: B010 - its name there is no export
    sys.exit(worker.main())
