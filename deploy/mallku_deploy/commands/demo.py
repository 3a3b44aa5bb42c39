"""`demo`: a whole gateway for a minute, playing a short true story."""

from __future__ import annotations

import asyncio

import typer


def demo() -> None:
    """Start NATS, two workers and an embedded store; play a story; check every sentence of it.

    Writes, reads, a batch, refusals with their reasons, a tampered and a replayed command, 2,000
    commands with their latencies, the audit trail counted against what was sent. Everything is
    real and lies in a temporary directory. Exit code 0 only when every promise was kept.
    """
    from mallku_deploy.extras import require_gateway

    require_gateway()
    from mallku_deploy.demo.play import play
    from mallku_deploy.interruption import interruptible

    raise typer.Exit(asyncio.run(interruptible(play())))
