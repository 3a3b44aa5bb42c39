"""A changing query made to say what it did: every change with its OLD and NEW.

That is done where it is provably the same query: the changes stand at the top, each of another
collection, with nothing but LET between and behind them, so that no row of theirs is lost or comes
twice. Others are refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from mallku_contracts.aql import tree as t
from mallku_contracts.aql.analysis import collection_name
from mallku_contracts.aql.printing import to_text
from mallku_contracts.aql.visitor import walk
from mallku_contracts.arguments import Document
from mallku_contracts.errors import NotSupported
from mallku_workers.stores.arango.documents import Stored
from mallku_workers.stores.arango.planning import Change
from mallku_workers.stores.base import Effect

_MADE: Final = "mallku_change_"
"""What variables begin with that hold what a change did."""


@dataclass(frozen=True, slots=True)
class Changed:
    """One change of a query: the collection, and whether it can only add documents."""

    collection: str
    inserts: bool


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A query whose rows are `{row, changes: [{old, new}, …]}`, with what its changes are."""

    text: str
    returns: bool
    changes: tuple[Changed, ...]

    def stored(self, rows: list[dict[str, Any]]) -> list[Stored]:
        """What was done, change by change, in the order of the rows."""
        return [
            one
            for place, change in enumerate(self.changes)
            for one in _stored(change, (row["changes"][place] for row in rows))
        ]


def rewrite(query: t.Query, binds: t.BindValues) -> Rewritten:
    """Make a changing query return OLD and NEW of its changes beside what it returned.

    Raises:
        NotSupported: naming what stands in the way.
    """
    changes = [one for one in query.statements if isinstance(one, t.Modification)]
    if len(changes) != sum(isinstance(node, t.Modification) for node in walk(query)):
        raise NotSupported("a query on ArangoDB may not change documents in a subquery")
    made = tuple(
        Changed(collection_name(one.collection, binds), isinstance(one, t.Insert))
        for one in changes
    )
    if len({one.collection for one in made}) < len(made):
        raise NotSupported("a query on ArangoDB may change the documents of a collection once")
    returned = _refuse_around(query)
    statements = list(_with_what_was_done(query.statements))
    members = {"row": returned or t.Literal(None), "changes": _all_of(len(made))}
    whole = t.Return(t.ObjectLiteral(tuple(t.Member(name, one) for name, one in members.items())))
    text = to_text(replace(query, statements=(*statements, whole)))
    return Rewritten(text, returns=returned is not None, changes=made)


def _refuse_around(query: t.Query) -> t.Expression | None:
    """What the query returns; `NotSupported` where rows of a change could be lost on the way."""
    places = [n for n, one in enumerate(query.statements) if isinstance(one, t.Modification)]
    returned = None
    for statement in query.statements[places[0] + 1 :]:
        if isinstance(statement, t.Return) and not statement.distinct:
            returned = statement.value
        elif not isinstance(statement, t.Let | t.Modification):
            raise NotSupported(
                "behind a change, a query on ArangoDB may have LET, RETURN and other changes alone"
            )
    return returned


def _with_what_was_done(statements: tuple[t.Statement, ...]) -> Iterator[t.Statement]:
    """Each change with a LET behind it that holds its OLD and NEW: the next one has its own."""
    number = 0
    for one in statements:
        if isinstance(one, t.Return):
            continue
        yield one
        if isinstance(one, t.Modification):
            yield t.Let(f"{_MADE}{number}", _old_and_new(one))
            number += 1


def _old_and_new(change: t.Modification) -> t.ObjectLiteral:
    old: t.Expression = t.Literal(None) if _has_no_old(change) else t.Variable("OLD")
    new: t.Expression = t.Literal(None) if isinstance(change, t.Remove) else t.Variable("NEW")
    return t.ObjectLiteral((t.Member("old", old), t.Member("new", new)))


def _all_of(count: int) -> t.ArrayLiteral:
    return t.ArrayLiteral(tuple(t.Variable(f"{_MADE}{number}") for number in range(count)))


def _has_no_old(change: t.Modification) -> bool:
    members = () if change.options is None else change.options.members
    overwrites = any(member.name in ("overwrite", "overwriteMode") for member in members)
    return isinstance(change, t.Insert) and not overwrites


def _stored(change: Changed, made: Iterator[dict[str, Any]]) -> Iterator[Stored]:
    for one in made:
        old, new = one["old"], one["new"]
        known: Document = new or old or {}
        same = old is not None and new is not None and old["_rev"] == new["_rev"]
        if same or not known or (change.inserts and new is None):
            continue
        old_rev = None if old is None else old["_rev"]
        new_rev = None if new is None else new["_rev"]
        effect = Effect(change.collection, known["_key"], old_rev, new_rev, new)
        yield Stored(Change(old, new), new, effect)
