"""What the server says about a message that it delivers for a consumer (ADR-15)."""

from __future__ import annotations

from typing import Final, NamedTuple

DELIVERED: Final = "$JS.ACK."
"""What the reply subject of a delivered message begins with."""

_TOKENS: Final = 9
"""`$JS.ACK.stream.consumer.delivered.sequence.consumer sequence.time.pending`; newer servers put
two tokens before the stream, and may add one at the end."""


class Delivery(NamedTuple):
    """Which message it is, of which consumer, and what is yet to come.

    Attributes:
        sequence: The message's place in the stream.
        number: Counts what the consumer delivered, from 1.
        time_ns: When the stream stored it, Unix nanoseconds.
        pending: Messages that the consumer has yet to deliver.
    """

    consumer: str
    sequence: int
    number: int
    time_ns: int
    pending: int


def told(reply: str) -> Delivery:
    """Read the reply subject of a delivered message; `ValueError` when it is not one."""
    tokens = _tokens(reply)
    return Delivery(tokens[3], int(tokens[5]), int(tokens[6]), int(tokens[7]), int(tokens[8]))


def told_of_delivery(reply: str) -> tuple[str, int]:
    """Of which stream it is, and how often it was delivered, this time included; as `told`."""
    tokens = _tokens(reply)
    return tokens[2], int(tokens[4])


def _tokens(reply: str) -> list[str]:
    tokens = reply.split(".")
    if len(tokens) > _TOKENS:
        tokens = tokens[:2] + tokens[4:]
    if len(tokens) < _TOKENS:
        raise ValueError("not the reply subject of a delivered message")
    return tokens
