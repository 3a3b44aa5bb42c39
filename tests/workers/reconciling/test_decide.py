"""What may be said of an intent without outcome, and when: by cases, and by property."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_contracts.audit import Resolution
from mallku_workers.ledger import MADE_KEY_LIFE_MS, NAMED_KEY_LIFE_MS
from mallku_workers.reconciling.decide import Evidence, decide
from mallku_workers.reconciling.question import NotAnIntent, Question, read_question
from mallku_workers.stores.base import LedgerEntry
from tests.workers.reconciling.asking import LIMITS, RUNTIME_MS, SKEW_MS, intent, question


def entry(of: Question, **changes: Any) -> LedgerEntry:
    """The entry that this command's commit leaves."""
    return replace(LedgerEntry(of.key, of.fingerprint, of.id, True, 7), **changes)


def settled(of: Question, **changes: Any) -> Evidence:
    """The ledger shows nothing, and nothing can come any more."""
    return replace(Evidence(LIMITS.settled_ms(of) + 1), **changes)


def test_what_committed_is_committed_at_once() -> None:
    """The ledger's entry is proof, long before the command's time is over."""
    asked = question()
    verdict = decide(asked, Evidence(0, entry(asked)), LIMITS)
    assert verdict is not None
    assert (verdict.resolution, verdict.final) == (Resolution.COMMITTED, True)
    assert verdict.committed == entry(asked)


@given(passed_ms=st.integers(-200_000, 200_000), remembers=st.booleans())
def test_not_applied_is_never_said_too_early(passed_ms: int, remembers: bool) -> None:
    """Only after exp, skew and runtime by the store's clock, and while the ledger remembers."""
    asked = question()
    now_ms = asked.exp_ms + passed_ms
    remembers_ms = asked.expires_ms + (0 if remembers else 1)
    verdict = decide(asked, Evidence(now_ms, None, remembers_ms), LIMITS)
    assert verdict is not None
    over = passed_ms > SKEW_MS + RUNTIME_MS
    assert (verdict.resolution is Resolution.NOT_APPLIED) == (over and remembers)
    assert verdict.final == over
    if not over or not remembers:
        assert verdict.resolution is Resolution.PENDING


@pytest.mark.parametrize("passed_ms", [0, 1])
def test_a_read_is_possibly_answered_or_not_spoken_of(passed_ms: int) -> None:
    """Before its time is over its own worker may still say what became of it."""
    asked = question("get", {"document": "k"})
    verdict = decide(asked, Evidence(LIMITS.settled_ms(asked) + passed_ms), LIMITS)
    assert (verdict and verdict.resolution) == (Resolution.POSSIBLY_ANSWERED if passed_ms else None)


def test_of_two_attempts_one_alone_committed() -> None:
    """Another transmission's entry under the key: this one did nothing, once its time is over."""
    asked = question()
    other = entry(asked, id="another")
    early = decide(asked, Evidence(0, other), LIMITS)
    late = decide(asked, settled(asked, entry=other), LIMITS)
    assert early is not None
    assert early.resolution is Resolution.PENDING
    assert late is not None
    assert (late.resolution, late.reason.endswith("another")) == (Resolution.NOT_APPLIED, True)


def test_another_command_under_the_key_proves_nothing_for_this_one() -> None:
    """An entry with another fingerprint is as good as none."""
    asked = question()
    foreign = entry(asked, fingerprint=b"f" * 32)
    verdict = decide(asked, settled(asked, entry=foreign), LIMITS)
    assert verdict is not None
    assert verdict.resolution is Resolution.NOT_APPLIED
    forgotten = settled(asked, entry=foreign, remembers_ms=asked.expires_ms + 1)
    verdict = decide(asked, forgotten, LIMITS)
    assert verdict is not None
    assert (verdict.resolution, verdict.final) == (Resolution.PENDING, True)


@pytest.mark.parametrize(
    ("as_asked", "resolution"), [(True, Resolution.COMMITTED), (False, Resolution.PENDING)]
)
def test_a_change_of_the_catalog_that_was_begun(as_asked: bool, resolution: Resolution) -> None:
    """Committed where what was asked for is there; else nobody can know, and that is final."""
    asked = question("create-collection", {})
    begun = entry(asked, begun=True)
    assert decide(asked, Evidence(0, begun, as_asked=as_asked), LIMITS) is not None
    early = decide(asked, Evidence(0, begun, as_asked=as_asked), LIMITS)
    assert early is not None
    assert (early.resolution, early.final) == (Resolution.PENDING, False)
    late = decide(asked, settled(asked, entry=begun, as_asked=as_asked), LIMITS)
    assert late is not None
    assert (late.resolution, late.final) == (resolution, True)
    assert late.reason


def test_an_administrative_command_that_another_attempt_finished() -> None:
    """What the first one made the second one found as it wanted it: one of them did it."""
    asked = question("create-collection", {})
    verdict = decide(asked, Evidence(0, entry(asked, id="another")), LIMITS)
    assert verdict is not None
    assert verdict.resolution is Resolution.COMMITTED
    assert verdict.reason.endswith("another")


def test_a_command_that_is_recorded_as_a_hash_is_not_taken_for_another() -> None:
    """Its transmission's own entry proves the commit; somebody else's under the key proves none."""
    for operation, resolution in (
        ("insert", Resolution.NOT_APPLIED),
        ("create-collection", Resolution.PENDING),
    ):
        asked = replace(question(operation), fingerprint=b"", hidden=True)
        own, other = entry(asked, fingerprint=b"f" * 32), entry(asked, id="another")
        verdict = decide(asked, Evidence(0, own), LIMITS)
        assert verdict is not None
        assert verdict.resolution is Resolution.COMMITTED
        verdict = decide(asked, settled(asked, entry=other), LIMITS)
        assert verdict is not None
        assert (verdict.resolution, verdict.final) == (resolution, True)


@pytest.mark.parametrize(
    ("query", "explain", "mutates"),
    [
        ("FOR p IN people RETURN p", False, False),
        ("FOR p IN people REMOVE p IN people", False, True),
        ("FOR p IN people REMOVE p IN people", True, False),
    ],
)
def test_a_query_tells_by_its_text_whether_it_changes(
    query: str, explain: bool, mutates: bool
) -> None:
    """The intent of a query says it no other way."""
    assert question("aql", {"query": query, "explain": explain}).mutates is mutates


def test_how_long_an_entry_is_kept_depends_on_who_named_the_key() -> None:
    """A key that the client library made is forgotten sooner than one that the caller named."""
    made, named = question(iat=1_000_000, exp=1_010_000), question(idem="mine")
    assert made.expires_ms == 1_000_000 - SKEW_MS + MADE_KEY_LIFE_MS
    assert named.expires_ms > named.exp_ms + NAMED_KEY_LIFE_MS - 2 * RUNTIME_MS


def test_a_record_that_is_no_intent_asks_nothing() -> None:
    """Neither an outcome, nor an intent whose command cannot be read, is guessed at."""
    for changes in (
        {"kind": "done"},
        {"command": None},
        {"command": (b"", b"", b"", b"")},
        {"subject": "mallku.v1.cmd.mallku.mallku.people.no-such-operation"},
    ):
        with pytest.raises(NotAnIntent):
            read_question(replace(intent(), **changes), skew_ms=0)
