"""`audit custody`: how the trail's streams are kept, as an auditor sees it."""

from __future__ import annotations

from typing import Any

from rich.markup import escape
from rich.table import Table

from mallku_broker.accounts import (
    AUDITOR_PREFIX,
)
from mallku_broker.connection import GatewayConnection
from mallku_broker.custody import StreamCustody, judge_custody
from mallku_broker.generations import generations
from mallku_broker.jetstream import ask
from mallku_broker.streams import CHECKPOINTS
from mallku_client.settings import ClientSettings
from mallku_contracts.limits import MIB
from mallku_deploy.administration import connect_by
from mallku_deploy.terminal import out, show_json


async def look(auditor: ClientSettings) -> list[StreamCustody]:
    """Ask for the trail's streams.

    Raises:
        ConfigurationError: a setting is missing.
        GatewayUnreachable: the broker is silent, or this is no auditor.
    """
    connection = await connect_by(auditor)
    try:
        return await look_at(connection)
    finally:
        await connection.close()


async def look_at(connection: GatewayConnection) -> list[StreamCustody]:
    """Ask for the trail's streams over an auditor's connection; errors as of `jetstream.ask`."""
    *former, newest = [each.name for each in await generations(connection, api=AUDITOR_PREFIX)]
    return [
        judge_custody(
            await ask(connection, f"STREAM.INFO.{each}", {}, api=AUDITOR_PREFIX),
            sealed=each in former,
        )
        for each in (*former, newest, CHECKPOINTS)
    ]


def show(found: list[StreamCustody], *, compact: bool) -> None:
    """For machines, or for people: a row for each stream, and a line for each weakness."""
    if compact:
        show_json([_plain(each) for each in found], compact=True)
        return
    table = Table("stream", "used", "copies", "kept on", "placement", "read by", box=None)
    for each in found:
        table.add_row(*map(escape, _cells(each)))
    out.print(table)
    for each in found:
        for words in complaints(each):
            out.print(f"[red]✗[/] {escape(words)}")
    if all(each.is_sound for each in found):
        out.print("[green]✓[/] nothing can be deleted, purged, replaced or left out")


def complaints(found: StreamCustody) -> list[str]:
    """What is wrong, a sentence each; nothing for a stream that is sound."""
    words = [str(drift) for drift in found.weak]
    words += [f"{found.stream}: {server} does not have all of it" for server in found.behind]
    if found.fill.alarming:
        words.append(f"{found.stream}: {found.fill.share:.0%} full; full, it refuses everything")
    return words


def _cells(found: StreamCustody) -> tuple[str, ...]:
    limit = f" of {found.fill.limit / MIB:.0f} MiB" if found.fill.limit else " MiB, no limit"
    placement = [str(found.placement.get("cluster", "")), *found.placement.get("tags", ())]
    return (
        found.stream,
        f"{found.fill.used / MIB:.1f}{limit}",
        str(found.copies),
        ", ".join(found.servers) or "-",
        " ".join(filter(None, placement)) or "anywhere",
        str(found.consumers),
    )


def _plain(found: StreamCustody) -> dict[str, Any]:
    return {
        "stream": found.stream,
        "sound": found.is_sound,
        "complaints": complaints(found),
        "bytes": found.fill.used,
        "limit": found.fill.limit,
        "copies": found.copies,
        "servers": list(found.servers),
        "placement": dict(found.placement),
        "consumers": found.consumers,
    }
