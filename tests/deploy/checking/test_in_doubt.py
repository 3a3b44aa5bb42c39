"""Of a command whose end is not known, what it may have changed is in doubt, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

from mallku_contracts.audit import Resolution
from mallku_deploy.checking.findings import Kind, Verdict
from mallku_deploy.checking.history import Call
from tests.deploy.checking.planting import COLLECTION, Plot


def _plot() -> Plot:
    plot = Plot()
    plot.insert("a", n=1)
    plot.insert("b", n=1)
    plot.delete("b")
    return plot


def _leave_pending(plot: Plot, call: Call) -> None:
    plot.forget(call, "done")
    plot.change(call, outcome="outcome_unknown", end=None, result=None, receipt=None)
    plot.resolve(call, Resolution.PENDING)


def _lose_one_beside(pending: Callable[[Plot], Call]) -> Verdict:
    """An acknowledged insert is lost, and the end of another command is not known."""
    plot = _plot()
    plot.insert("c", n=1)
    _leave_pending(plot, pending(plot))
    del plot.documents["c"]
    return plot.check()


def test_a_pending_command_hides_no_loss_of_another_document() -> None:
    """What it may have changed alone is in doubt; the rest is held against the store."""
    verdict = _lose_one_beside(lambda plot: plot.update("a", n=7))
    assert {finding.kind for finding in verdict.findings} == {Kind.PENDING, Kind.LOST, Kind.ORDER}
    assert (verdict.looked, verdict.compared) == (3, 2)


def test_a_pending_transaction_is_about_the_documents_of_its_steps() -> None:
    """It names no collection of its own, and puts no other document in doubt."""
    arguments = {"document": {"_key": "a", "n": 8}}
    step = {"operation": "update", "collection": COLLECTION, "arguments": arguments}

    def transaction(plot: Plot) -> Call:
        return plot.write("transaction", {"steps": [step]}, "a", {"n": 8}, collection="@")

    assert Kind.LOST in {finding.kind for finding in _lose_one_beside(transaction).findings}


def test_a_pending_insert_without_a_key_makes_new_documents_alone() -> None:
    """A document that a commit made is held against the store all the same."""
    verdict = _lose_one_beside(lambda plot: plot.write("insert", {"document": {}}, "new", {"n": 8}))
    assert Kind.LOST in {finding.kind for finding in verdict.findings}
    assert Kind.STORE not in {finding.kind for finding in verdict.findings}


def test_a_pending_command_that_names_no_documents_leaves_its_collection_in_doubt() -> None:
    """It may have removed the missing document; a query may have done so anywhere."""
    query = {"query": "FOR d IN anchors REMOVE d IN anchors"}
    for verdict in (
        _lose_one_beside(lambda plot: plot.write("delete-match", {"filters": {}}, "a", None)),
        _lose_one_beside(lambda plot: plot.write("aql", query, "a", None, collection="@")),
    ):
        assert Kind.LOST not in {finding.kind for finding in verdict.findings}
        assert (verdict.looked, verdict.compared) == (3, 0)
