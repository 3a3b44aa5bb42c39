"""Queries that change data: in the writing thread, within the transaction of their work."""

from __future__ import annotations

from typing import Any

from mallku_contracts import arguments as a
from mallku_contracts.errors import ResourceLimit
from mallku_workers.stores.base import Work, runnable
from mallku_workers.stores.embedded.aql.evaluate import evaluate
from mallku_workers.stores.embedded.aql.source import SessionSource
from mallku_workers.stores.embedded.paging import circumstances, first_page
from mallku_workers.stores.embedded.session import Session
from mallku_workers.stores.placing import placing


def modify(session: Session, work: Work) -> Any:
    """Run a query that changes data within the work's transaction; its only page.

    Raises:
        ResourceLimit: it returns more than one page holds: nothing is kept.
    """
    query = runnable(work)
    given = circumstances(work, session.settings, session.now_ms)
    with placing(query):
        execution = evaluate(query.tree, query.binds, SessionSource(session), given)
    _, result = first_page(query, execution, session.settings, a.MAX_PAGE_DOCUMENTS)
    if result["more"]:
        raise ResourceLimit(
            "a query that changes documents returns at most"
            f" {a.MAX_PAGE_DOCUMENTS} rows or {session.settings.max_result_bytes} bytes;"
            " nothing was done"
        )
    return result
