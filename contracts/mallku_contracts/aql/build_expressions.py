"""The grammar's actions for expressions: each takes the parts of one rule and gives a node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

from mallku_contracts.aql import precedence
from mallku_contracts.aql.chain import Chain, Join
from mallku_contracts.aql.lexer import MAX_NESTING, TOO_DEEP, Token, refuse
from mallku_contracts.aql.tree import (
    ArrayLiteral,
    ArrayMatch,
    Attribute,
    Binary,
    BinaryOperator,
    BindParameter,
    Call,
    CollectionBind,
    Expansion,
    Expression,
    Index,
    Item,
    Literal,
    Member,
    ObjectLiteral,
    Quantified,
    Range,
    Subquery,
    Ternary,
    Unary,
    Variable,
)

Parts: TypeAlias = list[Any]
"""What stands on the right side of a rule: tokens, and what other actions gave."""


@dataclass(frozen=True, slots=True)
class Closed:
    """An expansion in parentheses: what follows no longer goes into it."""

    node: Expansion


def _open(node: Any) -> Any:
    return node.node if type(node) is Closed else node


def _extend(node: Any, access: Callable[[Any], Expression], level: int = 0) -> Expression:
    """Put an access behind `node`; behind an open expansion it goes into the innermost tail."""
    if type(node) is not Expansion:
        return access(_open(node))
    if level >= MAX_NESTING:
        what = f"expansions follow each other more than {MAX_NESTING} times"
        refuse(what, node.at, number=TOO_DEEP)
    return replace(node, tail=_extend(node.tail, access, level + 1))


def _joining(operator: str) -> Join:
    if operator == "..":
        return lambda left, right: Range(left, right, at=left.at)
    known = cast("BinaryOperator", operator)  # one of those that the grammar knows
    return lambda left, right: Binary(known, left, right, at=left.at)


_JOINS = {operator: _joining(operator) for operator in (*precedence.BINARY, "NOT LIKE")}
_NEGATED = {"LIKE": "NOT LIKE", "=~": "!~", "!~": "=~"}


class ExpressionActions:
    """Named as in the grammar; what is a list here becomes a tuple in its node."""

    def nothing(self, parts: Parts) -> None:
        """An optional part that is not there."""

    def alone(self, parts: Parts) -> Any:
        """A part that stands for itself."""
        return parts[0]

    def first(self, parts: Parts) -> list[Any]:
        """The first of a list."""
        return [parts[0]]

    def listed(self, parts: Parts) -> list[Any]:
        """One more of a list, behind a comma."""
        listed: list[Any] = parts[0]
        listed.append(parts[2])
        return listed

    def literal(self, parts: Parts) -> Literal:
        """`1`, `"text"`, `null`; a number that no double holds is null, and marked."""
        token: Token = parts[0]
        value: Any = token.value
        if type(value) is float and value == float("inf"):
            return Literal(None, overflow=True, at=token.at)
        return Literal(value, at=token.at)

    # --- chains ---

    def expression(self, parts: Parts) -> Expression:
        """A chain that is complete."""
        chain: Chain = parts[0]
        return chain.tree() if chain.rest else chain.first

    def opened(self, parts: Parts) -> Any:
        """A reference that nothing follows any more."""
        return _open(parts[0])

    def chain_first(self, parts: Parts) -> Chain:
        """A first operand."""
        return Chain(parts[0])

    def chain_more(self, parts: Parts) -> Chain:
        """`… + x`."""
        chain: Chain = parts[0]
        operator: str = parts[1].value
        operand: Expression = parts[2]
        chain.rest.append((precedence.BINARY[operator], _JOINS[operator], operand))
        return chain

    def chain_not(self, parts: Parts) -> Chain:
        """`… NOT LIKE x`, `… NOT =~ x`."""
        chain: Chain = parts[0]
        _, token, operand = parts[1:]
        join = _JOINS[_NEGATED[token.value]]
        chain.rest.append((precedence.negated(token.value), join, operand))
        return chain

    def chain_quantified(self, parts: Parts) -> Chain:
        """`… ANY == x`."""
        chain, quantifier, token, operand = parts
        return self._quantified(chain, quantifier.value, token.value, operand)

    def chain_at_least(self, parts: Parts) -> Chain:
        """`… AT LEAST (2) == x`."""
        chain, _, _, count, _, token, operand = parts
        return self._quantified(chain, "AT LEAST", token.value, operand, count)

    def _quantified(
        self, chain: Chain, quantifier: Any, operator: Any, operand: Any, count: Any = None
    ) -> Chain:
        def join(left: Expression, right: Expression) -> Expression:
            return Quantified(quantifier, operator, left, right, count, at=left.at)

        chain.rest.append((precedence.quantified(quantifier, operator), join, operand))
        return chain

    def chain_ternary(self, parts: Parts) -> Chain:
        """`… ? then : otherwise`."""
        chain, _, then, _, operand = parts
        return self._ternary(chain, then, operand)

    def chain_short(self, parts: Parts) -> Chain:
        """`… ?: otherwise`."""
        chain, _, _, operand = parts
        return self._ternary(chain, None, operand)

    def _ternary(self, chain: Chain, then: Any, operand: Any) -> Chain:
        def join(left: Expression, right: Expression) -> Expression:
            return Ternary(left, then, right, at=left.at)

        chain.rest.append((precedence.TERNARY, join, operand))
        return chain

    def unary(self, parts: Parts) -> Unary:
        """`-x`, `!x`."""
        token, operand = parts
        return Unary(token.value, operand, at=token.at)

    def quantifier(self, parts: Parts) -> Token:
        """`ANY`, `ALL`, `NONE`."""
        token: Token = parts[0]
        return token

    # --- references ---

    def variable(self, parts: Parts) -> Variable:
        """A name; whether of a variable or of a collection is found out later."""
        return Variable(parts[0].value, at=parts[0].at)

    def bind(self, parts: Parts) -> BindParameter:
        """`@x`."""
        return BindParameter(parts[0].value, at=parts[0].at)

    def collection_bind(self, parts: Parts) -> CollectionBind:
        """`@@x`."""
        return CollectionBind(parts[0].value, at=parts[0].at)

    def closed(self, parts: Parts) -> Any:
        """`(x)`."""
        inner = parts[1]
        return Closed(inner) if type(inner) is Expansion else inner

    def subquery(self, parts: Parts) -> Subquery:
        """`(FOR …)`."""
        return Subquery(tuple(parts[1]), at=parts[0].at)

    def argument_query(self, parts: Parts) -> Subquery:
        """`FIRST(FOR …)`: as an argument a query needs no parentheses of its own."""
        return Subquery(tuple(parts[0]), at=parts[0][0].at)

    def attribute(self, parts: Parts) -> Expression:
        """`x.name`, `x?.name`."""
        node, dot, token = parts
        name, optional = token.value, dot.type == "QDOT"
        return _extend(node, lambda inner: Attribute(inner, name, optional, at=token.at))

    def attribute_bound(self, parts: Parts) -> Expression:
        """`x.@name`."""
        node, dot, token = parts
        name, optional = BindParameter(token.value, at=token.at), dot.type == "QDOT"
        return _extend(node, lambda inner: Attribute(inner, name, optional, at=token.at))

    def index(self, parts: Parts) -> Expression:
        """`x[i]`."""
        node, bracket, index, _ = parts
        return _extend(node, lambda inner: Index(inner, index, at=bracket.at))

    def index_optional(self, parts: Parts) -> Expression:
        """`x?.[i]`."""
        node, dot, _, index, _ = parts
        return _extend(node, lambda inner: Index(inner, index, optional=True, at=dot.at))

    # --- expansions ---

    def star(self, parts: Parts) -> int:
        """The first star."""
        return len(parts)

    def stars(self, parts: Parts) -> int:
        """One more star."""
        return int(parts[0]) + 1

    def inline(self, parts: Parts) -> tuple[Any, Any]:
        """`FILTER x`, `LIMIT x`, `RETURN x` inside the brackets."""
        return None, parts[1]

    def inline_limit(self, parts: Parts) -> tuple[Any, Any]:
        """`LIMIT x, y` inside the brackets."""
        return parts[1], parts[3]

    def expansion(self, parts: Parts) -> Expression:
        """`x[*]`; several stars flatten all that stands before them, so they close it."""
        node, bracket, levels, condition, limit, projection, _ = parts
        offset, count = limit or (None, None)

        def expand(subject: Expression) -> Expression:
            return Expansion(
                subject,
                levels,
                Item(at=bracket.at),
                condition and condition[1],
                offset,
                count,
                projection and projection[1],
                at=bracket.at,
            )

        return expand(_open(node)) if levels > 1 else _extend(node, expand)

    def array_match(self, parts: Parts) -> Expression:
        """`x[? …]`."""
        node, bracket, _, match, _ = parts
        quantifier, count, condition = match or (None, None, None)
        return _extend(
            node,
            lambda inner: ArrayMatch(inner, quantifier, count, condition, at=bracket.at),
        )

    def match_any(self, parts: Parts) -> tuple[Any, Any, Any]:
        """`[? FILTER x]`."""
        return None, None, parts[1]

    def match_quantified(self, parts: Parts) -> tuple[Any, Any, Any]:
        """`[? ALL FILTER x]`."""
        return parts[0].value, None, parts[2]

    def match_at_least(self, parts: Parts) -> tuple[Any, Any, Any]:
        """`[? AT LEAST (2) FILTER x]`."""
        return "AT LEAST", parts[2], parts[5]

    def match_counted(self, parts: Parts) -> tuple[Any, Any, Any]:
        """`[? 2..3 FILTER x]`."""
        return None, parts[0], parts[2]

    # --- arrays, objects, calls ---

    def array_empty(self, parts: Parts) -> ArrayLiteral:
        """`[]`."""
        return ArrayLiteral((), at=parts[0].at)

    def array(self, parts: Parts) -> ArrayLiteral:
        """`[a, b]`."""
        return ArrayLiteral(tuple(parts[1]), at=parts[0].at)

    def object_empty(self, parts: Parts) -> ObjectLiteral:
        """`{}`."""
        return ObjectLiteral((), at=parts[0].at)

    def object(self, parts: Parts) -> ObjectLiteral:
        """`{a: 1}`."""
        return ObjectLiteral(tuple(parts[1]), at=parts[0].at)

    def member_short(self, parts: Parts) -> Member:
        """`{a}`."""
        token: Any = parts[0]
        value = Variable(token.value, at=token.at)
        return Member(token.value, value, shorthand=True, at=token.at)

    def member_named(self, parts: Parts) -> Member:
        """`{a: 1}`."""
        return Member(parts[0].value, parts[2], at=parts[0].at)

    def member_bound(self, parts: Parts) -> Member:
        """`{@a: 1}`."""
        name = BindParameter(parts[0].value, at=parts[0].at)
        return Member(name, parts[2], at=name.at)

    def member_computed(self, parts: Parts) -> Member:
        """`{[a]: 1}`; a literal string there is an ordinary name."""
        name = parts[1]
        if type(name) is Literal and isinstance(name.value, str):
            name = name.value
        return Member(name, parts[4], at=parts[0].at)

    def function(self, parts: Parts) -> Token:
        """A function's name."""
        token: Token = parts[0]
        return Token("NAME", str(token.value).upper(), token.start, token.at)

    def function_scoped(self, parts: Parts) -> Token:
        """`A::B`."""
        first, _, token = parts
        return Token("NAME", f"{first.value}::{token.value.upper()}", first.start, first.at)

    def call_empty(self, parts: Parts) -> Call:
        """`F()`."""
        return Call(parts[0].value, (), at=parts[0].at)

    def call(self, parts: Parts) -> Call:
        """`F(a, b)`."""
        return Call(parts[0].value, tuple(parts[2]), at=parts[0].at)
