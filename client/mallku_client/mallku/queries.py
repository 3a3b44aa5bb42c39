"""Queries by semantic names: every field of a secured document gets its UUID, by the query's tree.

The text is parsed with the gateway's own grammar, names are changed where the value in front of
them is a document of a secured collection, and nowhere else, and the tree is printed again. Where
that cannot be told, the query is refused and says what stands in the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # brings the parser's tree, for those who have secured collections
    from mallku_client.mallku.following import SecuredNames


@dataclass(frozen=True, slots=True)
class SecuredQuery:
    """A query as it is sent."""

    text: str
    binds: dict[str, Any]


def secure_query(text: str, binds: Mapping[str, Any], names: SecuredNames) -> SecuredQuery | None:
    """The query with the UUIDs of secured fields; None where it is about none.

    Raises:
        InvalidQuery: it cannot be read, or cannot be followed; with line and column.
    """
    if not _could_be_about(names.collections, text, binds):
        return None
    from mallku_client.mallku.following import Follower
    from mallku_contracts.aql.binding import check_binds
    from mallku_contracts.aql.parsing import parse
    from mallku_contracts.aql.printing import to_text

    query = parse(text)
    check_binds(query, binds)
    follower = Follower(names, binds)
    query, _ = follower.query(query)
    if not follower.met:
        return None
    return SecuredQuery(to_text(query), follower.asked(query))


def _could_be_about(secured: frozenset[str], text: str, binds: Mapping[str, Any]) -> bool:
    """Whether a name of a secured collection stands somewhere; nothing is parsed for that."""
    values = [value for value in binds.values() if isinstance(value, str)]
    return any(name in each for name in secured for each in (text, *values))
