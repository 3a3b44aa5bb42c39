"""One query that a gateway in memory runs, page by page, with the faults that a test wants."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mallku_client import NobodyListens
from mallku_contracts.errors import CursorLost, MallkuError
from tests.client.world import MemoryGateway, Opened

WORKER = "w1"
CURSOR = "c1"
STATISTICS = {"writes_executed": 0, "scanned_full": 9, "peak_memory": 100}


@dataclass
class Query:
    """The one query that the gateway runs: `rows` in pages of `size`.

    Attributes:
        faults: Raised instead of an answer to `next`, first to last; None is a lost reply.
        extra: Stands in the answer to `aql` besides.
        asked: The pages that were asked for; 0 is a cursor given back.
        alive: Whether the worker still holds the cursor.
        present: Whether the worker still listens.
    """

    rows: list[Any]
    size: int = 3
    faults: list[MallkuError | None] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)
    alive: bool = True
    present: bool = True

    async def __call__(self, gateway: MemoryGateway, command: Opened) -> bytes | None:
        """Answer `aql` and `next`."""
        gateway.script.append(self)
        try:
            result = self._aql() if command.subject.operation == "aql" else self._next(command)
        except MallkuError as error:
            return gateway.reply(command, {"error": error.to_wire()})
        return None if result is None else gateway.reply(command, {"result": result})

    def _aql(self) -> dict[str, Any]:
        answer = {**self._page(1), "warnings": [], "statistics": STATISTICS, **self.extra}
        if answer["more"]:
            answer["cursor"] = {"id": CURSOR, "worker": WORKER}
        return answer

    def _next(self, command: Opened) -> dict[str, Any] | None:
        assert str(command.subject) == f"mallku.v1.cur.mallku.mallku.{WORKER}.next"
        assert command.body["cursor"] == CURSOR
        if not self.present:
            raise NobodyListens("no responders")
        closing = command.body.get("close", False)
        self.asked.append(0 if closing else command.body["page"])
        if not closing and self.faults:
            fault = self.faults.pop(0)
            if fault is not None:
                raise fault
            return None
        if not self.alive:
            raise CursorLost("gone")
        if closing:
            self.alive = False
            return {"result": [], "more": False}
        return self._page(command.body["page"])

    def _page(self, number: int) -> dict[str, Any]:
        end = number * self.size
        return {"result": self.rows[end - self.size : end], "more": len(self.rows) > end}
