"""How a loop gets at a collection's documents: by key, by an index, or by reading them all.

A loop's filters are taken apart into bounds: an attribute of the loop's document compared with
something that is known before the loop begins. The way that is chosen leads to at least all
documents within the bounds; the filters themselves still decide about each of them.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from mallku_workers.stores.embedded.catalog import Collection, Index
from mallku_workers.stores.embedded.matching import Plan, make_plan
from mallku_workers.stores.embedded.values import AFTER_PREFIX, order_key
from mallku_workers.stores.paths import Path

MAX_INDEX_LOOKUPS: Final = 1_000
"""Values of one `IN` that an index is asked for, one after the other; more are a search."""

Comparison: TypeAlias = Literal["==", "IN", "<", "<=", ">", ">="]

_KEY: Final = ("_key",)
_ID: Final = ("_id",)
_LEAST: Final = b""


@dataclass(frozen=True, slots=True)
class Bound:
    """An attribute of the document compared with a value."""

    path: Path
    comparison: Comparison
    value: Any


class Order(NamedTuple):
    """The order of one attribute."""

    path: Path
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Access:
    """The way to some documents of a collection.

    Attributes:
        keys: Exactly these documents, in this order; None where plans say which.
        plans: Searches, one after the other.
        ordered_by: The only plan's documents come in the order of this attribute.
        kind: What `explain` calls it: `primary`, the name of an index, or `full`.
    """

    collection: Collection
    kind: str
    keys: Sequence[str] | None = None
    plans: tuple[Plan, ...] = ()
    ordered_by: Order | None = None


def choose(collection: Collection, bounds: Sequence[Bound], order: Order | None = None) -> Access:
    """The narrowest way that the collection offers for these bounds.

    Where a SORT follows, `order` is what it asks for: an index may give that for nothing.
    """
    return (
        _by_key(collection, bounds)
        or _by_prefix(collection, bounds, order)
        or _by_equality(collection, bounds)
        or _by_list(collection, bounds)
        or _by_range(collection, bounds, order)
        or _by_order(collection, order)
        or Access(collection, "full", plans=(make_plan(collection, _equalities(bounds)),))
    )


def _by_key(collection: Collection, bounds: Iterable[Bound]) -> Access | None:
    for bound in bounds:
        if bound.path not in (_KEY, _ID) or bound.comparison not in ("==", "IN"):
            continue
        values = bound.value if bound.comparison == "IN" else [bound.value]
        prefix = "" if bound.path == _KEY else collection.prefix
        return Access(collection, "primary", keys=tuple(_keys(values, prefix)))
    return None


def _keys(values: Any, prefix: str) -> Iterator[str]:
    named = (value for value in _items(values) if isinstance(value, str))
    return (name[len(prefix) :] for name in dict.fromkeys(named) if name.startswith(prefix))


def _items(values: Any) -> Sequence[Any]:
    return values if isinstance(values, list) else ()


def _equalities(bounds: Iterable[Bound]) -> dict[str, Any]:
    """What has to stand at which path; names that hold dots themselves cannot be said so."""
    return {
        ".".join(bound.path): bound.value
        for bound in bounds
        if bound.comparison == "==" and not any("." in name for name in bound.path)
    }


def _by_equality(collection: Collection, bounds: Sequence[Bound]) -> Access | None:
    wanted = _equalities(bounds)
    if not wanted:
        return None
    plan = make_plan(collection, wanted)
    if plan.index is None and not plan.empty:
        return None
    return Access(collection, plan.index.name if plan.index else "none", plans=(plan,))


def _by_prefix(
    collection: Collection, bounds: Sequence[Bound], order: Order | None
) -> Access | None:
    """Equal values of an index's first attributes, and a range or the order of the next one."""
    equal = {bound.path: order_key(bound.value) for bound in bounds if bound.comparison == "=="}
    depths = {index.name: _depth(index, equal) for index in collection.indexes}
    most = max(depths.values(), default=0)
    for index in collection.indexes:
        depth = depths[index.name]
        if not depth or depth == len(index.paths) or depth < most or index.sparse:
            continue
        path = index.paths[depth]
        ranges = _ranges(bounds, path)
        if ranges or (order is not None and order.path == path):
            low, high = _ends(ranges)
            prefix = b"".join(equal[one] for one in index.paths[:depth])
            plan = _between(collection, index, prefix + low, prefix + high)
            return _in_order(plan, index, path, order)
    return None


def _depth(index: Index, equal: Container[Path]) -> int:
    """How many of its first attributes are held to a value."""
    return len(list(takewhile(equal.__contains__, index.paths)))


def _ranges(bounds: Iterable[Bound], path: Path) -> list[Bound]:
    return [one for one in bounds if one.path == path and one.comparison not in ("==", "IN")]


def _by_list(collection: Collection, bounds: Iterable[Bound]) -> Access | None:
    for bound in bounds:
        if bound.comparison != "IN":
            continue
        values = {order_key(value): value for value in _items(bound.value)}
        if len(values) > MAX_INDEX_LOOKUPS:
            continue
        for index in collection.indexes:
            if index.paths == (bound.path,) and not (index.sparse and None in values.values()):
                plans = tuple(
                    _between(collection, index, key, key + AFTER_PREFIX) for key in values
                )
                return Access(collection, index.name, plans=plans)
    return None


def _by_range(
    collection: Collection, bounds: Sequence[Bound], order: Order | None
) -> Access | None:
    for index in collection.indexes:
        path = index.paths[0]
        ranges = _ranges(bounds, path)
        low, high = _ends(ranges)
        if not ranges or (index.sparse and (low <= order_key(None) or len(index.paths) > 1)):
            continue
        return _in_order(_between(collection, index, low, high), index, path, order)
    return None


def _by_order(collection: Collection, order: Order | None) -> Access | None:
    """All documents, in the order that is wanted of them."""
    if order is None:
        return None
    for index in collection.indexes:
        if index.paths[0] == order.path and not index.sparse:
            return _in_order(Plan(collection, index=index), index, order.path, order)
    return None


def _in_order(plan: Plan, index: Index, path: Path, order: Order | None) -> Access:
    plan.descending = order is not None and order == Order(path, descending=True)
    own = Order(path, plan.descending)
    return Access(plan.collection, index.name, plans=(plan,), ordered_by=own)


def _ends(bounds: Iterable[Bound]) -> tuple[bytes, bytes]:
    """From which key on, and before which one."""
    low, high = _LEAST, AFTER_PREFIX
    for bound in bounds:
        if bound.comparison in (">", ">="):
            low = max(low, _least(bound.value))
        else:
            high = min(high, _least(bound.value, end=True))
    return low, high


def _least(value: Any, *, end: bool = False) -> bytes:
    """A key that no smaller value has, or, with `end`, one that no greater value is below."""
    key = order_key(value)
    return key + AFTER_PREFIX if end else key


def _between(collection: Collection, index: Index, low: bytes, high: bytes) -> Plan:
    plan = Plan(collection, index=index)
    plan.add(f"{index.column} >= ? AND {index.column} < ?", low, high)
    return plan
