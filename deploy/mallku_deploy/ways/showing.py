"""`trace`: from an id to a drawing."""

from __future__ import annotations

from pathlib import Path

from mallku_client.settings import ClientSettings
from mallku_deploy.auditing.auditor import open_trail
from mallku_deploy.auditing.governing import find_hiding
from mallku_deploy.terminal import out, show_json
from mallku_deploy.ways.drawing import described, draw
from mallku_deploy.ways.finding import find_way


async def show_way(
    settings: ClientSettings,
    wanted: str,
    policy: Path | None,
    *,
    principal: str | None,
    as_json: bool,
) -> int:
    """Find the command on the trail and show its way; returns the exit code.

    Raises:
        ConfigurationError: it is no id, or the trail knows nothing of it.
    """
    async with await open_trail(settings) as reader:
        hiding = await find_hiding(reader, policy)
        way = await find_way(reader, wanted, hiding, principal=principal)
    if as_json:
        show_json(described(way), compact=True)
        return 0
    for line in draw(way, out.width):
        out.print(line, soft_wrap=True)
    return 0
