"""A worker whose store takes its time: a program, started by `scaling` alone."""

from __future__ import annotations

import asyncio
import os
import sys
from functools import wraps
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from mallku_deploy.worker import main
from mallku_workers.stores.embedded import EmbeddedStore

VARIABLE = "SCALING_WAIT_MS"
"""The environment variable that says how long the store waits, milliseconds."""


def _slow_down(wait_s: float) -> None:
    execute = EmbeddedStore.execute

    @wraps(execute)
    async def wait_and_execute(store: EmbeddedStore, work: Any) -> Any:
        await asyncio.sleep(wait_s)
        return await execute(store, work)

    EmbeddedStore.execute = wait_and_execute  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    _slow_down(float(os.environ[VARIABLE]) / 1_000)
    raise SystemExit(main())
