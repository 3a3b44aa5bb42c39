"""A flat chain of operands and operators becomes a tree, by precedence.

The chain keeps no recursion: however long it is, a stack of its own holds what waits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from mallku_contracts.aql.precedence import Pull
from mallku_contracts.aql.tree import Expression

Join: TypeAlias = Callable[[Expression, Expression], Expression]


@dataclass(slots=True)
class Chain:
    """`first`, and then for each operator its pull, how it joins its sides, and the right side."""

    first: Expression
    rest: list[tuple[Pull, Join, Expression]] = field(default_factory=list)

    def tree(self) -> Expression:
        """The expression that the chain means."""
        if not self.rest:
            return self.first
        operands, waiting = [self.first], list[tuple[Pull, Join]]()
        for pull, join, operand in self.rest:
            while waiting and waiting[-1][0].right > pull.left:
                _join_last(operands, waiting)
            waiting.append((pull, join))
            operands.append(operand)
        while waiting:
            _join_last(operands, waiting)
        return operands[0]


def _join_last(operands: list[Expression], waiting: list[tuple[Pull, Join]]) -> None:
    right = operands.pop()
    operands[-1] = waiting.pop()[1](operands[-1], right)
