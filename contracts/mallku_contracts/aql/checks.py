"""Single rules that ArangoDB checks while it parses, each with its number."""

from __future__ import annotations

import re
from typing import Final, NoReturn

from mallku_contracts.aql.functions import AGGREGATES, ARITIES
from mallku_contracts.aql.lexer import Remedy, refuse
from mallku_contracts.aql.tree import (
    ArrayLiteral,
    BindParameter,
    Call,
    Collection,
    CollectionName,
    Literal,
    Member,
    ObjectLiteral,
    Position,
    Unary,
    Window,
)
from mallku_contracts.aql.visitor import walk
from mallku_contracts.wording import did_you_mean

ILLEGAL_NAME: Final = 1208
UNKNOWN_VARIABLE: Final = 1512
UNKNOWN_FUNCTION: Final = 1540
ARGUMENT_COUNT: Final = 1541
INVALID_AGGREGATE: Final = 1574
OPTIONS_AT_RUN_TIME: Final = 1575

MAX_COLLECTION_CHARS: Final = 256
"""A collection's name, characters (ArangoDB manual, "Naming Constraints", traditional names)."""

_COLLECTION: Final = re.compile(rf"[A-Za-z_][A-Za-z0-9_-]{{0,{MAX_COLLECTION_CHARS - 1}}}")
_CONSTANT: Final = (ArrayLiteral, BindParameter, Literal, Member, ObjectLiteral, Unary)
_COUNTING: Final = frozenset({"COUNT", "LENGTH"})


def is_collection_name(name: str) -> bool:
    """Whether a collection can be called `name`."""
    return _COLLECTION.fullmatch(name) is not None


def check_collection(collection: CollectionName) -> None:
    """Refuse a name that no collection can have (1208)."""
    if isinstance(collection, Collection) and not is_collection_name(collection.name):
        what = f"{collection.name!r} is no name of a collection"
        refuse(what, collection.at, number=ILLEGAL_NAME, near=collection.name)


def refuse_function(name: str, at: Position) -> NoReturn:
    """Refuse a function that AQL does not have (1540)."""
    remedy = Remedy(hint=did_you_mean(name, ARITIES))
    refuse(f"there is no function {name}()", at, number=UNKNOWN_FUNCTION, near=name, remedy=remedy)


def check_call(call: Call) -> None:
    """Refuse an unknown function (1540) or a wrong number of arguments (1541).

    User functions (`A::B`) are not known here; whether they exist is the store's to say.
    """
    if "::" in call.name:
        return
    bounds = ARITIES.get(call.name)
    if bounds is None:
        refuse_function(call.name, call.at)
    _check_count(call, *bounds)


def check_aggregate(call: Call) -> None:
    """Refuse after AGGREGATE what is no function (1540) or none that aggregates (1574)."""
    if call.name not in ARITIES and "::" not in call.name:
        refuse_function(call.name, call.at)
    if call.name not in AGGREGATES:
        what = f"{call.name}() does not aggregate"
        refuse(what, call.at, number=INVALID_AGGREGATE, near=call.name)
    _check_count(call, 0 if call.name in _COUNTING else 1, 1)


def _check_count(call: Call, least: int, most: int) -> None:
    if not least <= len(call.arguments) <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        what = f"{call.name}() takes {wanted} arguments, not {len(call.arguments)}"
        refuse(what, call.at, number=ARGUMENT_COUNT, near=call.name)


def check_options(options: ObjectLiteral | None) -> None:
    """Refuse OPTIONS that are not constant (1575); bind parameters are."""
    if options is None:
        return
    for node in walk(options):
        if not isinstance(node, _CONSTANT) or (isinstance(node, Member) and node.shorthand):
            refuse("OPTIONS have to be constant", node.at, number=OPTIONS_AT_RUN_TIME)


def check_bounds(window: Window) -> None:
    """Refuse a WINDOW without bounds, or with other ones than `preceding` and `following`."""
    seen: set[object] = set()
    for member in window.bounds.members:
        if member.name not in ("preceding", "following") or member.name in seen:
            what = "WINDOW takes 'preceding' and 'following', each once"
            refuse(what, member.at, near=str(member.name))
        seen.add(member.name)
    if not seen:
        refuse("WINDOW needs 'preceding' or 'following'", window.at)
