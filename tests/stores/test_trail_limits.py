"""What one mutation changes has to fit its audit record: refused before the commit, not after."""

from __future__ import annotations

import pytest

from mallku_contracts.errors import InvalidDocument, ResultTooLarge
from mallku_contracts.limits import MAX_EFFECT_BYTES
from tests.stores.calling import Caller

PART = "x" * (MAX_EFFECT_BYTES // 4)


async def test_a_document_larger_than_a_record_holds_is_refused(people: Caller) -> None:
    """Nothing of it is stored, and the limit is named."""
    with pytest.raises(InvalidDocument, match=str(MAX_EFFECT_BYTES)):
        await people("insert", document={"_key": "k", "text": "x" * MAX_EFFECT_BYTES})
    assert await people("count") == 0


async def test_a_small_command_may_not_change_more_than_a_record_holds(people: Caller) -> None:
    """`update-match` over large documents leaves them as they were, unless limited."""
    for n in range(5):
        await people("insert", document={"_key": f"k{n}", "text": PART, "kind": "old"})
    with pytest.raises(ResultTooLarge, match="fewer documents"):
        await people("update-match", filters={}, body={"kind": "new"})
    assert await people("count", filters={"kind": "old"}) == 5
    assert await people("update-match", filters={}, body={"kind": "new"}, limit=3) == 3


async def test_a_batch_that_does_not_fit_is_refused_whole(people: Caller) -> None:
    """Its size is nobody's own fault: no document of it is stored."""
    documents = [{"_key": f"k{n}", "text": PART} for n in range(5)]
    with pytest.raises(ResultTooLarge, match="fewer documents"):
        await people("insert-many", documents=documents)
    assert await people("count") == 0


async def test_every_work_of_a_group_has_the_limit_for_itself(people: Caller) -> None:
    """One command's size is no other command's."""
    for n in range(8):
        await people("insert", document={"_key": f"k{n}", "text": PART})
    assert await people("count") == 8
