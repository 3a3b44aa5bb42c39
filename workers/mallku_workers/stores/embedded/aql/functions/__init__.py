"""The functions of AQL that need nothing but their arguments.

`FUNCTIONS` has them by name. Those that ask the store (DOCUMENT, COLLECTION_COUNT, …) belong to
the evaluator; `MISSING` says which ones nobody has, and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from mallku_contracts.errors import InvalidQuery
from mallku_workers.stores.embedded.aql import warnings as w
from mallku_workers.stores.embedded.aql.call import Call
from mallku_workers.stores.embedded.aql.functions.arrays import ARRAYS
from mallku_workers.stores.embedded.aql.functions.base import MANY, Function
from mallku_workers.stores.embedded.aql.functions.bits import BITS
from mallku_workers.stores.embedded.aql.functions.dates import DATES
from mallku_workers.stores.embedded.aql.functions.documents import DOCUMENTS
from mallku_workers.stores.embedded.aql.functions.geo import GEO
from mallku_workers.stores.embedded.aql.functions.hashing import HASHES
from mallku_workers.stores.embedded.aql.functions.misc import MISC
from mallku_workers.stores.embedded.aql.functions.numbers import NUMBERS
from mallku_workers.stores.embedded.aql.functions.regexes import REGEXES
from mallku_workers.stores.embedded.aql.functions.similarity import SIMILARITY
from mallku_workers.stores.embedded.aql.functions.statistics import STATISTICS
from mallku_workers.stores.embedded.aql.functions.strings import STRINGS
from mallku_workers.stores.embedded.aql.functions.types import TYPES

__all__ = ["FUNCTIONS", "GROUPS", "MISSING", "Call", "Function", "look_up"]


def _look_up_dynamically(call: Call, caller: str, name: Any) -> Function:
    known = call.text(name).upper()
    if known in ("CALL", "APPLY"):
        raise InvalidQuery(f"{caller}() cannot call {known}()", error_code=w.DYNAMIC_CALL)
    function = FUNCTIONS.get(known)
    if function is None:
        raise InvalidQuery(
            f"{caller}(): there is no function {known!r:.80}", error_code=w.FUNCTION_NOT_FOUND
        )
    return function


def _call(call: Call, name: Any, *arguments: Any) -> Any:
    return _applied(call, "CALL", name, arguments)


def _apply(call: Call, name: Any, arguments: Any = None) -> Any:
    return _applied(call, "APPLY", name, tuple(arguments) if type(arguments) is list else ())


def _applied(call: Call, caller: str, name: Any, arguments: tuple[Any, ...]) -> Any:
    function = _look_up_dynamically(call, caller, name)
    check_count(function, len(arguments))
    return function.call(call, *arguments)


DYNAMIC: Final = (
    Function("CALL", 1, MANY, _call, deterministic=False),
    Function("APPLY", 1, 2, _apply, deterministic=False),
)

GROUPS: Final[Mapping[str, tuple[Function, ...]]] = {
    "Types": TYPES,
    "Strings": STRINGS + REGEXES + SIMILARITY,
    "Hashes and spellings": HASHES,
    "Numbers": NUMBERS + BITS,
    "Lists of numbers": STATISTICS,
    "Arrays": ARRAYS,
    "Objects": DOCUMENTS,
    "Dates": DATES,
    "Geography": GEO,
    "Others": MISC + DYNAMIC,
}
"""The functions by what they are about, in the order of the documentation."""

FUNCTIONS: Final[Mapping[str, Function]] = MappingProxyType(
    {function.name: function for group in GROUPS.values() for function in group}
)
"""Every function by its name, in upper case."""

MISSING: Final[Mapping[str, tuple[str, ...]]] = {
    "search views and analyzers": (
        "ANALYZER", "BM25", "BOOST", "EXISTS", "MINHASH", "MINHASH_COUNT", "MINHASH_ERROR",
        "MINHASH_MATCH", "MIN_MATCH", "NGRAM_MATCH", "NGRAM_POSITIONAL_SIMILARITY",
        "NGRAM_SIMILARITY", "OFFSET_INFO", "PHRASE", "SUBSTRING_BYTES", "TFIDF", "TOKENS",
    ),
    "fulltext and old geo indexes": ("FULLTEXT", "NEAR", "WITHIN", "WITHIN_RECTANGLE"),
    "shapes other than points": ("GEO_AREA", "GEO_CONTAINS", "GEO_EQUALS", "GEO_INTERSECTS"),
    "vector indexes": ("APPROX_NEAR_COSINE", "APPROX_NEAR_L2"),
    "what a server or a cluster has": (
        "DECODE_REV", "PREGEL_RESULT", "SCHEMA_GET", "SCHEMA_VALIDATE", "SHARD_ID", "VERSION",
    ),
    "waiting": ("SLEEP",),
}  # fmt: skip
"""ArangoDB's functions that the embedded store refuses by name, by the reason."""


def check_count(function: Function, count: int) -> None:
    """Refuse a wrong number of arguments.

    Raises:
        InvalidQuery: ArangoDB's 1541.
    """
    if not function.min_args <= count <= function.max_args:
        raise InvalidQuery(
            f"{function.name}() takes {function.min_args} to {function.max_args} arguments,"
            f" {count} are given",
            error_code=w.ARGUMENT_COUNT,
        )


def look_up(name: str, count: int) -> Function:
    """The function of this name, for so many arguments.

    Raises:
        InvalidQuery: ArangoDB's 1540 (unknown function) or 1541 (number of arguments).
    """
    function = FUNCTIONS.get(name)
    if function is None:
        raise InvalidQuery(f"unknown function {name:.80}()", error_code=w.UNKNOWN_FUNCTION)
    check_count(function, count)
    return function
