from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mallku_contracts.operations import OPERATIONS
from mallku_workers.ledger import (
    MADE_KEY_LIFE_MS,
    NAMED_KEY_LIFE_MS,
    ledger_key,
    make_claim,
)
from tests.support.simulated_caller import SimulatedCaller

TEXT = st.text(min_size=1, max_size=20)


@given(TEXT, TEXT, TEXT, TEXT)
def test_keys_of_different_owners_never_meet(p: str, a: str, q: str, b: str) -> None:
    """A ledger key is that of one principal and one idempotency key, wherever a text is cut."""
    assert (ledger_key(p, a) == ledger_key(q, b)) == ((p, a) == (q, b))
    assert (ledger_key(p, a)[:32] == ledger_key(q, b)[:32]) == (p == q)
    assert len(ledger_key(p, a)) == 64


def test_reads_claim_nothing(caller: SimulatedCaller) -> None:
    """Only what can have an effect is remembered."""
    for operation in OPERATIONS.values():
        where = None if operation.scope == "database" else "c"
        sent = caller.seal(operation.name, {}, where)
        claim = make_claim(sent.subject, operation, sent.header, sent.body, 0)
        assert (claim is not None) == operation.mutates


def test_how_long_a_claim_is_kept(caller: SimulatedCaller) -> None:
    """Keys that the library made for a quarter of an hour, keys that a caller named for a day."""
    operation = OPERATIONS["insert"]
    for idem, life in ((None, MADE_KEY_LIFE_MS), ("order-66", NAMED_KEY_LIFE_MS)):
        header: dict[str, Any] = {} if idem is None else {"idem": idem}
        sent = caller.seal("insert", {}, **header)
        claim = make_claim(sent.subject, operation, sent.header, sent.body, 1_000)
        assert claim is not None
        assert claim.expires_ms == 1_000 + life
        assert claim.id == sent.header.id


def test_a_retry_makes_the_same_claim(caller: SimulatedCaller) -> None:
    """Key and fingerprint are those of the first attempt; another body is another fingerprint."""
    operation = OPERATIONS["insert"]
    sent = caller.seal("insert", {"document": {}})
    other = caller.seal("insert", {"document": {"a": 1}}, idem=sent.header.idem)
    claims = [
        make_claim(one.subject, operation, one.header, one.body, 0)
        for one in (sent, caller.again(sent), other)
    ]
    first, retry, conflict = [(claim.key, claim.fingerprint) for claim in claims if claim]
    assert first == retry
    assert first[0] == conflict[0]
    assert first[1] != conflict[1]
