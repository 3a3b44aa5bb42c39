"""One uvicorn worker for the peer; says `ready PORT` once it listens on a free loopback port."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import uvicorn

from mallku_contracts.policy import CompiledPolicy, read_policy
from tests.benchmarks.peer.app import Gateway, create_app
from tests.benchmarks.peer.identity import Tokens
from tests.benchmarks.peer.store import Store


def main(policy: str, database: str, public_key: str, remember: str) -> None:
    """Serve until SIGTERM; the arguments are paths, a key in hexadecimal, and `yes` or `no`."""
    gateway = Gateway(
        Tokens(bytes.fromhex(public_key), remember=remember == "yes"),
        CompiledPolicy(read_policy(Path(policy).read_text(encoding="utf-8"))),
        Store(Path(database)),
    )
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    # uvicorn takes uvloop and httptools by itself where they are installed.
    config = uvicorn.Config(create_app(gateway), access_log=False, log_level="warning")
    print(f"ready {listener.getsockname()[1]}", flush=True)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(*sys.argv[1:])
