"""An HTTP server that answers inserts like ArangoDB after a fixed time, and does nothing else.

It runs in a process of its own and prints its port. Documents are not kept.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, Final

from mallku_workers.stores.arango.preparation import LEDGER_INDEXES
from tests.benchmarks.children import READY

_END: Final = b"\r\n\r\n"
_COLLECTION: Final = {"error": False, "code": 200, "name": "people", "type": 2, "id": "1"}
_AT_START: Final[dict[str, Any]] = {
    "/index": {"error": False, "code": 200, "indexes": LEDGER_INDEXES},
    "/database/current": {"error": False, "code": 200, "result": {"name": "mallku", "id": "1"}},
}
"""What a store asks for before it serves."""


class Stub(asyncio.Protocol):
    """One connection."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._data = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer whole requests, each after the delay."""
        self._data += data
        while (end := self._data.find(_END)) >= 0:
            head = self._data[:end].decode()
            lines = head.split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines[1:])
            length = int(headers.get("content-length", 0))
            start = end + len(_END)
            if len(self._data) < start + length:
                return
            body = self._data[start : start + length]
            self._data = self._data[start + length :]
            method, target, _ = lines[0].split(" ", 2)
            loop = asyncio.get_running_loop()
            loop.call_later(self._delay_s, self._answer, method, target, body)

    def _answer(self, method: str, target: str, body: bytes) -> None:
        status, answer = _answered(method, target, body)
        data = json.dumps(answer, separators=(",", ":")).encode()
        self._transport.write(
            f"HTTP/1.1 {status} OK\r\ncontent-type: application/json\r\n"
            f"content-length: {len(data)}\r\n\r\n".encode()
            + data
        )


def _answered(method: str, target: str, body: bytes) -> tuple[int, Any]:
    path = target.partition("?")[0].partition("/_api")[2]
    if path == "/cursor":
        works = json.loads(body)["bindVars"]["works"]
        return 201, {"error": False, "code": 201, "hasMore": False, "result": _rows(works)}
    if path.startswith("/document/"):
        return 202, {"_id": "people/1", "_key": "1", "_rev": "_meiqyLy---"}
    if path == "/version":
        return 200, {"server": "arango", "version": "3.12.4"}
    if path in _AT_START:
        return 200, _AT_START[path]
    if path == "/collection" and method == "GET":
        return 200, {
            "error": False,
            "code": 200,
            "result": [{**_COLLECTION, "name": "mallku_ledger"}],
        }
    return 200, _COLLECTION


def _rows(works: list[Any]) -> list[Any]:
    meta = {"_id": "people/1", "_key": "1", "_rev": "_meiqyLy---"}
    return [
        {
            "n": work["n"],
            "position": "_meiqyLy---",
            "new": {**meta, **work["document"]},
            "old": None,
        }
        for work in works
    ]


async def _main(delay_ms: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Stub(delay_ms / 1_000), "127.0.0.1", 0)
    sys.stdout.write(f"{READY} {server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(float(sys.argv[1])))
