"""Whether records of a command may hold what it wrote, or keyed hashes of it alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mallku_contracts.aql import tree as t
from mallku_contracts.aql.analysis import Analysis, analyse
from mallku_contracts.aql.functions import READING
from mallku_contracts.operations import Access
from mallku_contracts.policy import CompiledPolicy
from mallku_workers.request import Request
from mallku_workers.stores.base import RunnableQuery

_WANDERS: Final = frozenset(
    kind.__name__ for kind in (t.NamedGraph, t.Traversal, t.ShortestPath, t.Paths)
)


def is_hidden(request: Request) -> bool:
    """Whether records of this command hold hashes in the place of values.

    They do when it has to do with a collection whose rules say `audit: digest`; a transaction or a
    query that touches one, or that may, is hidden as a whole. What is asked of the catalog holds no
    values of documents.
    """
    if request.operation.access is Access.ADMIN:
        return False
    if request.grant.audit == "digest":
        return True
    if request.query is None and not request.steps:
        return False
    hidden = _HiddenNames(request.policy)
    if not hidden.any:
        return False
    if request.query is not None:
        return hidden.meets(request.query)
    return hidden.among(step.collection for step in request.steps)


class _HiddenNames:
    def __init__(self, policy: CompiledPolicy) -> None:
        self._policy = policy
        self.any = any(rules.audit == "digest" for rules in policy.policy.collections.values())

    def among(self, names: Iterable[str]) -> bool:
        return any(self._policy.holding(name).rules.audit == "digest" for name in names)

    def meets(self, query: RunnableQuery) -> bool:
        """Whether a query names one, or meets documents of collections that it does not name."""
        analysis = analyse(query.tree)
        if _wanders(analysis):
            return True
        return self.among({*analysis.read_names(query.binds), *analysis.write_names(query.binds)})


def _wanders(analysis: Analysis) -> bool:
    return bool(analysis.functions & READING or analysis.kinds & _WANDERS)
