from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mallku_contracts.aql.tree import Query
from mallku_contracts.arguments import Aql
from mallku_contracts.operations import OPERATIONS
from mallku_workers.ledger import (
    MADE_KEY_LIFE_MS,
    NAMED_KEY_LIFE_MS,
    ledger_key,
    make_claim,
)
from mallku_workers.stores.base import RunnableQuery
from tests.support.simulated_caller import SimulatedCaller
from tests.workers.requesting import make_request

TEXT = st.text(min_size=1, max_size=20)


@given(TEXT, TEXT, TEXT, TEXT)
def test_keys_of_different_owners_never_meet(p: str, a: str, q: str, b: str) -> None:
    """A ledger key is that of one principal and one idempotency key, wherever a text is cut."""
    assert (ledger_key(p, a) == ledger_key(q, b)) == ((p, a) == (q, b))
    assert (ledger_key(p, a)[:32] == ledger_key(q, b)[:32]) == (p == q)
    assert len(ledger_key(p, a)) == 64


def test_reads_claim_nothing(caller: SimulatedCaller) -> None:
    """Only what can have an effect is remembered."""
    wanted: dict[str, dict[str, Any]] = {"insert": {"document": {}}, "truncate": {}, "count": {}}
    for name, arguments in wanted.items():
        sent = caller.seal(name, arguments)
        claim = make_claim(make_request(name, **arguments), sent.header, sent.body)
        assert (claim is not None) == OPERATIONS[name].mutates


def test_a_query_claims_when_it_changes_documents(caller: SimulatedCaller) -> None:
    """Whether `aql` is a mutation is the query's to say."""
    sent = caller.seal("aql", {"query": "RETURN 1"}, None)
    request = make_request("aql", query="RETURN 1")
    query = RunnableQuery(Query(()), {}, Aql(query="RETURN 1"), modifies=True, max_rows=1)
    assert make_claim(request, sent.header, sent.body) is None
    assert make_claim(replace(request, query=query), sent.header, sent.body) is not None


def test_how_long_a_claim_is_kept(caller: SimulatedCaller) -> None:
    """Keys that the library made for a quarter of an hour, keys that a caller named for a day."""
    request = make_request("insert", 1_000, document={})
    for idem, life in ((None, MADE_KEY_LIFE_MS), ("order-66", NAMED_KEY_LIFE_MS)):
        header: dict[str, Any] = {} if idem is None else {"idem": idem}
        sent = caller.seal("insert", {}, **header)
        claim = make_claim(request, sent.header, sent.body)
        assert claim is not None
        assert claim.expires_ms == 1_000 + life
        assert claim.id == sent.header.id


def test_a_retry_makes_the_same_claim(caller: SimulatedCaller) -> None:
    """Key and fingerprint are those of the first attempt; another body is another fingerprint."""
    request = make_request("insert", document={})
    sent = caller.seal("insert", {"document": {}})
    other = caller.seal("insert", {"document": {"a": 1}}, idem=sent.header.idem)
    claims = [
        make_claim(request, one.header, one.body) for one in (sent, caller.again(sent), other)
    ]
    first, retry, conflict = [(claim.key, claim.fingerprint) for claim in claims if claim]
    assert first == retry
    assert first[0] == conflict[0]
    assert first[1] != conflict[1]
