"""Anomalies of every kind are planted into a history, a trail or a store, and have to be found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mallku_contracts.audit import Resolution
from mallku_contracts.errors import DocumentNotFound, IdempotencyConflict, RateLimited, Replayed
from mallku_contracts.identifiers import uuid7
from mallku_deploy.checking.accounts import Remembered, Stored
from mallku_deploy.checking.findings import Kind
from mallku_deploy.checking.history import Histories
from tests.deploy.checking.planting import COLLECTION, SECOND, Plot


def _plot() -> Plot:
    plot = Plot()
    plot.insert("a", n=1)
    plot.update("a", m=2)
    plot.get("a")
    plot.replace("a", n=3)
    plot.insert("b", n=1)
    plot.delete("b")
    plot.get("b")
    plot.get("a")
    return plot


def test_what_is_right_is_found_right() -> None:
    """A gateway that keeps its promises is accused of nothing, and everything was looked at."""
    verdict = _plot().check()
    assert verdict.findings == []
    assert (verdict.documents, verdict.commits, verdict.calls["done"]) == (2, 5, 8)
    assert (verdict.looked, verdict.compared) == (2, 2)


def test_an_acknowledged_mutation_that_is_on_no_trail() -> None:
    """It was acknowledged; neither outcome nor resolution says that it was done."""
    plot = _plot()
    lost = plot.insert("c", n=1)
    plot.forget(lost, "done")
    assert {Kind.LOST, Kind.OPEN} <= plot.kinds()


def test_an_acknowledged_mutation_that_the_store_has_lost() -> None:
    """Everybody says that it was done, and the store holds what stood there before."""
    plot = _plot()
    before = dict(plot.documents["a"])
    plot.update("a", n=7)
    plot.documents["a"] = before
    assert {Kind.LOST, Kind.ORDER} <= plot.kinds()


def test_a_document_that_the_store_has_lost() -> None:
    """It is not there at all."""
    plot = _plot()
    del plot.documents["a"]
    assert Kind.LOST in plot.kinds()


def test_a_lost_update_without_any_look_at_the_store() -> None:
    """A later read alone tells of it: it shows the version before."""
    plot = Plot(looked=False)
    plot.insert("a", n=1)
    first = dict(plot.documents["a"])
    plot.update("a", n=2)
    read = plot.get("a")
    plot.change(read, result=first)
    assert plot.kinds() == {Kind.ORDER}


def test_a_command_that_was_applied_twice() -> None:
    """Two transmissions with one idempotency key, each with an effect of its own."""
    plot = _plot()
    first = plot.update("a", n=7)
    second = plot.update("a", n=7)
    plot.forget(second, "intent", "done")
    plot.calls.remove(second)
    again = replace(first, id=uuid7(plot.clock * 1_000), receipt=None)
    plot._intend(again)
    effect = dict(plot.record_of(first, "done").effects[0])
    effect |= {"old_rev": effect["new_rev"], "new_rev": "twice"}
    plot._outcome(again, kind="done", effects=(effect,), position=99)
    plot.documents["a"]["_rev"] = "twice"
    assert Kind.TWICE in plot.kinds()


def test_an_unknown_command_that_was_applied_twice() -> None:
    """Nobody knows of its fate; two readers see two revisions, and one command made them."""
    plot = Plot(looked=False)
    plot.insert("a", n=1)
    unknown = plot.replace("a", n=2)
    plot.change(unknown, outcome="outcome_unknown", end=None, result=None, receipt=None)
    first = plot.get("a")
    later = plot.get("a")
    assert plot.kinds() == set()
    assert isinstance(first.result, dict)
    plot.change(later, result=first.result | {"_rev": "another"})
    assert plot.kinds() == {Kind.ORDER}


def test_two_answers_to_one_command() -> None:
    """The same key, asked twice, was told of two revisions."""
    plot = _plot()
    call = plot.insert("c", n=1)
    meta: dict[str, Any] = call.result | {"_rev": "another"}
    plot.calls.append(replace(call, number=99, result=meta, begin=call.end or 0, replayed=True))
    assert Kind.TWICE in plot.kinds()


def test_an_effect_without_an_intent() -> None:
    """An outcome on the trail that nothing announced."""
    plot = _plot()
    silent = plot.insert("c", n=1)
    plot.forget(silent, "intent")
    assert Kind.WITHOUT_INTENT in plot.kinds()


def test_an_answer_without_an_intent() -> None:
    """A read that was answered, and of which the trail knows nothing."""
    plot = _plot()
    silent = plot.get("a")
    plot.forget(silent, "intent", "done")
    assert plot.kinds() == {Kind.WITHOUT_INTENT}


def test_a_store_that_was_changed_past_the_gateway() -> None:
    """A revision that no command made, of a document that is known and of one that is not."""
    plot = _plot()
    plot.documents["a"] |= {"_rev": "secret", "n": 666}
    assert {Kind.STORE, Kind.ORDER} <= plot.kinds()
    plot = _plot()
    plot.documents["z"] = {"_key": "z", "_rev": "secret"}
    assert Kind.STORE in plot.kinds()


def test_a_collection_that_was_not_listed_to_its_end_is_undecided() -> None:
    """What was not listed was not looked at, and that is said."""
    stored = Stored(0, 1, cut=frozenset({COLLECTION}))
    assert _plot().kinds(stored=stored) == {Kind.UNDECIDED}


def test_a_change_past_the_gateway_that_was_written_over() -> None:
    """The next command was made of a revision that none before it left."""
    plot = _plot()
    plot.documents["a"]["_rev"] = "secret"
    plot.update("a", n=5)
    assert {Kind.CHAIN, Kind.ORDER} <= plot.kinds()


def test_an_intent_without_end() -> None:
    """No outcome, no resolution."""
    plot = _plot()
    read = plot.get("a")
    plot.forget(read, "done")
    assert plot.kinds() == {Kind.OPEN}


def test_an_intent_that_came_after_the_trail_had_settled() -> None:
    """It may still be under way, as the checker's own questions are; one before it may not."""
    plot = _plot()
    read = plot.get("a")
    plot.forget(read, "done")
    told = plot.told()
    told.settled = told.last - 1
    assert plot.kinds(told=told) == set()
    told.settled = told.last
    assert plot.kinds(told=told) == {Kind.OPEN}


def test_an_intent_of_which_nobody_can_know_yet() -> None:
    """It is said, and it accuses nobody."""
    plot = _plot()
    call = plot.insert("c", n=1)
    plot.forget(call, "done")
    plot.change(call, outcome="outcome_unknown", end=None, result=None, receipt=None)
    plot.resolve(call, Resolution.PENDING)
    verdict = plot.check()
    assert verdict.anomalies == 0
    assert verdict.counts[Kind.PENDING] == 1


def test_a_refusal_after_which_something_was_done() -> None:
    """The caller was told that nothing happened."""
    plot = _plot()
    call = plot.insert("c", n=1)
    plot.change(call, outcome="failed", code="busy", result=None, receipt=None)
    assert Kind.REFUSED_BUT_DONE in plot.kinds()
    again = plot.insert("d", n=1)
    plot.change(again, outcome="failed", code=IdempotencyConflict.code, result=None, receipt=None)
    assert plot.check().counts[Kind.REFUSED_BUT_DONE] == 1  # the key is another command's


def test_a_copy_that_was_refused_says_nothing_of_what_was_done() -> None:
    """Somebody sends the bytes again while their worker dies; the reconciler's word counts."""
    for code, worker in ((Replayed.code, "w"), (Replayed.code, "v"), (RateLimited.code, "v")):
        plot = _plot()
        call = plot.insert("c", n=1)
        effects = plot.record_of(call, "done").effects
        plot.forget(call, "done")
        plot.change(call, receipt=None)
        plot.refuse_copy(call, code, worker)
        assert plot.kinds() == {Kind.LOST, Kind.OPEN}
        plot.resolve(call, Resolution.COMMITTED, effects)
        assert plot.kinds() == set()


def test_a_receipt_for_another_record() -> None:
    """It names a record with another hash, or none that is there."""
    for receipt in ({"sequence": 1, "hash": "00"}, {"sequence": 999, "hash": "00"}):
        plot = _plot()
        call = plot.insert("c", n=1)
        plot.change(call, receipt=receipt)
        assert plot.kinds() == {Kind.RECEIPT}


def test_a_query_that_wrote_is_held_to_its_receipt() -> None:
    """A receipt says that it wrote: then an outcome has to be there, and the record it names."""
    plot = _plot()
    call = plot.write("aql", {"query": "..."}, "c", {"n": 1}, collection="@")
    assert plot.kinds() == set()
    plot.change(call, receipt={"stream": "MALLKU_AUDIT", "sequence": 999, "hash": "00"})
    assert plot.kinds() == {Kind.RECEIPT}
    plot.forget(call, "done")
    assert {Kind.LOST, Kind.RECEIPT} <= plot.kinds()


def test_a_query_that_only_read_needs_no_commit() -> None:
    """It has no receipt, and its outcome stands on the trail as any read's."""
    plot = _plot()
    call = plot._call("aql", {"query": "RETURN 1"}, [1], "@")
    plot._intend(call)
    plot._record(call, kind="done")
    assert plot.kinds() == set()


def test_a_ledger_that_forgot() -> None:
    """A retry would do it again."""
    plot = _plot()
    call = plot.insert("c", n=1)
    plot.ledger[call.name] = Remembered(None)
    assert plot.kinds() == {Kind.LEDGER}


def test_a_ledger_that_knows_more_than_the_trail() -> None:
    """It says that a transmission was carried out of which the trail says that it was not."""
    plot = _plot()
    call = plot.insert("c", n=1)
    plot.forget(call, "done")
    plot.change(call, outcome="outcome_unknown", end=None, result=None, receipt=None)
    plot.resolve(call, Resolution.NOT_APPLIED)
    assert Kind.LEDGER in plot.kinds()
    plot.ledger[call.name] = Remembered("never-sent")
    assert Kind.WITHOUT_INTENT in plot.kinds()


def test_a_stale_read() -> None:
    """It began after the write was acknowledged, and shows what stood there before."""
    plot = _plot()
    before = dict(plot.documents["a"])
    plot.replace("a", n=4)
    read = plot.get("a")
    plot.change(read, result=before)
    assert plot.kinds() == {Kind.ORDER}


def test_a_read_beside_the_write_may_show_either() -> None:
    """The same answer, to a call that was under way at the same time, accuses nobody."""
    plot = _plot()
    before = dict(plot.documents["a"])
    plot.replace("a", n=4)
    read = plot.get("a")
    plot.change(read, result=before, begin=read.begin - 2 * SECOND)
    assert plot.kinds() == set()


def test_a_stale_read_within_the_clocks_difference() -> None:
    """Clocks that may be three seconds apart cannot prove that it was stale."""
    plot = _plot()
    before = dict(plot.documents["a"])
    plot.replace("a", n=4)
    read = plot.get("a")
    plot.change(read, result=before)
    assert plot.kinds(skew_us=3 * SECOND) == set()


def test_a_document_that_comes_back() -> None:
    """It was removed, and a later read finds it; another finds none where it stands."""
    plot = _plot()
    read = plot.get("b")
    plot.change(read, result={"_key": "b", "_rev": "r9", "n": 1})
    assert plot.kinds() == {Kind.ORDER}
    plot = _plot()
    missing = plot.get("a")
    plot.change(missing, result=None)
    assert plot.kinds() == {Kind.ORDER}


def test_a_refusal_that_cannot_be_true() -> None:
    """`document_not_found`, and nobody had removed it."""
    plot = _plot()
    call = plot.update("a", n=9)
    plot.forget(call, "done")
    plot.documents["a"] = {"_key": "a", "_rev": plot.calls[3].result["_rev"], "n": 3}
    plot.ledger.pop(call.name)
    plot._outcome(call, kind="failed", code=DocumentNotFound.code)
    refusal = {"outcome": "failed", "code": DocumentNotFound.code, "result": None, "receipt": None}
    plot.change(call, **refusal)
    assert plot.kinds() == {Kind.ORDER}


def test_a_wrong_version_of_the_right_revision() -> None:
    """A read shows a body that nobody wrote under a revision that is known."""
    plot = _plot()
    read = plot.get("a")
    plot.change(read, result=plot.documents["a"] | {"n": 666})
    assert plot.kinds() == {Kind.ORDER}


def test_a_merge_that_went_wrong() -> None:
    """An update has to leave what it did not name."""
    plot = _plot()
    plot.update("a", extra=1)
    read = plot.get("a")
    plot.documents["a"].pop("n")
    plot.change(read, result=dict(plot.documents["a"]))
    assert Kind.ORDER in plot.kinds()


def test_who_keeps_no_history_is_taken_from_the_trail() -> None:
    """Calls that stand in no history explain what others see."""
    plot = _plot()
    silent = plot.replace("a", n=5)
    plot.get("a")
    plot.calls.remove(silent)
    assert plot.kinds() == set()


def test_a_history_that_was_cut_is_undecided() -> None:
    """Missing calls could explain everything, so nothing is said of the order."""
    plot = _plot()
    read = plot.get("a")
    plot.change(read, result=None)
    histories = Histories(plot.calls, {"c1"})
    assert plot.kinds(histories=histories) == {Kind.UNDECIDED}


def test_a_search_that_is_too_large_is_undecided() -> None:
    """It says so, and accuses nobody."""
    verdict = _plot().check(max_configurations=1)
    assert verdict.anomalies == 0
    assert verdict.undecided == 2
