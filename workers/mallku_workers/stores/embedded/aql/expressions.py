"""Expressions made into functions of a row.

What is constant is worked out once, when the query is prepared, as ArangoDB does: warnings of
constant parts come up even where they are never reached.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, Final

from mallku_contracts.aql import tree as t
from mallku_contracts.aql.analysis import collection_name
from mallku_workers.stores.embedded.aql import operators as o
from mallku_workers.stores.embedded.aql import warnings as w
from mallku_workers.stores.embedded.aql.access import choose
from mallku_workers.stores.embedded.aql.expansions import Expanding, is_enough, quantify
from mallku_workers.stores.embedded.aql.functions import FUNCTIONS
from mallku_workers.stores.embedded.aql.functions.base import Implementation
from mallku_workers.stores.embedded.aql.lookups import LOOKUPS
from mallku_workers.stores.embedded.aql.run import (
    ITEM_BYTES,
    POINTER_BYTES,
    Evaluate,
    Row,
    Run,
    is_container,
    items,
    wrong,
)
from mallku_workers.stores.embedded.aql.scope import Code, Scope
from mallku_workers.stores.embedded.catalog import Collection

CURRENT: Final = "CURRENT"
_USER_FUNCTION: Final = 1582
_BIND_TYPE: Final = 1553


class Expressions:
    """Compiles expressions for one run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._item: int | None = None

    def compile(self, node: t.Expression, scope: Scope) -> Evaluate:
        """A function from a row to the expression's value."""
        return self.code(node, scope).evaluate

    def code(self, node: t.Expression, scope: Scope) -> Code:
        """The same, and whether it is constant."""
        return self._compilers[type(node)](self, node, scope).fold(self._run)

    def constant(self, node: t.Expression, scope: Scope) -> Any:
        """The value of an expression that has to be known before the query runs."""
        code = self.code(node, scope)
        if not code.constant:
            raise wrong(node, "the value has to be known before the query runs", 1501)
        return code.evaluate(self._run.new_row())

    def collection(self, name: t.CollectionName) -> Collection:
        """The collection that a name or a bind parameter stands for."""
        return self._run.source.catalog.collection(collection_name(name, self._run.binds))

    # Values

    def _literal(self, node: t.Literal, _scope: Scope) -> Code:
        if node.overflow:
            self._run.warn(o.OUT_OF_RANGE, "a number is too large")
        value = node.value
        return Code(lambda _row: value, constant=True)

    def _bind(self, node: t.BindParameter, _scope: Scope) -> Code:
        value = self._run.binds[node.name]
        return Code(lambda _row: value, constant=True)

    def _array(self, node: t.ArrayLiteral, scope: Scope) -> Code:
        parts = [self.code(item, scope) for item in node.items]
        evaluate, lend = [part.evaluate for part in parts], self._run.memory.lend
        weight = POINTER_BYTES * (len(parts) + 1)

        def array(row: Row) -> list[Any]:
            lend(weight)
            return [one(row) for one in evaluate]

        return Code(array, all(part.constant for part in parts))

    def _object(self, node: t.ObjectLiteral, scope: Scope) -> Code:
        members = [(self._name(m.name, scope), self.code(m.value, scope)) for m in node.members]
        pairs = [(name.evaluate, value.evaluate) for name, value in members]
        constant = all(name.constant and value.constant for name, value in members)
        lend, weight = self._run.memory.lend, ITEM_BYTES * (len(pairs) + 1)
        fixed = [(m.name, value) for m, (_, value) in zip(node.members, pairs, strict=True)]

        def plain(row: Row) -> dict[Any, Any]:
            lend(weight)
            return {name: value(row) for name, value in fixed}

        def computed(row: Row) -> dict[str, Any]:
            lend(weight)
            return {o.to_string(name(row)): value(row) for name, value in pairs}

        is_plain = all(isinstance(member.name, str) for member in node.members)
        return Code(plain if is_plain else computed, constant)

    def _name(self, name: str | t.Expression, scope: Scope) -> Code:
        if isinstance(name, str):
            return Code(lambda _row: name, constant=True)
        return self.code(name, scope)

    def _variable(self, node: t.Variable, scope: Scope) -> Code:
        code = scope.code(node.name)
        if code is None:
            raise wrong(node, f"unknown variable {node.name!r}", 1512)
        return code

    def _collection(self, node: t.CollectionName, _scope: Scope) -> Code:
        run, collection = self._run, self.collection(node)

        def documents(_row: Row) -> list[Any]:
            run.warn(w.COLLECTION_AS_VALUE, f"collection {collection.name!r} used as expression")
            found = []
            for document in run.source.documents(choose(collection, ())):
                run.turn()
                run.memory.keep(document)
                found.append(document)
            return found

        return Code(documents)

    # Parts of values

    def _attribute(self, node: t.Attribute, scope: Scope) -> Code:
        code = self.code(node.subject, scope)
        for name in self._steps(node.name):
            code = Code(_taken(code.evaluate, name), code.constant)
        return code

    def _steps(self, name: str | t.BindParameter) -> list[str]:
        """The names of attributes, one below the other; a bind parameter may be a list of them."""
        if isinstance(name, str):
            return [name]
        value = self._run.binds[name.name]
        steps = value if isinstance(value, list) else [value]
        if not steps or not all(isinstance(step, str) for step in steps):
            raise wrong(name, f"bind parameter {name.name!r} has to be a name", _BIND_TYPE)
        return steps

    def _index(self, node: t.Index, scope: Scope) -> Code:
        subject, index = self.code(node.subject, scope), self.code(node.index, scope)
        whole, which = subject.evaluate, index.evaluate
        name = which(self._run.new_row()) if index.constant else None
        if isinstance(name, str) and not name[:1].isdigit():
            return Code(_taken(whole, name), subject.constant)  # ["-1"] is no place
        return Code(
            lambda row: o.access(whole(row), which(row)), subject.constant and index.constant
        )

    # Operators

    def _unary(self, node: t.Unary, scope: Scope) -> Code:
        operand = self.code(node.operand, scope)
        apply, value = o.UNARY[node.operator], operand.evaluate
        return Code(lambda row: apply(value(row)), operand.constant)

    def _binary(self, node: t.Binary, scope: Scope) -> Code:
        left, right = self.code(node.left, scope), self.code(node.right, scope)
        return Code(
            self._operator(node, left.evaluate, right.evaluate), left.constant and right.constant
        )

    def _operator(self, node: t.Binary, left: Evaluate, right: Evaluate) -> Evaluate:
        if node.operator == "AND":
            return lambda row: right(row) if o.to_bool(value := left(row)) else value
        if node.operator == "OR":
            return lambda row: value if o.to_bool(value := left(row)) else right(row)
        apply, call = o.BINARY[node.operator], self._run.call
        return lambda row: apply(left(row), right(row), call)

    def _quantified(self, node: t.Quantified, scope: Scope) -> Code:
        left, right = self.code(node.left, scope), self.code(node.right, scope)
        count = self.code(node.count or t.Literal(0), scope)
        compare, call, quantifier = o.BINARY[node.operator], self._run.call, node.quantifier
        many, other, least = left.evaluate, right.evaluate, count.evaluate

        def quantified(row: Row) -> bool:
            value = other(row)
            call.check()
            return quantify(
                quantifier, many(row), lambda one: bool(compare(one, value, call)), least(row)
            )

        return Code(
            quantified,
            left.constant and right.constant and count.constant,
        )

    def _range(self, node: t.Range, scope: Scope) -> Code:
        low, high = self.code(node.low, scope), self.code(node.high, scope)
        start, end, run = low.evaluate, high.evaluate, self._run

        def numbers(row: Row) -> list[int]:
            found = o.list_range(start(row), end(row), run.call)
            run.memory.lend(ITEM_BYTES * len(found))
            return found

        return Code(numbers, low.constant and high.constant)

    def _ternary(self, node: t.Ternary, scope: Scope) -> Code:
        condition = self.code(node.condition, scope)
        then = self.code(node.then, scope) if node.then is not None else None
        otherwise = self.code(node.otherwise, scope)
        yes = then.evaluate if then is not None else None
        test, no = condition.evaluate, otherwise.evaluate

        def choice(row: Row) -> Any:
            value = test(row)
            if not o.to_bool(value):
                return no(row)
            return value if yes is None else yes(row)

        constant = condition.constant and otherwise.constant
        return Code(choice, constant and (then is None or then.constant))

    # Functions

    def _call(self, node: t.Call, scope: Scope) -> Code:
        look_up = LOOKUPS.get(node.name)
        if look_up is not None:
            check_count(node, look_up.min_args, look_up.max_args)
            return Code(look_up.compile(self._run, node, partial(self.compile, scope=scope)))
        if "::" in node.name:
            raise wrong(node, f"there are no user functions: {node.name}()", _USER_FUNCTION)
        function = FUNCTIONS.get(node.name)
        if function is None:
            raise wrong(node, f"usage of unknown function {node.name}()", w.UNKNOWN_FUNCTION)
        check_count(node, function.min_args, function.max_args)
        parts = [self.code(argument, scope) for argument in node.arguments]
        evaluate = _applied(self._run, function.call, [part.evaluate for part in parts])
        return Code(evaluate, function.deterministic and all(part.constant for part in parts))

    def _nested(self, node: t.Subquery, scope: Scope) -> Code:
        return Code(scope.subquery(node.statements, scope))

    # Arrays

    def _element(self, _node: t.Item, _scope: Scope) -> Code:
        slot = self._item
        assert slot is not None  # noqa: S101 - the parser makes items in expansions alone
        return Code(lambda row: row[slot])

    @contextmanager
    def _expanding(self) -> Generator[int]:
        outer, self._item = self._item, self._run.slot()
        try:
            yield self._item
        finally:
            self._item = outer

    def _maybe(self, node: t.Expression | None, scope: Scope) -> Evaluate | None:
        return None if node is None else self.compile(node, scope)

    def _expansion(self, node: t.Expansion, scope: Scope) -> Code:
        subject = self.compile(node.subject, scope)
        inner = scope.inner()
        current = inner.declare(CURRENT)
        condition = self._maybe(node.condition, inner)
        offset, count = self._maybe(node.offset, scope), self._maybe(node.count, scope)
        if node.projection is not None:
            slot, each = current, self.compile(node.projection, inner)
        else:
            with self._expanding() as slot:
                each = self.compile(node.tail, scope)
        expanding = Expanding(
            self._run,
            subject,
            node.levels,
            current,
            condition,
            offset,
            count,
            slot,
            each,
        )
        return Code(expanding.evaluate)

    def _match(self, node: t.ArrayMatch, scope: Scope) -> Code:
        subject = self.compile(node.subject, scope)
        inner = scope.inner()
        slot = inner.declare(CURRENT)
        condition = self.compile(node.condition or t.Literal(True), inner)  # noqa: FBT003 - a value
        count = self._maybe(node.count, scope)
        enough, run = partial(is_enough, node.quantifier), self._run

        def matches(row: Row) -> bool:
            elements, found = items(subject(row)), 0
            for element in elements:
                row[slot] = element
                found += run.holds(condition, row)
            return enough(found, len(elements), None if count is None else count(row))

        return Code(matches)

    _compilers: ClassVar[dict[type[t.Node], Callable[[Any, Any, Scope], Code]]] = {
        t.Literal: _literal,
        t.ArrayLiteral: _array,
        t.ObjectLiteral: _object,
        t.Variable: _variable,
        t.Collection: _collection,
        t.CollectionBind: _collection,
        t.BindParameter: _bind,
        t.Attribute: _attribute,
        t.Index: _index,
        t.Unary: _unary,
        t.Binary: _binary,
        t.Quantified: _quantified,
        t.Range: _range,
        t.Ternary: _ternary,
        t.Call: _call,
        t.Subquery: _nested,
        t.Item: _element,
        t.Expansion: _expansion,
        t.ArrayMatch: _match,
    }


def _taken(evaluate: Evaluate, name: str) -> Evaluate:
    """The attribute of an object; null where there is none, or no object."""

    def attribute(row: Row) -> Any:
        value = evaluate(row)
        return value.get(name) if type(value) is dict else None

    return attribute


def _applied(run: Run, apply: Implementation, arguments: Sequence[Evaluate]) -> Evaluate:
    """A function at work. What it takes and makes may be large, so the bounds are looked at."""
    context, lend_made = run.call, run.memory.lend_made

    def call(row: Row) -> Any:
        values = [one(row) for one in arguments]
        if any(is_container(value) for value in values):
            context.check()
        made = apply(context, *values)
        lend_made(made)
        return made

    return call


def check_count(node: t.Call, least: int, most: int | None) -> None:
    """Refuse a call with too few or too many arguments."""
    given = len(node.arguments)
    if given < least or (most is not None and given > most):
        wanted = f"{least}" if least == most else f"{least} to {'any' if most is None else most}"
        raise wrong(
            node, f"{node.name}() takes {wanted} arguments, {given} are given", w.ARGUMENT_COUNT
        )
