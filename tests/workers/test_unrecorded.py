"""What cannot be recorded is answered all the same: whatever happens, the caller is told."""

from __future__ import annotations

import pytest

from mallku_contracts.audit import Record
from tests.support.simulated_caller import SimulatedCaller
from tests.support.simulated_trail import Fate
from tests.workers.world import Worker


@pytest.mark.parametrize(
    ("operation", "record", "code"),
    [
        ("drop-collection", "denied", "permission_denied"),
        ("insert", "denied", "invalid_arguments"),
        ("find", "failed", "not_supported"),
    ],
)
async def test_an_error_that_cannot_be_recorded_is_answered(
    worker: Worker, caller: SimulatedCaller, operation: str, record: str, code: str
) -> None:
    """The recording raises what nobody foresaw; the caller gets the error, and the slot is free."""
    failed: list[str] = []

    def fate(of: Record) -> Fate:
        if of.kind == record:
            failed.append(of.kind)
            raise RuntimeError(of.kind)
        return Fate.STORED

    worker.trail.fate = fate
    answer = await worker.take(caller.seal(operation, {}))
    assert answer.error.code == code
    assert failed == [record]
    assert worker.slots.in_flight == 0
