"""Several writes, all or none: each as it would be alone, in one savepoint."""

from __future__ import annotations

from typing import Any

from mallku_contracts.errors import MallkuError, from_wire
from mallku_workers.stores.base import Step, Work
from mallku_workers.stores.embedded.document_writes import write_documents
from mallku_workers.stores.embedded.session import Session
from mallku_workers.stores.rules import refuse_more


def transaction(session: Session, work: Work) -> list[Any]:
    """Carry out every step; what each of them would have answered.

    Raises:
        MallkuError: of the first step that fails, or of the first document in it that does;
            `details["step"]` is its place, from 0. Nothing is kept.
    """
    whole = session.rules
    results = []
    try:
        for place, step in enumerate(work.steps):
            results.append(_carry_out(session, step, place))
        refuse_more(whole, len(session.effects))
    finally:
        session.rules = whole
    return results


def _carry_out(session: Session, step: Step, place: int) -> Any:
    session.rules = step.rules
    try:
        result = write_documents(session, step.operation.name, step.collection, step.arguments)
        _refuse_failed(result)
    except MallkuError as error:
        error.details["step"] = place
        raise
    return result


def _refuse_failed(result: Any) -> None:
    """A batch answers its failures one by one; here the first of them fails everything."""
    for entry in result if isinstance(result, list) else ():
        if isinstance(entry, dict) and "error" in entry:
            raise from_wire(entry["error"])
