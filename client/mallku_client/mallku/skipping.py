"""A gateway that is not there: nothing is sent, reads are empty, writes say what they would."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Unpack
from uuid import uuid4

from mallku_client.answers import Answer
from mallku_client.commands import Commands
from mallku_client.options import CallOptions
from mallku_contracts.errors import CollectionNotFound

_NO_ROWS: Final[dict[str, Any]] = {
    "result": [],
    "more": False,
    "warnings": [],
    "statistics": {
        "writes_executed": 0,
        "writes_ignored": 0,
        "scanned_full": 0,
        "scanned_index": 0,
        "filtered": 0,
        "peak_memory": 0,
    },
    "count": 0,
    "full_count": 0,
}
_EMPTY: Final[dict[str, Any]] = {
    "get": None,
    "exists": False,
    "find": {"documents": [], "more": False, "after": None},
    "count": 0,
    "aql": _NO_ROWS,
    "update-match": 0,
    "replace-match": 0,
    "delete-match": 0,
    "truncate": 0,
    "drop-collection": False,
    "drop-index": False,
    "drop-graph": False,
    "report-violation": True,
}
_ONE: Final = frozenset({"insert", "update", "replace", "delete", "upsert"})
_MANY: Final = frozenset({"insert-many", "update-many", "replace-many", "delete-many"})


class NoCommands(Commands):
    """Answers in the place of a gateway (`MALLKU_SKIP_DATABASE=true`)."""

    def __init__(self, principal: str, database: str) -> None:
        self.principal = principal
        self.database = database

    async def send(
        self,
        operation: str,
        collection: str | None,
        arguments: Mapping[str, Any],
        **options: Unpack[CallOptions],
    ) -> Answer:
        """The empty answer to an operation; `CollectionNotFound` to what describes one."""
        if operation == "describe-collection":
            raise CollectionNotFound(f"{collection}: no database is used")
        answer = Answer(_answer(operation, collection or "", arguments), "", "", attempts=0)
        if (on_answer := options.get("on_answer")) is not None:
            on_answer(answer)
        return answer

    async def close(self) -> None:
        """Nothing is open."""


def _answer(operation: str, collection: str, arguments: Mapping[str, Any]) -> Any:
    if operation in _EMPTY:
        empty = _EMPTY[operation]
        return dict(empty) if isinstance(empty, dict) else empty
    if operation in _ONE:
        given = arguments.get("document", arguments.get("insert"))
        meta = _meta(collection, given)
        return meta | {"type": "insert"} if operation == "upsert" else meta
    if operation in _MANY:
        return [_meta(collection, document) for document in arguments["documents"]]
    if operation == "create-collection":
        kind = "edge" if arguments.get("edge") else "document"
        return {"name": collection, "type": kind}
    if operation == "create-index":
        return {"id": f"{collection}/0", "unique": False, "sparse": False, **arguments}
    return []


def _meta(collection: str, given: Any) -> dict[str, Any]:
    key = given.get("_key") if isinstance(given, dict) else given
    key = str(key or uuid4()).rpartition("/")[2]
    return {"_id": f"{collection}/{key}", "_key": key, "_rev": "_skipped"}
