"""Several writes, of one or more collections, all or none: each as it would be alone."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from mallku_contracts.errors import MallkuError, from_wire
from mallku_workers.stores.arango.collection import Collection
from mallku_workers.stores.arango.planning import NOTHING, json_bytes
from mallku_workers.stores.arango.server import Server, Transaction
from mallku_workers.stores.arango.writing import Doing, Outcome, Writing, locks
from mallku_workers.stores.base import Step, Work
from mallku_workers.stores.documents import refuse_large
from mallku_workers.stores.rules import refuse_more


def transaction(
    server: Server, work: Work, collection_of: Callable[[Server, str], Collection], now_ms: int
) -> Outcome:
    """Carry out every step; what each of them would have answered.

    Raises:
        Conflict: nothing was done, and another try makes sense.
        MallkuError: of the first step that fails, or of the first document in it that does;
            `details["step"]` is its place, from 0. Nothing is kept.
    """
    writings: dict[str, Writing] = {}
    for place, step in enumerate(work.steps):
        if step.collection not in writings:
            with _at(place):
                collection = collection_of(server, step.collection)
            writings[step.collection] = Writing(server, collection, now_ms)
    first = next(iter(writings.values()))
    whole = first.doing(work)
    write, exclusive = locks((step.collection, step.arguments) for step in work.steps)
    with server.transaction(write, exclusive) as open_transaction:
        first.look_up(open_transaction, [whole])
        if whole.outcome is not None:
            return whole.outcome
        whole.result = [
            _carry_out(writings[step.collection], open_transaction, whole, place)
            for place, step in enumerate(work.steps)
        ]
        _refuse_large(whole)
        refuse_more(work.rules, _touched(whole))
        entered = first.enter(open_transaction, [whole])
        open_transaction.commit()
    return whole.finish(entered[whole.claim.key])


def _carry_out(writing: Writing, within: Transaction, whole: Doing, place: int) -> Any:
    one = writing.doing(_alone(whole.work, whole.work.steps[place]))
    one.shown = whole.shown
    with _at(place):
        writing.do(within, [one])
        if isinstance(one.outcome, MallkuError):
            raise one.outcome
        _refuse_failed(one.result)
        refuse_more(one.work.rules, _touched(whole) + _touched(one))
    # The old versions, of which nobody needs any more, may be large.
    whole.stored += [replace(each, change=NOTHING) for each in one.stored]
    return one.result


@contextmanager
def _at(place: int) -> Generator[None]:
    """An error within says at which step it was."""
    try:
        yield
    except MallkuError as error:
        error.details["step"] = place
        raise


def _touched(doing: Doing) -> int:
    return sum(one.effect is not None for one in doing.stored)


def _alone(work: Work, step: Step) -> Work:
    return Work(
        step.operation,
        work.database,
        step.collection,
        step.arguments,
        work.deadline_ms,
        rules=step.rules,
    )


def _refuse_failed(result: Any) -> None:
    """A batch answers its failures one by one; here the first of them fails everything."""
    for entry in result if isinstance(result, list) else ():
        if isinstance(entry, dict) and "error" in entry:
            raise from_wire(entry["error"])


def _refuse_large(whole: Doing) -> None:
    news = (one.effect.new for one in whole.stored if one.effect is not None)
    refuse_large(sum(len(json_bytes(new)) for new in news if new is not None))
