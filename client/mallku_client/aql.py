"""Queries in ArangoDB's query language, where python-arango has them: `db.aql`."""

from __future__ import annotations

from typing import Any, Unpack

from mallku_client.arguments import asked, given
from mallku_client.commands import Commands
from mallku_client.options import CallOptions


class AQL:
    """Sends queries. Gateways of this version refuse them by name (`NotSupported`)."""

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
        profile: bool = False,
        **options: Unpack[CallOptions],
    ) -> dict[str, Any]:
        """Have a query run and return its first page, as the operation `aql` gives it.

        Raises:
            NotSupported: the gateway runs no queries.
        """
        arguments = given(query=query, batch_size=batch_size, bind_vars=bind_vars) | asked(
            count=count, full_count=full_count, profile=profile
        )
        answer = await self._commands.send("aql", None, arguments, **options)
        page: dict[str, Any] = answer.result
        return page
