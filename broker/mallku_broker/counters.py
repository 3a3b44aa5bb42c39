"""Counters that all workers share: one number for each subject, and one round trip to add to it."""

from __future__ import annotations

import json
from typing import Final

from mallku_broker.requests import RequestMultiplexer
from mallku_broker.streams import RATES
from mallku_contracts.errors import MallkuError
from mallku_contracts.subjects import PREFIX, check_name

_INCREMENT: Final = "Nats-Incr"
_MESSAGE_ID: Final = "Nats-Msg-Id"


class NotCounted(Exception):
    """The counter did not answer; never on the wire.

    Attributes:
        sent: Whether the amount may have been added all the same.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


def counter_subject(principal: str, account: str) -> str:
    """Where the counter of one account of a principal stands."""
    return f"{PREFIX}.rate.{check_name(principal, 'principal')}.{check_name(account, 'account')}"


class Counters:
    """The counters of the stream `MALLKU_RATES` (ADR-49: `allow_msg_counter`, `Nats-Incr`).

    A counter that nobody touched for the stream's `max_age` begins at 0 again.
    """

    def __init__(self, requests: RequestMultiplexer) -> None:
        self._requests = requests

    async def add(
        self, subject: str, amount: int, *, once: str | None = None, timeout_s: float
    ) -> int | None:
        """Add `amount`, which may be negative, and return what the counter then says.

        Args:
            once: A message id: within the stream's duplicate window the first one with it counts;
                for the others nothing is added, and None is returned.

        Raises:
            NotCounted: no answer in time, no connection, no such stream, or a refusal.
        """
        headers = {_INCREMENT: f"{amount:+d}"}
        if once is not None:
            headers[_MESSAGE_ID] = once
        try:
            answer = await self._requests.request(subject, b"", headers=headers, timeout=timeout_s)
        except TimeoutError as error:
            raise NotCounted(str(error), sent=True) from None
        except MallkuError as error:
            raise NotCounted(error.message, sent=getattr(error, "sent", False)) from None
        return _read(answer.data)


def _read(body: bytes) -> int | None:
    try:
        answer = json.loads(body)
        if "error" in answer:
            raise NotCounted(str(answer["error"].get("description", "")), sent=False)
        if answer["stream"] != RATES:
            raise NotCounted(f"{answer['stream']!r} counted it instead of {RATES!r}", sent=False)
        return None if answer.get("duplicate") else int(answer["val"])
    except (ValueError, KeyError, AttributeError, TypeError):
        raise NotCounted("the answer is not a counter's", sent=True) from None
