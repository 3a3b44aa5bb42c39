"""Parsed queries, remembered by their text."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from mallku_contracts.aql.allow import Refused, undetermined
from mallku_contracts.aql.analysis import Analysis, analyse
from mallku_contracts.aql.parsing import parse
from mallku_contracts.aql.tree import Query
from mallku_contracts.limits import MIB
from mallku_contracts.policy.query import query_digest

MAX_BOOK_CHARS: Final = 4 * MIB
"""Texts of the queries that are remembered, characters; a tree is some hundred times its text."""


@dataclass(frozen=True)
class KnownQuery:
    """A query's text with what can be said of it without bind values."""

    text: str
    tree: Query

    @cached_property
    def analysis(self) -> Analysis:
        """What the query names."""
        return analyse(self.tree)

    @cached_property
    def undetermined(self) -> tuple[Refused, ...]:
        """What would keep it, where it changes documents, from coming to the same again."""
        return undetermined(self.tree)

    @cached_property
    def digest(self) -> str:
        """What an approved query is known by."""
        return query_digest(self.text)


class QueryBook:
    """Parses each query once; what was not asked for longest is forgotten first."""

    def __init__(self, max_chars: int = MAX_BOOK_CHARS) -> None:
        self._max_chars = max_chars
        self._chars = 0
        self._known: OrderedDict[str, KnownQuery] = OrderedDict()

    def look_up(self, text: str) -> KnownQuery:
        """The query with this text.

        Raises:
            InvalidQuery, NotSupported: it is none; with line and column.
        """
        known = self._known.get(text)
        if known is not None:
            self._known.move_to_end(text)
            return known
        known = self._known[text] = KnownQuery(text, parse(text))
        self._chars += len(text)
        while self._chars > self._max_chars and len(self._known) > 1:
            oldest, _ = self._known.popitem(last=False)
            self._chars -= len(oldest)
        return known
