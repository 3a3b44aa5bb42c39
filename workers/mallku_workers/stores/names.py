"""Names that new collections and indexes may have, and what an index may be over."""

from __future__ import annotations

import re
from typing import Final

from mallku_contracts.errors import InvalidArguments, InvalidIndex, ReservedName
from mallku_contracts.limits import MAX_NAME_CHARS
from mallku_contracts.policy.closed import is_reserved
from mallku_workers.stores.documents import is_storable

_COLLECTION: Final = re.compile(rf"[A-Za-z_][A-Za-z0-9_-]{{0,{MAX_NAME_CHARS - 1}}}")
_INDEX: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,255}")
_BUILT_IN: Final = frozenset({"primary", "edge"})


def is_collection_name(name: str) -> bool:
    """Whether a collection, the gateway's own included, could be called so."""
    return _COLLECTION.fullmatch(name) is not None


def check_new_name(name: str) -> None:
    """Refuse a name that no new collection may have.

    Raises:
        InvalidArguments, ReservedName
    """
    if is_reserved(name):
        raise ReservedName(f"{name}: names that begin with _ or mallku_ belong to the gateway")
    if not is_collection_name(name):
        raise InvalidArguments(f"{name!r:.80} cannot be a collection's name: begin with a letter")


def check_definition(fields: tuple[str, ...], name: str | None) -> None:
    """Refuse an index over these fields, or of this name; `InvalidIndex` says why."""
    if len(set(fields)) != len(fields):
        raise InvalidIndex("the index names a field twice")
    for field in fields:
        if "" in field.split("."):
            raise InvalidIndex(f"{field!r:.80}: there is no attribute between two dots")
        if "[*]" in field:
            raise InvalidIndex(f"{field!r:.80}: indexes over the elements of arrays are not made")
        if not is_storable(field):
            raise InvalidIndex(f"{field!r:.80} is not Unicode")
        if field == "_id":
            raise InvalidIndex("_id cannot be indexed; _key is the primary index")
    if name is not None and (name in _BUILT_IN or not _INDEX.fullmatch(name)):
        raise InvalidIndex(f"{name!r:.80} cannot be an index's name")
