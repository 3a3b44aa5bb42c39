"""How commands that read the trail end: at the end, by Ctrl-C, or when nobody reads any more."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from typing import Any

import typer

from mallku_deploy.interruption import interruptible


def run(work: Coroutine[Any, Any, int]) -> None:
    """Run to the end; `typer.Exit` with the exit code unless it is 0."""
    try:
        code = asyncio.run(interruptible(work))
    except BrokenPipeError:  # whoever read along has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    if code:
        raise typer.Exit(code)
