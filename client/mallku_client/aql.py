"""Queries in ArangoDB's query language, where python-arango has them: `db.aql`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from mallku_client.arguments import asked, given
from mallku_client.commands import Commands
from mallku_client.options import CallOptions
from mallku_client.query_cursor import QueryCursor

if TYPE_CHECKING:  # brings pydantic, which a client has no other use for
    from mallku_contracts.results import PlannedAccess, QueryResult, QueryRows


class AQL:
    """Sends queries. Values go in as `bind_vars`, never into the text.

    A query may change documents, so that it is sent again as every mutation is: its effect happens
    once.
    """

    def __init__(self, commands: Commands) -> None:
        self._commands = commands

    async def execute(
        self,
        query: str,
        count: bool = False,
        batch_size: int | None = None,
        *,
        bind_vars: dict[str, Any] | None = None,
        full_count: bool = False,
        fail_on_warning: bool = False,
        profile: bool = False,
        read_only: bool = False,
        **options: Unpack[CallOptions],
    ) -> QueryCursor:
        """Have a query run; its first page is here, and the rest is fetched as it is asked for.

        Args:
            count: Have all rows made at once, so that `cursor.count()` knows how many there are.
            batch_size: Rows in one page; fewer come where they would be too large together.
            full_count: As `count`, and `cursor.full_count()` says how many there were without the
                last `LIMIT`.
            fail_on_warning: Raise what would be a warning.
            profile: Have `cursor.plan()` say how the query got at its documents.
            read_only: Have the worker refuse the query if it would change documents: for texts
                into which somebody else's words may have come.

        Raises:
            InvalidQuery: the text or a bind value is wrong; `details` has line and column.
            QueryFailed, ResourceLimit: it ran into something; nothing of it was kept.
            PermissionDenied: naming what the query may not use.
        """
        arguments = given(query=query, batch_size=batch_size, bind_vars=bind_vars) | asked(
            count=count,
            full_count=full_count,
            fail_on_warning=fail_on_warning,
            profile=profile,
            read_only=read_only,
        )
        answer = await self._commands.send("aql", None, arguments, **options)
        first: QueryResult = answer.result
        timeout_s = options.get("timeout")

        async def ask_worker(worker: str, arguments: dict[str, Any]) -> QueryRows:
            answer = await self._commands.ask_worker(worker, arguments, timeout_s=timeout_s)
            page: QueryRows = answer.result
            return page

        return QueryCursor(first, ask_worker)

    async def explain(
        self,
        query: str,
        *,
        bind_vars: dict[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> list[PlannedAccess]:
        """How a query would get at its documents: `{"collection", "access"}` of each loop.

        Nothing is run. `access` is `full`, `primary`, or the name of an index.
        """
        arguments = given(query=query, bind_vars=bind_vars) | asked(explain=True)
        answer = await self._commands.send("aql", None, arguments, **options)
        result: QueryResult = answer.result
        return result.get("plan", [])
