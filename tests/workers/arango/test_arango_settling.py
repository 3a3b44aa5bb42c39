"""Changes of ArangoDB's catalog are in no transaction: what can be said of one that was begun."""

from __future__ import annotations

from typing import Any

import pytest

from mallku_contracts.audit import Resolution
from mallku_contracts.errors import OutcomeUnknown
from mallku_workers.reconciling.decide import STATE, DecisionLimits
from mallku_workers.reconciling.looking import Looking
from mallku_workers.stores.base import Work
from tests.stores.calling import DATABASE, Caller, now_ms
from tests.support.simulated_arango import SimulatedArango
from tests.workers.arango.watching import dropping, once, query_has
from tests.workers.reconciling.asking import claim_of, question


@pytest.mark.parametrize("undone", [False, True])
async def test_a_change_that_was_begun_is_judged_by_what_is_there(
    people: Caller, server: SimulatedArango, undone: bool
) -> None:
    """The worker dies before it finishes the entry: committed while the collection is there.

    Where somebody dropped it since, nobody can know, and that is what is said, for good.
    """
    times: dict[str, Any] = {"iat": now_ms() - 2_000, "exp": now_ms() - 1_000}
    asked = question("create-collection", {}, **times)
    subject = asked.subject
    looking = Looking(people.store, DecisionLimits(0, 0), now_ms)
    await people("drop-collection")
    none = await looking.look(asked)
    assert none is not None
    assert none.resolution is Resolution.NOT_APPLIED
    server.before = once(query_has("REPLACE w.entry"), dropping)
    work = Work(
        asked.operation,
        DATABASE,
        subject.collection,
        asked.arguments,
        now_ms() + 30_000,
        claim_of(asked),
    )
    with pytest.raises(OutcomeUnknown):
        await people.store.execute(work)
    if undone:
        await people("drop-collection")
    verdict = await looking.look(asked)
    assert verdict is not None
    expected = (Resolution.PENDING, True) if undone else (Resolution.COMMITTED, True)
    assert (verdict.resolution, verdict.final) == expected
    if not undone:
        assert verdict.reason == STATE
        assert verdict.committed is not None
        came_of = await looking.came_of(asked, verdict.committed)
        assert came_of["effects"] == ()
        assert came_of["position"] is not None
