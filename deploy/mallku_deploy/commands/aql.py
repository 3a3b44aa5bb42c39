"""`aql`: run a query and print its rows as they come."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from mallku_deploy.counting import counted
from mallku_deploy.options import As, Data, EnvFile

if TYPE_CHECKING:  # what a query needs is loaded when it is asked
    from mallku_client import QueryCursor, SecuredDatabaseInterface
    from mallku_client.settings import ClientSettings
    from mallku_contracts.errors import MallkuError
    from mallku_contracts.results import QueryStatistics
    from mallku_deploy.rows import ShowRows

LEAST_MEMORY_TOLD_BYTES: Final = 100_000
"""Less memory than this is nothing that anybody would look at, bytes."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A query as it was typed."""

    text: str
    binds: dict[str, Any]
    options: dict[str, Any]
    explain: bool


def aql(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The query; - reads it.")],
    *,
    bind: Annotated[
        str | None, typer.Option("--bind", metavar="JSON", help="The bind values, an object.")
    ] = None,
    bind_file: Annotated[
        Path | None, typer.Option("--bind-file", help="A file with the bind values.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, help="Rows fetched at a time.")
    ] = None,
    count: Annotated[
        bool, typer.Option("--count", help="Say first how many rows there are.")
    ] = False,
    full_count: Annotated[
        bool,
        typer.Option("--full-count", help="Say as well how many there are without the last LIMIT."),
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show the way to the documents; run nothing.")
    ] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Show the way to the documents as well.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One line of JSON for each row, on terminals too.")
    ] = False,
    as_table: Annotated[bool, typer.Option("--table", help="Tables, whatever the rows.")] = False,
    env_file: EnvFile = None,
    principal: As = None,
    data: Data = None,
) -> None:
    """Run a query and print its rows as they come: one line of JSON each, or tables for people.

    Values go in by `--bind`, never into the text. Warnings and what the query did are told on
    standard error. Ctrl-C gives back the rows that were not fetched.
    """
    from mallku_contracts.errors import CollectionNotFound, GraphNotFound, QueryError
    from mallku_deploy.interruption import interruptible
    from mallku_deploy.rows import rows_shower
    from mallku_deploy.speaker import find_speaker
    from mallku_deploy.terminal import REFUSED

    asked = _Asked(
        _read_text(text),
        _read_binds(bind, bind_file),
        {
            "batch_size": batch_size,
            "count": count,
            "full_count": full_count,
            "profile": profile,
        },
        explain,
    )
    speaker = find_speaker(env_file, principal, data)
    show = rows_shower(as_json=as_json, as_table=as_table)
    try:
        code = asyncio.run(interruptible(_ask(speaker, asked, show)))
    except (QueryError, CollectionNotFound, GraphNotFound) as error:
        _show_wrong_query(error, asked.text)
        code = REFUSED
    except BrokenPipeError:  # whoever read the rows has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    if code:
        raise typer.Exit(code)


async def _ask(speaker: ClientSettings, asked: _Asked, show: ShowRows) -> int:
    from mallku_client import SecuredDatabaseInterface

    async with await SecuredDatabaseInterface.connect(settings=speaker) as db:
        if asked.explain:
            show(await db.aql.explain(asked.text, bind_vars=asked.binds))
        else:
            await _run(db, asked, show)
    return 0


async def _run(db: SecuredDatabaseInterface, asked: _Asked, show: ShowRows) -> None:
    from mallku_deploy.terminal import err

    async with await db.aql.execute(asked.text, bind_vars=asked.binds, **asked.options) as cursor:
        if (told := announced(cursor.count(), cursor.full_count())) is not None:
            err.print(f"[dim]{told}[/]")
        shown = 0
        while rows := await cursor.take():
            show(rows)
            shown += len(rows)
        _show_account(cursor, shown)


def _show_account(cursor: QueryCursor, shown: int) -> None:
    """Warnings, then in one line what the query did."""
    from rich.markup import escape

    from mallku_deploy.terminal import err

    for warning in cursor.warnings():
        err.print(f"[yellow]warning {warning['code']}[/]  {escape(warning['message'])}")
    for loop in cursor.plan() or ():
        err.print(f"[dim]loop over {escape(loop['collection'])}: {escape(loop['access'])}[/]")
    err.print(f"[dim]{account(shown, cursor.statistics())}[/]")


def announced(count: int | None, full_count: int | None) -> str | None:
    """How many rows there will be, as far as that was asked for."""
    if count is None:
        return None
    told = f"{counted(count, 'row')} to come"
    return told if full_count is None else f"{told}, {full_count} without the last LIMIT"


def account(shown: int, did: QueryStatistics) -> str:
    """In one line what a query did."""
    from rich.filesize import decimal

    told = {
        "written": did["writes_executed"],
        "ignored": did["writes_ignored"],
        "scanned": did["scanned_full"],
        "found by index": did["scanned_index"],
        "filtered out": did["filtered"],
    }
    parts = [counted(shown, "row"), *(f"{n} {name}" for name, n in told.items() if n)]
    if did["peak_memory"] >= LEAST_MEMORY_TOLD_BYTES:
        parts.append(f"memory used at most {decimal(did['peak_memory'])}")
    return ", ".join(parts)


def _show_wrong_query(error: MallkuError, text: str) -> None:
    """The error, and the place in the query that it means."""
    from mallku_deploy.caret import point_at
    from mallku_deploy.terminal import err, show_error

    show_error(error)
    line, column = error.details.get("line"), error.details.get("column")
    if isinstance(line, int) and isinstance(column, int):
        pointed = point_at(text, line, column, err.width)
        err.print(pointed, markup=False, no_wrap=True, overflow="ignore", crop=False)


def _read_text(text: str) -> str:
    from mallku_contracts.arguments import MAX_QUERY_CHARS
    from mallku_contracts.errors import InvalidArguments

    given = sys.stdin.read(MAX_QUERY_CHARS + 1) if text == "-" else text
    if len(given) > MAX_QUERY_CHARS:
        raise InvalidArguments(f"query: more than {MAX_QUERY_CHARS} characters")
    return given


def _read_binds(text: str | None, file: Path | None) -> dict[str, Any]:
    from mallku_broker.files import read_text
    from mallku_contracts.errors import InvalidArguments
    from mallku_deploy.reading import read_json

    if text is not None and file is not None:
        raise InvalidArguments("bind values: give either --bind or --bind-file")
    if file is not None:
        return read_json(read_text(file, "bind values"), str(file), InvalidArguments)
    return read_json(text, "--bind", InvalidArguments)
