"""What a reader makes of what one consumer delivers, message by message."""

from __future__ import annotations

import pytest

from mallku_broker.deliveries import told
from mallku_broker.pulling import Pulled


def _reply(sequence: int, number: int, *, pending: int = 9, consumer: str = "me") -> str:
    return f"$JS.ACK.MALLKU_AUDIT.{consumer}.1.{sequence}.{number}.1700000000123456789.{pending}"


def _status(line: str) -> bytes:
    return f"NATS/1.0 {line}\r\n\r\n".encode()


def test_both_ways_to_say_where_a_message_stands_are_read() -> None:
    """Newer servers put a domain and an account before the stream, and a token at the end."""
    old = told("$JS.ACK.S.c.1.7.3.1700000000000000000.2")
    new = told("$JS.ACK._.hash.S.c.1.7.3.1700000000000000000.2.random")
    assert old == new == ("c", 7, 3, 1700000000000000000, 2)


@pytest.mark.parametrize("reply", ["$JS.ACK.S.c.1.7.3", "$JS.ACK.S.c.1.x.3.1.2", "$JS.ACK."])
def test_what_says_no_place_is_no_message_of_a_stream(reply: str) -> None:
    """It is not guessed where a message belongs: that consumer is given up."""
    pulled = Pulled("me", 0)
    pulled.take("a", reply, b"")
    assert pulled.broken
    assert pulled.entries == []


def test_messages_keep_place_time_and_bytes() -> None:
    """Times are milliseconds; sizes are added up; the last one says that nothing is left."""
    pulled = Pulled("me", 4)
    pulled.take("a.b", _reply(5, 1), b"one")
    dry = [pulled.dry]
    pulled.take("a.c", _reply(9, 2, pending=0), b"three")
    dry.append(pulled.dry)
    assert pulled.entries == [
        (5, "a.b", 1700000000123, b"one"),
        (9, "a.c", 1700000000123, b"three"),
    ]
    assert pulled.size == 8
    assert dry == [False, True]
    assert not pulled.broken


@pytest.mark.parametrize("reply", [_reply(7, 3), _reply(6, 1), _reply(5, 2), _reply(4, 2)], ids=str)
def test_a_gap_and_a_repetition_end_it(reply: str) -> None:
    """A message that was lost, or comes twice, or goes back in the stream, is not taken."""
    pulled = Pulled("me", 4)
    pulled.take("a", _reply(5, 1), b"")
    pulled.take("a", reply, b"")
    assert pulled.broken
    assert [entry.sequence for entry in pulled.entries] == [5]


def test_what_a_former_consumer_still_sends_is_not_taken() -> None:
    """It would come a second time."""
    pulled = Pulled("me", 4)
    pulled.take("a", _reply(5, 1, consumer="former"), b"")
    assert pulled.entries == []
    assert not pulled.broken


def test_requests_end_by_messages_and_by_what_the_server_says() -> None:
    """They are served in their order; one that expired or is full makes room for another."""
    pulled = Pulled("me", 0)
    pulled.requested("in.1", 2)
    pulled.requested("in.2", 2)
    for number in (1, 2, 3):
        pulled.take("a", _reply(number, number), b"")
    assert pulled.open_requests == 1
    pulled.hear("in.1", _status("408 Request Timeout"))  # late: it was served
    assert pulled.open_requests == 1
    pulled.hear("in.2", _status("100 Idle Heartbeat"))
    assert pulled.open_requests == 1
    pulled.hear("in.2", _status("408 Request Timeout"))
    assert pulled.open_requests == 0
    for line in ("409 Message Size Exceeds MaxBytes", "404 No Messages", "409 Batch Completed"):
        pulled.requested("in.3", 2)
        pulled.hear("in.3", _status(line))
        assert (pulled.open_requests, pulled.broken) == (0, False)


@pytest.mark.parametrize("line", ["503", "409 Consumer Deleted", "409 Server Shutdown", "400 Bad"])
def test_a_consumer_that_is_gone_ends_it(line: str) -> None:
    """The reason is kept for whoever reads."""
    pulled = Pulled("me", 0)
    pulled.requested("in.1", 2)
    pulled.hear("in.1", _status(line))
    assert pulled.broken
    assert line in pulled.why
