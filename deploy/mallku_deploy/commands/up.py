"""`up`: the whole gateway on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from mallku_deploy.options import MAX_WORKERS, Data, DurabilityKind, StoreKind


def up(
    *,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Worker processes. Default: 2", min=1, max=MAX_WORKERS, show_default=False
        ),
    ] = None,
    data: Data = None,
    port: Annotated[
        int | None,
        typer.Option(
            help="Where NATS listens on loopback; 0 takes a free port."
            " Default: 4222, or a free one where that is taken",
            min=0,
            max=65_535,
            show_default=False,
        ),
    ] = None,
    store: Annotated[
        StoreKind,
        typer.Option(
            help="Which store the workers use; for arango, MALLKU_WORKER_ARANGO_URL and its"
            " neighbours say where it is."
        ),
    ] = "embedded",
    durability: Annotated[
        DurabilityKind,
        typer.Option(
            help="What acknowledged changes survive. flush: a crash of any process;"
            " fsync: a loss of power as well, at some cost."
        ),
    ] = "flush",
    tls: Annotated[
        bool,
        typer.Option(
            "--tls", help="TLS for everybody, certificates on both sides; an authority is made."
        ),
    ] = False,
    encrypt_store: Annotated[
        bool,
        typer.Option(
            "--encrypt-store", help="Encrypt streams on disk, from now on and at every start."
        ),
    ] = False,
    http: Annotated[bool, typer.Option("--http", help="The HTTP door too, on loopback.")] = False,
    http_port: Annotated[
        int,
        typer.Option(help="Where it listens; 0 takes a free port.", min=0, max=65_535),
    ] = 8080,
    env_file: Annotated[
        Path | None,
        typer.Option("--env-file", help="Once ready, put there what a client needs (0600)."),
    ] = None,
) -> None:
    """Run NATS, workers and a store here; say how to reach them; stop with Ctrl-C.

    Keys, tokens, policy, streams and documents lie in the data directory and are used again at the
    next start. Workers that die or hang are replaced, and so is the NATS server. A second
    `up` on the same directory says how to reach the first.
    """
    from mallku_deploy.extras import require_gateway, require_http
    from mallku_deploy.house import House, default_house
    from mallku_deploy.stay import Wanted, stay

    require_gateway()
    house = House(data.absolute()) if data else default_house()
    if http:
        require_http()
    door = http_port if http else None
    wanted = Wanted(workers, port, tls, encrypt_store, store, durability, door)
    asyncio.run(stay(house, wanted, env_file))
