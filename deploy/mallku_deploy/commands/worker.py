"""`worker`'s help; the work is done by `mallku_deploy.worker`, without the terminal library."""

from __future__ import annotations

import typer


def worker() -> None:
    """Run one worker in this process until SIGTERM, then drain and exit 0.

    `up` starts workers by itself; this is how they run anywhere else. Everything comes from
    the environment: MALLKU_WORKER_URL, _BUS_CREDENTIALS, _RECORDS_CREDENTIALS, _KEY_FILE,
    _TOKEN_FILE, _TRUST_FILE, _STORE, _STORE_DIRECTORY, _DATABASES. What is missing is
    named.
    """
    from mallku_deploy.worker import main

    raise typer.Exit(main())
