"""Carrying out a command once more from its intent alone, held to what it was held to.

That is what a rebuild has left where a record does not hold what a command made: the signed bytes
say what was asked, `bound` what it was held to. It comes to the same as it did, since nothing but
the documents decides. What it would make anew, a key, cannot become the same: that is refused.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from mallku_contracts import arguments as a
from mallku_contracts import codec
from mallku_contracts.aql import tree as t
from mallku_contracts.aql.allow import undetermined
from mallku_contracts.aql.analysis import analyse
from mallku_contracts.aql.parsing import parse
from mallku_contracts.aql.visitor import walk
from mallku_contracts.arguments import Arguments, Document, read_arguments
from mallku_contracts.audit import Record
from mallku_contracts.errors import MallkuError
from mallku_contracts.operations import OPERATIONS
from mallku_contracts.policy import DocumentRules
from mallku_contracts.policy.recorded import read_recorded
from mallku_workers.stores.base import LedgerClaim, RunnableQuery, Step, Work

KEPT_MS: Final = 7 * 24 * 3_600 * 1_000
"""How long the target remembers what was carried out again in it, milliseconds."""

_RULE: Final = "the trail"
_MAX_ROWS: Final = 2**31
_MAKES_KEYS: Final = (t.Insert, t.Upsert)


class CannotRepeatError(Exception):
    """The command cannot be carried out so that it comes to the same; the message says why."""


def arguments_of(operation: str, intent: Record) -> Arguments:
    """The arguments that were signed.

    Raises:
        CannotRepeatError: the intent does not hold them.
    """
    if intent.command is None or not intent.command[1]:
        raise CannotRepeatError("its intent does not hold what was asked")
    try:
        body = codec.unpack(intent.command[1])
        return read_arguments(OPERATIONS[operation].arguments, body)
    except (codec.CodecError, MallkuError) as error:
        raise CannotRepeatError(f"its arguments cannot be read: {error}") from None


def make_work(
    operation: str, database: str, collection: str, intent: Record, *, within_ms: int
) -> Work:
    """The work that the command amounted to; done twice under its claim, it is done once.

    Raises:
        CannotRepeatError
    """
    arguments = arguments_of(operation, intent)
    known, now_ms = OPERATIONS[operation], time.time_ns() // 1_000_000
    try:
        return Work(
            known,
            database,
            collection,
            arguments,
            now_ms + within_ms,
            _claim(intent, now_ms),
            _rules(intent.bound),
            _query(arguments, intent.bound) if isinstance(arguments, a.Aql) else None,
            _steps(arguments, intent.bound) if isinstance(arguments, a.Transaction) else (),
        )
    except (MallkuError, ValueError, KeyError, TypeError) as error:
        raise CannotRepeatError(f"what it was held to cannot be read: {error}") from None


def modifies(arguments: a.Aql) -> bool:
    """Whether a query changes documents; one that cannot be read may."""
    try:
        return not arguments.explain and analyse(parse(arguments.query)).modifies
    except MallkuError:
        return True


def refuse_new_keys(work: Work) -> None:
    """Refuse what might make a key: no other store would make the same.

    Raises:
        CannotRepeatError
    """
    if any("_key" not in body for body in _inserted(work.arguments)):
        raise CannotRepeatError("it made keys, and no record says which")
    for step in work.steps:
        if any("_key" not in body for body in _inserted(step.arguments)):
            raise CannotRepeatError("it made keys, and no record says which")
    if work.query is not None:
        if any(isinstance(node, _MAKES_KEYS) for node in walk(work.query.tree)):
            raise CannotRepeatError("it may have made keys, and no record says which")
        if undetermined(work.query.tree):
            raise CannotRepeatError("its query would not come to the same again")


def _inserted(arguments: Arguments) -> Iterable[Document]:
    match arguments:
        case a.Insert():
            return (arguments.document,)
        case a.InsertMany():
            return arguments.documents
        case a.Upsert():
            return (arguments.insert,)
        case _:
            return ()


def _claim(intent: Record, now_ms: int) -> LedgerClaim:
    key = f"rebuild-{intent.worker}-{intent.number}"
    return LedgerClaim(key, b"rebuild", key, now_ms + KEPT_MS)


def _rules(bound: Mapping[str, Any]) -> DocumentRules | None:
    """What documents were held to; a schema or immutability were met, or it had failed."""
    where = bound.get("where")
    condition = None if where is None else read_recorded(where["aql"], where["values"])
    hidden = tuple(tuple(path.split(".")) for path in bound.get("hide", ()))
    forced = dict(bound.get("set", {}))
    if condition is None and not hidden and not forced:
        return None
    return DocumentRules(_RULE, condition, forced, hidden)


def _query(arguments: a.Aql, bound: Mapping[str, Any]) -> RunnableQuery:
    binds = {**arguments.bind_vars, **bound.get("binds", {})}
    tree = parse(arguments.query)
    return RunnableQuery(tree, binds, arguments, modifies=True, max_rows=_MAX_ROWS)


def _steps(arguments: a.Transaction, bound: Mapping[str, Any]) -> tuple[Step, ...]:
    rules = [_rules(one) for one in bound.get("steps", [{}] * len(arguments.steps))]
    return tuple(
        Step(
            OPERATIONS[step.operation],
            step.collection,
            read_arguments(OPERATIONS[step.operation].arguments, step.arguments),
            own,
        )
        for step, own in zip(arguments.steps, rules, strict=True)
    )
