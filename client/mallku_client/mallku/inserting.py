"""Inserts as Mallku means them: repeated ones are no conflict, forgotten ones are durable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import mallku_client as awaited
from mallku_client.mallku.values import plain
from mallku_contracts.document_keys import check_key
from mallku_contracts.errors import InvalidArguments, UniqueViolation

if TYPE_CHECKING:
    from mallku_client.mallku.gateway import Gateway

Document = dict[str, Any]


def prepare(document: Any) -> Document:
    """A document as it may be sent.

    Raises:
        InvalidKey: its `_key` is none (ArangoDB 1221).
        InvalidArguments: it is no document, or a value in it cannot be stored; with the path.
    """
    made = plain(document, "document")
    if not isinstance(made, dict):
        raise InvalidArguments(f"document: {type(document).__name__} is no document")
    if made.get("_key") is not None:
        made["_key"] = check_key(str(made["_key"]))
    else:
        made.pop("_key", None)
    return made


async def insert_once(
    collection: awaited.Collection, document: Document, options: dict[str, Any]
) -> Any:
    """Insert; where all of the document is there already under its own key, the stored one's meta.

    Nobody here knows which further attributes the policy put in (`set`): they do not count.

    Raises:
        UniqueViolation: another document is in the way.
    """
    try:
        return await collection.insert(document, **options)
    except UniqueViolation:
        named = {"model": options["model"]} if "model" in options else {}
        key = document.get("_key")
        stored = None if key is None else await collection.get(key, **named)
        if stored is None or any(stored.get(name) != value for name, value in document.items()):
            raise
        return {name: stored[name] for name in ("_id", "_key", "_rev")}


async def submit(gateway: Gateway, name: str, document: Document) -> Document:
    """Have JetStream keep an insert that a worker carries out in its time; what it will be called.

    The key is made here, and `_rev` is empty: the revision is the store's to make.
    """
    document.setdefault("_key", str(uuid4()))
    await gateway.ensure(name, "_from" in document and "_to" in document)
    await (await gateway.collection(name)).submit.insert(document)
    key = document["_key"]
    return {"_id": f"{name}/{key}", "_key": key, "_rev": ""}
