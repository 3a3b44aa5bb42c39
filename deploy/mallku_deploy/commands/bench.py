"""`bench`: how quick a gateway answers, yours or one that is started for the purpose."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from mallku_client.settings import ClientSettings
from mallku_deploy import bench as measuring
from mallku_deploy.bench import Figures, Load, Run, Spread
from mallku_deploy.events import Event
from mallku_deploy.options import As, Compact, Data, EnvFile

Processes = Callable[[], Mapping[str, Sequence[int]]]

_PARTS: Final = ("client", "workers", "nats-server")


def bench(
    operation: Annotated[
        Literal["insert", "get", "mixed", "all"],
        typer.Argument(help="What is asked; mixed: one insert in five calls, else get."),
    ] = "all",
    env_file: EnvFile = None,
    principal: As = None,
    data: Data = None,
    collection: Annotated[str, typer.Option(help="Where documents are put.")] = "bench",
    in_flight: Annotated[
        int, typer.Option(help="Calls at once.", min=1, max=measuring.MAX_IN_FLIGHT)
    ] = measuring.DEFAULT_IN_FLIGHT,
    seconds: Annotated[
        float, typer.Option(help="The longest run, seconds.", min=0.1, max=measuring.MAX_SECONDS)
    ] = measuring.DEFAULT_SECONDS,
    count: Annotated[
        int, typer.Option(help="The most calls of a run.", min=1, max=measuring.MAX_COUNT)
    ] = measuring.DEFAULT_COUNT,
    rounds: Annotated[
        int, typer.Option(help="Runs of each operation, in turns.", min=1, max=measuring.MAX_ROUNDS)
    ] = measuring.DEFAULT_ROUNDS,
    size: Annotated[
        int, typer.Option(help="A document's JSON, bytes.", min=1, max=measuring.MAX_SIZE)
    ] = measuring.DEFAULT_SIZE,
    workers: Annotated[
        int, typer.Option(help="Workers of a gateway that is started here.", min=1, max=64)
    ] = 1,
    compact: Compact = False,
) -> None:
    """Measure signed, authorized, audited commands: throughput, latency, CPU.

    With MALLKU_API_GATEWAY_URL, `--env-file`, `--as` or `--data` it asks that gateway, and leaves
    its documents in the collection and its commands on the trail. Otherwise it starts an embedded
    gateway in a temporary folder, and can tell the CPU of its processes too.

    Examples:

    [cyan]mallku-gateway bench insert --in-flight 256[/]
    """
    load = Load(in_flight, count, seconds)
    asked = measuring.OPERATIONS if operation == "all" else (operation,)
    if _names_a_gateway(env_file, principal, data):
        from mallku_deploy.speaker import find_speaker

        gateway = _yours(find_speaker(env_file, principal, data))
    else:
        gateway = _embedded(workers)
    figures = asyncio.run(_measure(gateway, collection, asked, load, rounds, size))
    if compact:
        from mallku_deploy.terminal import out

        found = {name: asdict(one) for name, one in figures.items()}
        out.out(json.dumps({"load": asdict(load), "figures": found}), highlight=False)
    else:
        _show(figures, load, rounds)


def _names_a_gateway(env_file: Path | None, principal: str | None, data: Path | None) -> bool:
    named = any(value is not None for value in (env_file, principal, data))
    return named or bool(os.environ.get("MALLKU_API_GATEWAY_URL"))
