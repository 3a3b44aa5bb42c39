"""An HTTP server that answers inserts like ArangoDB after a fixed time, and does nothing else.

It runs in a process of its own and prints its port. Documents are not kept. Besides inserts it
answers what a worker asks for when it starts, and 501 to everything else.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from typing import Any, Final

import jwt

from mallku_workers.stores.arango import texts
from mallku_workers.stores.arango.preparation import LEDGER_INDEXES
from tests.benchmarks.children import READY
from tests.benchmarks.loads.gateway import COLLECTION

TOKEN_LIFE_S: Final = 3_600

_END: Final = b"\r\n\r\n"
_DONE: Final = {"error": False, "code": 200}
_NOT_KNOWN: Final = {"error": True, "code": 501, "errorNum": 9, "errorMessage": "not implemented"}
_META: Final = {"_id": f"{COLLECTION}/1", "_key": "1", "_rev": "_meiqyLy---"}
_NAMES: Final = (COLLECTION, texts.LEDGER)
_INDEXES: Final = [
    {**index, "id": f"{texts.LEDGER}/{number}"} for number, index in enumerate(LEDGER_INDEXES)
]
_AT_START: Final[dict[str, Any]] = {
    "/version": {"server": "arango", "version": "3.12.4"},
    "/index": {**_DONE, "indexes": _INDEXES},
    "/database/current": {**_DONE, "result": {"name": "mallku", "id": "1"}},
    "/collection": {**_DONE, "result": [{"name": name, "type": 2} for name in _NAMES]},
    **{
        f"/collection/{name}{part}": {**_DONE, "name": name, "type": 2, "count": 0}
        for name in _NAMES
        for part in ("", "/properties", "/count")
    },
}
"""What a store, and a client that looks for its collection, ask for before they insert."""


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
    if target == "/_open/auth":
        return 200, {"jwt": _token()}
    path = target.partition("?")[0].partition("/_api")[2]
    if method == "POST" and path == "/cursor":
        rows = _rows(json.loads(body))
        return 201, {**_DONE, "code": 201, "hasMore": False, "result": rows}
    if method == "POST" and path == f"/document/{COLLECTION}":
        return 202, _META
    if method == "GET" and path in _AT_START:
        return 200, _AT_START[path]
    print(f"the stub does not know {method} {target}", file=sys.stderr)
    return 501, _NOT_KNOWN


def _token() -> str:
    now = int(time.time())
    claims = {"iss": "arangodb", "iat": now, "exp": now + TOKEN_LIFE_S}
    return jwt.encode(claims, secrets.token_bytes(32), algorithm="HS256")


def _rows(query: dict[str, Any]) -> list[Any]:
    if query["query"].startswith(texts.CLOCK):
        return [time.time_ns() // 1_000_000]
    return [
        {
            "n": work["n"],
            "position": _META["_rev"],
            "new": {**_META, **work["document"]},
            "old": None,
        }
        for work in query["bindVars"].get("works", [])
    ]


async def _main(delay_ms: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Stub(delay_ms / 1_000), "127.0.0.1", 0)
    sys.stdout.write(f"{READY} {server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(float(sys.argv[1])))
