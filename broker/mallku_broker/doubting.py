"""Whether a server that says nothing is still there."""

from __future__ import annotations

import asyncio

import nats.errors

from mallku_broker.connection import GatewayConnection


async def doubt(connection: GatewayConnection, patience_s: float) -> bool:
    """Ask the server whether it is there, and give it up for the next if it does not answer.

    A connection that is down is left as it is.

    Args:
        patience_s: How long it may take to answer, seconds.

    Returns:
        Whether it was given up.
    """
    if not connection.is_up:
        return False
    try:
        async with asyncio.timeout(patience_s):
            await connection.flush()
    except TimeoutError:
        connection.abort()
        return True
    except nats.errors.Error:
        return False  # it ended meanwhile, or was closed
    return False
