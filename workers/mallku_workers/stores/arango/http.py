"""The driver's HTTP client, lean: one try for each request, time limits, keep-alive, failover.

It stands where python-arango lets one of its own stand (its manual, "HTTP Clients"), and what it
raises is coded: after it the driver has nothing left to decide, let alone to send again.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, MutableMapping
from typing import Any, Final
from urllib.parse import urlencode

from arango.http import HTTPClient
from arango.response import Response

from mallku_contracts.errors import (
    DeadlineExceeded,
    ExecutionError,
    OutcomeUnknown,
    ResultTooLarge,
    Unavailable,
)
from mallku_workers.stores.arango.budget import Budget, current_budget
from mallku_workers.stores.arango.connections import Connections, Wire
from mallku_workers.stores.arango.credentials import Credentials

ORIGIN: Final = "http://arangodb"
"""What stands before the path in the driver's URLs; which coordinator is asked is decided here."""

QUEUE_TIME: Final = "x-arango-queue-time-seconds"
"""How long a request may wait inside ArangoDB before it is begun (HTTP manual, "Overload")."""

OVERLOADED_AFTER_S: Final = 0.25
"""Advice to callers whom ArangoDB sent away because of its queue, seconds."""

_UNAUTHORIZED: Final = 401
_PRECONDITION_FAILED: Final = 412
_SERVICE_UNAVAILABLE: Final = 503
_QUEUE_FULL: Final = 21003
_QUEUE_TIME_VIOLATED: Final = 21004
_SENT_AWAY: Final = {_QUEUE_FULL, _QUEUE_TIME_VIOLATED}
_READS: Final = frozenset({"GET", "HEAD"})


class LeanClient(HTTPClient):
    """Sends requests over `connections`; sessions are not needed and are the client itself.

    Args:
        max_response_bytes: A larger answer is not read, bytes.
    """

    def __init__(
        self, connections: Connections, credentials: Credentials, *, max_response_bytes: int
    ) -> None:
        self._connections = connections
        self._credentials = credentials
        self._max_response_bytes = max_response_bytes

    def create_session(self, host: str) -> Any:  # noqa: ARG002 - the driver's signature
        """What the driver closes in the end."""
        return self

    def close(self) -> None:
        """Close the idle connections."""
        self._connections.close()

    def send_request(  # noqa: PLR0913, PLR0917 - the driver's signature
        self,
        session: Any,  # noqa: ARG002 - there is but one
        method: str,
        url: str,
        headers: Mapping[str, Any] | None = None,
        params: MutableMapping[str, str] | None = None,
        data: Any = None,
        auth: tuple[str, str] | None = None,  # noqa: ARG002 - see `Credentials`
    ) -> Response:
        """One request, one answer.

        Raises:
            Unavailable: it was not begun, or it was a read whose answer did not come.
            DeadlineExceeded: there was no time left to send it.
            OutcomeUnknown: it may have had an effect, and the answer did not come.
        """
        target = url.removeprefix(ORIGIN) + (f"?{urlencode(params)}" if params else "")
        body = data.encode() if isinstance(data, str) else data
        budget = current_budget()
        response = self._try(method.upper(), target, dict(headers or {}), body, budget)
        if response.status_code == _UNAUTHORIZED and self._credentials.renew():
            # Nobody does anything for somebody unknown: sending it again is no second try.
            response = self._try(method.upper(), target, dict(headers or {}), body, budget)
        _refuse_overload(response)
        return response

    def _try(
        self, method: str, target: str, headers: dict[str, str], body: bytes | None, budget: Budget
    ) -> Response:
        authorization = self._credentials.header(self._login)
        if authorization:
            headers["authorization"] = authorization
        return self._exchange(method, target, headers, body, budget)

    def _login(self, target: str, body: bytes) -> Response:
        """Ask for a token, within the time of whoever needs it."""
        budget = Budget(current_budget().ends)
        return self._exchange("POST", target, {"content-type": "application/json"}, body, budget)

    def _exchange(
        self, method: str, target: str, headers: dict[str, str], body: bytes | None, budget: Budget
    ) -> Response:
        wire = self._send(method, target, headers, body, budget)
        try:
            response = self._receive(wire, method, target, budget)
        except TimeoutError:
            wire.http.close()
            raise _silence(method, budget, "ArangoDB did not answer in time") from None
        except (OSError, http.client.HTTPException) as error:
            self._connections.pass_over(wire)
            what = f"the connection to ArangoDB was lost ({type(error).__name__})"
            raise _silence(method, budget, what) from None
        except BaseException:
            wire.http.close()
            raise
        self._connections.give_back(wire)
        return response

    def _send(
        self, method: str, target: str, headers: dict[str, str], body: bytes | None, budget: Budget
    ) -> Wire:
        """Send a whole request; what was cut off on the way cannot have been begun."""
        for _ in range(self._connections.tries):
            if budget.left_s <= 0:
                raise DeadlineExceeded("the caller's time was over; nothing was done")
            wire = self._connections.take(budget)
            headers[QUEUE_TIME] = f"{budget.left_s:.3f}"
            wire.set_timeout(budget.patience_s)
            try:
                wire.http.request(method, target, body=body, headers=headers)
            except OSError:
                self._connections.pass_over(wire)
            else:
                return wire
        raise Unavailable("ArangoDB takes no requests; nothing was done")

    def _receive(self, wire: Wire, method: str, target: str, budget: Budget) -> Response:
        wire.set_timeout(budget.patience_s)
        answer = wire.http.getresponse()
        if (answer.length or 0) > self._max_response_bytes:
            raise ResultTooLarge(
                f"ArangoDB answered {answer.length} bytes, more than"
                f" {self._max_response_bytes}; ask for less at a time"
            )
        text = answer.read().decode()
        known = {name.lower(): value for name, value in answer.getheaders()}
        return Response(method, target, known, answer.status, answer.reason, text)


def _silence(method: str, budget: Budget, what: str) -> ExecutionError:
    if budget.writes and method not in _READS:
        return OutcomeUnknown(f"{what}; ask with outcome")
    return Unavailable(f"{what}; nothing was done")


def _refuse_overload(response: Response) -> None:
    """Say as a coded error that ArangoDB sent the request away before it began.

    The driver itself would send it to another coordinator.
    """
    if response.status_code not in (_PRECONDITION_FAILED, _SERVICE_UNAVAILABLE):
        return
    number = error_number(response.raw_body)
    if number in _SENT_AWAY:
        raise Unavailable(
            f"ArangoDB's queue is too long (error {number}); nothing was done",
            retry_after=OVERLOADED_AFTER_S,
        )
    if response.status_code == number:
        budget = current_budget()
        raise _silence(response.method.upper(), budget, "ArangoDB says that it cannot serve now")


def error_number(text: str) -> int | None:
    """ArangoDB's error number in the body of an answer."""
    try:
        body = json.loads(text)
    except ValueError:
        return None
    number = body.get("errorNum") if isinstance(body, dict) else None
    return number if isinstance(number, int) else None
