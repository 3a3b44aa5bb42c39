"""Step 5 for `aql`: an approved text, or one that may do nothing its asker might not do otherwise.

Approved queries stand in the policy and are known by the SHA-256 of their text. A query of one's
own is held to an allow-list of nodes and functions, then to the policy for every collection that it
reads or changes, the store's own account of them included; rules on single documents cannot be
enforced in it, so where one applies it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from mallku_contracts.aql.allow import Allowance, refusals
from mallku_contracts.aql.binding import check_run
from mallku_contracts.aql.lookups import RESERVED_HANDLE, RESERVED_NAME, lookups
from mallku_contracts.arguments import Aql
from mallku_contracts.errors import (
    AuthorizationError,
    NotSupported,
    PermissionDenied,
    ReservedName,
)
from mallku_contracts.operations import Access
from mallku_contracts.policy import CompiledPolicy, Grant, NamedQuery, QueryAccess
from mallku_contracts.policy.closed import is_reserved
from mallku_contracts.subjects import CommandSubject
from mallku_workers.queries.book import KnownQuery, QueryBook
from mallku_workers.queries.uses import Collections, QueryUses
from mallku_workers.stores.base import QueryCollections, RunnableQuery

MAX_NAMED: Final = 8
"""Things of one query that a refusal names."""


@dataclass(frozen=True, slots=True)
class QueryAsker:
    """Who asks, where, in which roles, and under which policy; `now_ms` is Unix milliseconds."""

    policy: CompiledPolicy
    subject: CommandSubject
    roles: frozenset[str]
    now_ms: int

    def may_read(self, collection: str) -> bool:
        """Whether a query of the asker's own may read a collection."""
        try:
            self._access(collection).refuse_read()
        except AuthorizationError:
            return False
        return True

    def approved(self, digest: str) -> NamedQuery | None:
        """The query that was approved for the asker under this digest, if there is one."""
        try:
            return self.policy.query(digest, principal=self.subject.principal, roles=self.roles)
        except PermissionDenied:
            return None

    def refuse_reserved(self, collections: QueryCollections) -> None:
        """Refuse the gateway's own collections, which no approval opens.

        Raises:
            ReservedName
        """
        for collection in sorted(collections.reads | collections.writes.keys()):
            self._access(collection)

    def refuse(self, collections: QueryCollections) -> None:
        """Refuse unless a query of the asker's own may use all of these collections.

        Raises:
            PermissionDenied, ReservedName
        """
        for collection in sorted(collections.reads):
            self._access(collection).refuse_read()
        for collection, operations in sorted(collections.writes.items()):
            access = self._access(collection)
            for operation in sorted(operations):
                access.refuse_write(operation)

    def _access(self, collection: str) -> QueryAccess:
        subject = self.subject
        return self.policy.query_access(
            subject.principal, subject.database, collection, roles=self.roles
        )


class QueryAuthorizer:
    """Makes arguments of `aql` into a query that may run."""

    def __init__(self, collections: Collections) -> None:
        self._uses = QueryUses(collections)
        self._book = QueryBook()

    async def authorize(self, arguments: Aql, asker: QueryAsker, grant: Grant) -> RunnableQuery:
        """The query with all of its bind values.

        Raises:
            InvalidQuery, InvalidArguments: the text or the bind values are wrong.
            NotSupported: it changes documents, and would not come to the same again.
            PermissionDenied, ReservedName: naming what the asker may not use.
            Unavailable: the store does not say, in time, which collections a query uses.
        """
        known = self._book.look_up(arguments.query)
        if arguments.read_only:
            _refuse_change(known)
        if not arguments.explain:
            _refuse_undetermined(known)
        approved = asker.approved(known.digest)
        if approved is not None:
            return self._approved(approved, known, arguments, asker, grant)
        self._refuse_parts(known, asker)
        check_run(known.tree, arguments.bind_vars)
        refuse_reserved_graphs(known.analysis.graph_names(arguments.bind_vars))
        query = self._runnable(
            known, arguments, arguments.bind_vars, grant, may_read=asker.may_read
        )
        asker.refuse(_named(known, arguments.bind_vars))
        database, version = asker.subject.database, asker.policy.version
        uses = await self._uses.of(database, known, query, version)
        asker.refuse(uses)
        return replace(query, uses=uses)

    def _approved(
        self,
        approved: NamedQuery,
        known: KnownQuery,
        arguments: Aql,
        asker: QueryAsker,
        grant: Grant,
    ) -> RunnableQuery:
        binds = approved.bind(arguments.bind_vars, asker.subject.principal, asker.now_ms)
        check_run(known.tree, binds)
        refuse_reserved_graphs(known.analysis.graph_names(binds))
        asker.refuse_reserved(_named(known, binds))
        puts_together = any(lookup.puts_together for lookup in lookups(known.tree))
        refuse_reserved_handles(binds, puts_together=puts_together)
        return self._runnable(known, arguments, binds, grant, may_read=None)

    def _runnable(
        self,
        known: KnownQuery,
        arguments: Aql,
        binds: dict[str, Any],
        grant: Grant,
        *,
        may_read: Callable[[str], bool] | None,
    ) -> RunnableQuery:
        modifies = known.analysis.modifies and not arguments.explain
        rows = grant.limits.of(Access.READ).rows
        return RunnableQuery(
            known.tree, binds, arguments, modifies, max_rows=rows, may_read=may_read
        )

    def _refuse_parts(self, known: KnownQuery, asker: QueryAsker) -> None:
        subject, version = asker.subject, asker.policy.version
        granted = asker.policy.query_parts(subject.principal, subject.database, roles=asker.roles)
        if granted is None:
            raise PermissionDenied(
                f"{subject.principal!r} may run approved queries alone (policy version {version}),"
                " and this text is none of them",
                details={"missing": {"query": known.digest}, "policy_version": version},
            )
        refused = refusals(known.tree, Allowance().granting(kinds=granted, functions=granted))
        if refused:
            listed = "; ".join(str(one) for one in refused[:MAX_NAMED])
            raise PermissionDenied(
                f"a query of your own may not use {listed}",
                details={
                    "refused": [one.name for one in refused[:MAX_NAMED]],
                    "policy_version": version,
                },
            )


def _refuse_change(known: KnownQuery) -> None:
    """Refuse what changes documents in a query that was signed as one that reads."""
    if known.analysis.modifies:
        first = known.analysis.writes[0].statement
        raise PermissionDenied(
            f"the query was sent to read alone (read_only), but changes documents at {first.at}",
            details={"missing": {"operation": "aql", "read_only": False}},
        )


def _refuse_undetermined(known: KnownQuery) -> None:
    """Refuse a change that the trail could not have made again."""
    if known.undetermined:
        listed = "; ".join(str(one) for one in known.undetermined[:MAX_NAMED])
        raise NotSupported(f"a query that changes documents may not use {listed}")


def _named(known: KnownQuery, binds: dict[str, Any]) -> QueryCollections:
    """The collections that stand in a query with these values."""
    return QueryCollections(known.analysis.read_names(binds), known.analysis.write_names(binds))


def refuse_reserved_graphs(names: Iterable[str]) -> None:
    """Refuse graphs that belong to the gateway, whether they are there or not.

    Raises:
        ReservedName
    """
    for name in sorted(names):
        if is_reserved(name):
            raise ReservedName(
                f"graph {name!r:.80}: names that begin with _ or mallku_ belong to the gateway",
                details={"field": "graph"},
            )


def refuse_reserved_handles(binds: dict[str, Any], *, puts_together: bool) -> None:
    """Refuse bind values that name a document of the gateway's own, wherever they stand in them.

    An approved query may look documents up by ids that it is given, or by ids that it puts together
    of parts: then no value may be the name of a collection of the gateway's own either.

    Raises:
        ReservedName
    """
    waiting: list[Any] = list(binds.values())
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, str) and (
            RESERVED_HANDLE.fullmatch(value) or (puts_together and RESERVED_NAME.fullmatch(value))
        ):
            raise ReservedName(
                "bind_vars: names that begin with _ or mallku_ belong to the gateway",
                details={"field": "bind_vars"},
            )
