"""A rule's `where` lets a document pass exactly where its AQL filter does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given, settings

from mallku_contracts.aql.binding import check_run
from mallku_contracts.aql.parsing import parse
from mallku_contracts.limits import MIB
from mallku_contracts.policy.where import read_where
from mallku_workers.stores.embedded.aql.evaluate import Circumstances, evaluate
from mallku_workers.stores.embedded.aql.source import Source
from tests.contracts.test_policy_where import CALLER, documents, wheres

NOTHING = cast("Source", SimpleNamespace(check=lambda: None))
CIRCUMSTANCES = Circumstances(now_ms=0, memory_bytes=MIB)


@settings(max_examples=400)
@given(wheres, documents)
def test_the_predicate_and_the_filter_agree(
    where: dict[str, Any], document: dict[str, Any]
) -> None:
    """What the evaluator keeps of one document is what the predicate says of it."""
    condition = read_where(where).bind(CALLER)
    text, values = condition.to_aql("document", "b")
    query = parse(f"FOR document IN @documents FILTER {text} RETURN 1")
    binds = {"documents": [document], **values}
    check_run(query, binds)
    rows = list(evaluate(query, binds, NOTHING, CIRCUMSTANCES).rows)
    assert bool(rows) == condition.matches(document), text
