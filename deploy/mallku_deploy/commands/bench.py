"""`bench`: how quick a gateway answers, yours or one that is started for the purpose."""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from mallku_contracts.limits import KIB
from mallku_deploy.bench import measure
from mallku_deploy.options import MAX_WORKERS, As, Compact, Data, EnvFile

OPERATIONS: Final = ("insert", "get", "mixed")

MAX_ROUNDS: Final = 100
"""Runs of one operation."""

MAX_SIZE: Final = 16 * KIB
"""A document's JSON, bytes."""


def bench(
    operation: Annotated[
        Literal["insert", "get", "mixed", "all"],
        typer.Argument(help="What is asked; mixed: one insert in five calls, else get."),
    ] = "all",
    *,
    env_file: EnvFile = None,
    principal: As = None,
    data: Data = None,
    collection: Annotated[str, typer.Option(help="Where documents are put.")] = "bench",
    in_flight: Annotated[
        int, typer.Option(help="Calls at once.", min=1, max=measure.MAX_IN_FLIGHT)
    ] = measure.DEFAULT_IN_FLIGHT,
    seconds: Annotated[
        float, typer.Option(help="The longest run, seconds.", min=0.1, max=measure.MAX_SECONDS)
    ] = measure.DEFAULT_SECONDS,
    count: Annotated[
        int, typer.Option(help="The most calls of a run.", min=1, max=measure.MAX_COUNT)
    ] = measure.DEFAULT_COUNT,
    rounds: Annotated[
        int, typer.Option(help="Runs of each operation, in turns.", min=1, max=MAX_ROUNDS)
    ] = 5,
    size: Annotated[
        int, typer.Option(help="A document's JSON, bytes, about.", min=1, max=MAX_SIZE)
    ] = 512,
    workers: Annotated[
        int, typer.Option(help="Workers of a gateway that is started here.", min=1, max=MAX_WORKERS)
    ] = 1,
    compact: Compact = False,
) -> None:
    """Measure signed, authorized, audited commands: throughput, latency, CPU.

    With MALLKU_API_GATEWAY_URL, `--env-file`, `--as` or `--data` it asks that gateway, and leaves
    its documents in the collection and its commands on the trail. Otherwise it starts an embedded
    gateway in a temporary folder, and can tell the CPU of that gateway's processes too.
    """
    from mallku_deploy.bench.play import Plan, embedded, given, play, show
    from mallku_deploy.extras import require_gateway
    from mallku_deploy.speaker import find_speaker
    from mallku_deploy.terminal import show_json

    asked = OPERATIONS if operation == "all" else (operation,)
    load = measure.Load(in_flight=in_flight, count=count, seconds=seconds)
    plan = Plan(asked, load, rounds, collection, size)
    if _names_a_gateway(env_file, principal, data):
        target = given(find_speaker(env_file, principal, data))
    else:
        require_gateway()
        target = embedded(workers)
    figures = asyncio.run(play(target, plan))
    if compact:
        found = {name: asdict(one) for name, one in figures.items()}
        show_json({"plan": asdict(plan), "figures": found}, compact=True)
    else:
        show(figures, plan)


def _names_a_gateway(env_file: Path | None, principal: str | None, data: Path | None) -> bool:
    named = any(value is not None for value in (env_file, principal, data))
    return named or bool(os.environ.get("MALLKU_API_GATEWAY_URL"))
