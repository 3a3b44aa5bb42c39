"""One uvicorn worker for the peer; says `ready PORT` once it listens on a free loopback port."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Final

import uvicorn

from mallku_contracts.policy import CompiledPolicy, read_policy
from mallku_workers.collecting import spare_the_collector
from tests.benchmarks.peer.app import Gateway, create_app
from tests.benchmarks.peer.identity import Tokens
from tests.benchmarks.peer.store import Store

KEEP_ALIVE_S: Final = 600
"""How long an idle connection is kept, seconds."""


def main(policy: str, database: str, public_key: str, remember: str) -> None:
    """Serve until SIGTERM; the arguments are paths, a key in hexadecimal, and `yes` or `no`."""
    gateway = Gateway(
        Tokens(bytes.fromhex(public_key), remember=remember == "yes"),
        CompiledPolicy(read_policy(Path(policy).read_text(encoding="utf-8"))),
        Store(Path(database)),
    )
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    # uvicorn takes uvloop and httptools by itself where they are installed.
    # Connections are kept between the turns of a benchmark, which are further apart than 5 s.
    config = uvicorn.Config(
        create_app(gateway), access_log=False, log_level="warning", timeout_keep_alive=KEEP_ALIVE_S
    )
    spare_the_collector()
    print(f"ready {listener.getsockname()[1]}", flush=True)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(*sys.argv[1:])
