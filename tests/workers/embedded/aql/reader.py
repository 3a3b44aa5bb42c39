"""Evaluates the queries of one expression: `RETURN ...` without loops, variables or a store."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mallku_contracts.aql import tree as t
from mallku_contracts.aql.parsing import parse
from mallku_workers.stores.embedded.aql import operators as o
from mallku_workers.stores.embedded.aql.functions import Call, look_up

STORE = frozenset({"DOCUMENT", "COLLECTION_COUNT", "COLLECTIONS"})
GOLDEN = Path(__file__).parents[3] / "stores" / "golden" / "aql-golden.jsonl"


class OutOfReach(Exception):
    """The expression needs more than values and functions."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Evaluates expressions whose every part is a constant."""

    call: Call
    binds: dict[str, Any]

    def value(self, node: t.Expression) -> Any:
        """The value of an expression; `OutOfReach` where it names a variable or a collection."""
        match node:
            case t.Literal():
                return node.value
            case t.BindParameter(name=name) if name in self.binds:
                return self.binds[name]
            case t.ArrayLiteral():
                return [self.value(item) for item in node.items]
            case t.ObjectLiteral():
                return {self.name(one.name): self.value(one.value) for one in node.members}
            case t.Call() if node.name not in STORE:
                arguments = [self.value(argument) for argument in node.arguments]
                return look_up(node.name, len(arguments)).call(self.call, *arguments)
            case _:
                return self.operation(node)

    def operation(self, node: t.Expression) -> Any:  # noqa: PLR0911 - one for each operator
        """The value of what is made of an operator."""
        match node:
            case t.Unary():
                return o.UNARY[node.operator](self.value(node.operand))
            case t.Binary(operator="AND" | "OR"):
                left, right = self.value(node.left), self.value(node.right)
                return right if o.to_bool(left) == (node.operator == "AND") else left
            case t.Binary():
                left, right = self.value(node.left), self.value(node.right)
                return o.BINARY[node.operator](left, right, self.call)
            case t.Ternary(then=t.Node()):
                chosen = node.then if o.to_bool(self.value(node.condition)) else node.otherwise
                return self.value(chosen)  # type: ignore[arg-type]
            case t.Range():
                return o.list_range(self.value(node.low), self.value(node.high), self.call)
            case t.Index():
                return o.access(self.value(node.subject), self.value(node.index))
            case t.Attribute(name=str() as name):
                return o.attribute(self.value(node.subject), name)
            case _:
                raise OutOfReach(type(node).__name__)

    def name(self, name: str | t.Expression) -> str:
        """An attribute's name in an object literal."""
        return name if isinstance(name, str) else o.to_string(self.value(name))


def evaluate(text: str, call: Call, binds: dict[str, Any] | None = None) -> Any:
    """The value that `RETURN` gives in a query of nothing else."""
    match parse(text).statements:
        case (t.Return(distinct=False, value=value),):
            return Reader(call, binds or {}).value(value)
        case _:
            raise OutOfReach(text)


@cache
def golden_rows() -> tuple[dict[str, Any], ...]:
    """Every recorded query."""
    return tuple(json.loads(line) for line in GOLDEN.read_text().splitlines())
