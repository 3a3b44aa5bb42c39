"""`health`: whether workers are ready, and why not: by discovery, or at one worker's address."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from rich.markup import escape

from mallku_client.settings import ClientSettings
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable
from mallku_deploy.terminal import REFUSED, out, show_json
from mallku_deploy.watching.finding import open_finder
from mallku_deploy.watching.sighting import Sighting

HTTP_S: Final = 3.0
"""What one worker may take to answer over HTTP, seconds."""

MAX_BODY_BYTES: Final = 65_536
"""What is read of that answer, bytes."""


async def health(settings: ClientSettings, *, expected: int, as_json: bool) -> int:
    """Show each worker's health; 0 when all that are expected are ready, else 1.

    Args:
        expected: How many there should be; 0 takes those that answer, at least one.

    Raises:
        ConfigurationError, GatewayUnreachable: as `open_finder`.
    """
    async with open_finder(settings) as finder:
        sightings = await finder.look(expected=expected)
    ready = [one for one in sightings if one.is_ready]
    fine = len(ready) == len(sightings) and len(ready) >= max(expected, 1)
    if as_json:
        workers = [_said(one) for one in sightings]
        show_json({"ready": fine, "expected": expected, "workers": workers}, compact=True)
        return 0 if fine else REFUSED
    for one in sightings:
        _show(one.principal or one.instance, one.is_ready, one.reasons)
    if len(sightings) < max(expected, 1):
        out.print(f"[bold red]✗[/] {len(sightings)} of {max(expected, 1)} workers answer")
    return 0 if fine else REFUSED


def probe(address: str, *, as_json: bool) -> int:
    """Ask one worker over HTTP whether it is ready; 0 when it is, else 1.

    Args:
        address: `http://HOST:PORT`, or `HOST:PORT`.

    Raises:
        ConfigurationError: that is no such address.
        GatewayUnreachable: nobody answers there as a worker does.
    """
    ready, said = _ask(address)
    if as_json:
        show_json(said, compact=True)
    else:
        _show(address, ready, tuple(str(reason) for reason in said.get("reasons", ())))
    return 0 if ready else REFUSED


def _ask(address: str) -> tuple[bool, Mapping[str, Any]]:
    parts = urlsplit(address if "//" in address else f"//{address}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host is None or port is None or parts.scheme not in {"", "http"}:
        raise ConfigurationError(f"{address!r} is no http://HOST:PORT")
    connection = http.client.HTTPConnection(host, port, timeout=HTTP_S)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        said = json.loads(answer.read(MAX_BODY_BYTES))
        return answer.status == http.client.OK, said if isinstance(said, dict) else {}
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise GatewayUnreachable(f"{address}: no worker answers there ({error})") from None
    finally:
        connection.close()


def _said(one: Sighting) -> dict[str, Any]:
    return {
        "worker": one.principal,
        "id": one.instance,
        "ready": one.is_ready,
        "parts": one.health.get("parts", {}),
        "reasons": list(one.reasons),
    }


def _show(who: str, ready: bool, reasons: tuple[str, ...]) -> None:
    mark = "[green]✓[/]" if ready else "[bold red]✗[/]"
    out.print(f"{mark} {escape(who)}  {'ready' if ready else 'not ready'}")
    for reason in reasons:
        out.print(f"    {escape(reason)}")
