"""The grammar's actions for whole queries and for every statement but FOR."""

from __future__ import annotations

from typing import Any, Final

from mallku_contracts.aql.build_expressions import Parts
from mallku_contracts.aql.build_loops import LoopActions, as_options, expect_word, unsupported
from mallku_contracts.aql.checks import INVALID_AGGREGATE
from mallku_contracts.aql.lexer import Remedy, Token, refuse
from mallku_contracts.aql.tree import (
    Aggregate,
    BindParameter,
    Call,
    Collect,
    Collection,
    CollectionBind,
    CollectionName,
    Filter,
    Group,
    Insert,
    Let,
    Limit,
    ObjectLiteral,
    Query,
    Remove,
    Replace,
    Return,
    Sort,
    SortKey,
    Update,
    Upsert,
    Window,
)

BIND_TYPE: Final = 1553


class StatementActions(LoopActions):
    """The actions of the whole grammar."""

    def query(self, parts: Parts) -> Query:
        """A query without WITH."""
        return Query(tuple(parts[0]), at=parts[0][0].at)

    def query_with(self, parts: Parts) -> Query:
        """`WITH a, b …`."""
        return Query(tuple(parts[2]), tuple(parts[1]), at=parts[0].at)

    def more(self, parts: Parts) -> list[Any]:
        """One more of a list, without a comma."""
        listed: list[Any] = parts[0]
        listed.append(parts[1])
        return listed

    def more_steps(self, parts: Parts) -> list[Any]:
        """One more statement; a LET may be several."""
        before, step = parts
        steps: list[Any] = [] if before is None else before
        steps.extend(step) if type(step) is list else steps.append(step)
        return steps

    # --- the other reading statements ---

    def filter(self, parts: Parts) -> Filter:
        """`FILTER x`."""
        return Filter(parts[1], at=parts[0].at)

    def sort(self, parts: Parts) -> Sort:
        """`SORT a, b`."""
        return Sort(tuple(parts[1]), at=parts[0].at)

    def sort_plain(self, parts: Parts) -> SortKey:
        """`a`."""
        return SortKey(parts[0], at=parts[0].at)

    def sort_directed(self, parts: Parts) -> SortKey:
        """`a DESC`."""
        return SortKey(parts[0], parts[1].value, at=parts[0].at)

    def sort_valued(self, parts: Parts) -> SortKey:
        """`a @direction`."""
        return SortKey(parts[0], parts[1], at=parts[0].at)

    def limit_one(self, parts: Parts) -> Limit:
        """`LIMIT 5`."""
        return Limit(None, parts[1], at=parts[0].at)

    def limit_two(self, parts: Parts) -> Limit:
        """`LIMIT 10, 5`."""
        return Limit(parts[1], parts[3], at=parts[0].at)

    def assignment(self, parts: Parts) -> Let:
        """`a = x`."""
        return Let(parts[0].value, parts[2], at=parts[0].at)

    def let(self, parts: Parts) -> list[Let]:
        """`LET a = x, b = y`."""
        lets: list[Let] = parts[1]
        return lets

    # --- COLLECT and WINDOW ---

    def collect_all_count(self, parts: Parts) -> Collect:
        """`COLLECT WITH COUNT INTO n`."""
        expect_word(parts[2], "COUNT")
        return Collect((), count=parts[4].value, options=parts[5], at=parts[0].at)

    def collect_count(self, parts: Parts) -> Collect:
        """`COLLECT a = x WITH COUNT INTO n`."""
        expect_word(parts[3], "COUNT")
        groups = self._groups(parts[1])
        return Collect(groups, count=parts[5].value, options=parts[6], at=parts[0].at)

    def collect_all_aggregate(self, parts: Parts) -> Collect:
        """`COLLECT AGGREGATE a = SUM(x)`."""
        token, aggregates, into, options = parts
        name, projection = into or (None, None)
        return Collect((), aggregates, name, projection, options=options, at=token.at)

    def collect_aggregate(self, parts: Parts) -> Collect:
        """`COLLECT a = x AGGREGATE b = SUM(y)`."""
        token, groups, aggregates, into, options = parts
        name, projection = into or (None, None)
        return Collect(
            self._groups(groups), aggregates, name, projection, options=options, at=token.at
        )

    def collect_groups(self, parts: Parts) -> Collect:
        """`COLLECT a = x INTO g KEEP v`."""
        token, groups, into, kept = parts
        name, projection = into or (None, None)
        keep, options = kept or (None, None)
        return Collect(
            self._groups(groups), (), name, projection, keep, options=options, at=token.at
        )

    def _groups(self, lets: list[Let]) -> tuple[Group, ...]:
        return tuple(Group(let.variable, let.value, at=let.at) for let in lets)

    def into_all(self, parts: Parts) -> tuple[Any, Any]:
        """`INTO g`."""
        return parts[1].value, None

    def into_value(self, parts: Parts) -> tuple[Any, Any]:
        """`INTO g = x`."""
        return parts[1].value, parts[3]

    def kept_options(self, parts: Parts) -> tuple[Any, Any]:
        """`OPTIONS {…}`."""
        return None, as_options(parts[0], parts[1])

    def kept_names(self, parts: Parts) -> tuple[Any, Any]:
        """`KEEP a, b`, perhaps with OPTIONS."""
        expect_word(parts[0], "KEEP", "OPTIONS")
        if parts[0].value.upper() == "OPTIONS":
            refuse("OPTIONS have to be an object", parts[0].at, near=str(parts[0].value))
        keep = tuple(str(token.value) for token in parts[1])
        return keep, as_options(parts[2], parts[3]) if len(parts) > len(("KEEP", "names")) else None

    def aggregate(self, parts: Parts) -> tuple[Aggregate, ...]:
        """`AGGREGATE a = SUM(x)`."""
        return tuple(parts[1])

    def aggregate_one(self, parts: Parts) -> Aggregate:
        """`a = SUM(x)`."""
        if type(parts[2]) is not Call:
            what = "an aggregate expression must be a function call"
            refuse(what, parts[2].at, number=INVALID_AGGREGATE)
        return Aggregate(parts[0].value, parts[2], at=parts[0].at)

    def window_rows(self, parts: Parts) -> Window:
        """`WINDOW {preceding: 1} AGGREGATE …`."""
        return Window(None, parts[1], parts[2], at=parts[0].at)

    def window_range(self, parts: Parts) -> Window:
        """`WINDOW x WITH {preceding: 1} AGGREGATE …`."""
        return Window(parts[1].tree(), parts[3], parts[4], at=parts[0].at)

    def return_all(self, parts: Parts) -> Return:
        """`RETURN x`."""
        return Return(parts[1], at=parts[0].at)

    def return_distinct(self, parts: Parts) -> Return:
        """`RETURN DISTINCT x`."""
        return Return(parts[2], distinct=True, at=parts[0].at)

    # --- writing ---

    def insert(self, parts: Parts) -> Insert:
        """`INSERT d INTO c`."""
        token, document, target, options = parts
        return Insert(document.tree(), target, options, at=token.at)

    def remove(self, parts: Parts) -> Remove:
        """`REMOVE k IN c`."""
        token, key, target, options = parts
        return Remove(key.tree(), target, options, at=token.at)

    def change(self, parts: Parts) -> Update | Replace:
        """`UPDATE d IN c`."""
        token, document, target, options = parts
        kind = Update if token.type == "UPDATE" else Replace
        return kind(None, document.tree(), target, options, at=token.at)

    def change_with(self, parts: Parts) -> Update | Replace:
        """`UPDATE k WITH d IN c`."""
        token, key, _, document, target, options = parts
        kind = Update if token.type == "UPDATE" else Replace
        return kind(key.tree(), document.tree(), target, options, at=token.at)

    def upsert(self, parts: Parts) -> Upsert:
        """`UPSERT s INSERT d UPDATE p IN c`."""
        token, search, _, insert, word, change, target, options = parts
        found = search.tree()
        if not isinstance(found, ObjectLiteral | BindParameter):
            remedy = Remedy(("{", "bind parameter"), "'{' or a bind parameter")
            refuse("UPSERT searches by an object", found.at, remedy=remedy)
        replaces = word.type == "REPLACE"
        nodes = found, insert.tree(), change.tree()
        return Upsert(*nodes, replaces, target, options, at=token.at)

    def upsert_filter(self, parts: Parts) -> Upsert:
        """`UPSERT FILTER x INSERT …`: of 3.12, and not here."""
        raise unsupported("UPSERT FILTER", parts[1].at)

    def target_named(self, parts: Parts) -> CollectionName:
        """`INTO c`, `IN "c"`."""
        return Collection(parts[1].value, at=parts[1].at)

    def target_bound(self, parts: Parts) -> CollectionName:
        """`INTO @@c`."""
        return CollectionBind(parts[1].value, at=parts[1].at)

    def target_value(self, parts: Parts) -> CollectionName:
        """`INTO @c`: a value is no collection."""
        token: Token = parts[1]
        what = f"a collection's bind parameter begins with @@, not @{token.value}"
        refuse(what, token.at, number=BIND_TYPE, near=f"@{token.value}")

    def options(self, parts: Parts) -> ObjectLiteral:
        """`OPTIONS {…}`."""
        return as_options(parts[0], parts[1])
