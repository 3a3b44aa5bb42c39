"""What is done to each element of an array: expansions, and how many elements agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mallku_contracts.aql.tree import Quantifier
from mallku_workers.stores.embedded.aql import operators as o
from mallku_workers.stores.embedded.aql.run import ITEM_BYTES, Evaluate, Row, Run, items


@dataclass(frozen=True, slots=True)
class Expanding:
    """`subject[* FILTER … LIMIT … RETURN …]` at work.

    Attributes:
        current: The slot of CURRENT, which the condition sees.
        slot: The slot from which `each` takes the element.
    """

    run: Run
    subject: Evaluate
    levels: int
    current: int
    condition: Evaluate | None
    offset: Evaluate | None
    count: Evaluate | None
    slot: int
    each: Evaluate

    def evaluate(self, row: Row) -> list[Any]:
        """What becomes of each element, as a list."""
        elements = items(self.subject(row))
        if self.levels > 1:
            elements = o.flatten(elements, self.levels - 1)
        if self.condition is not None:
            elements = [
                element for element in elements if self._passes(self.condition, row, element)
            ]
        if self.count is not None:
            elements = self._limited(row, elements)
        slot, each, turn = self.slot, self.each, self.run.turn
        self.run.memory.lend(ITEM_BYTES * len(elements))
        out = []
        for element in elements:
            turn()
            row[slot] = element
            out.append(each(row))
        return out

    def _passes(self, condition: Evaluate, row: Row, element: Any) -> bool:
        row[self.current] = element
        return self.run.holds(condition, row)

    def _limited(self, row: Row, elements: Any) -> Any:
        start = max(o.to_integer(self.offset(row)), 0) if self.offset else 0
        count = max(o.to_integer(self.count(row)), 0) if self.count else 0
        return elements[start : start + count]


def quantify(
    quantifier: Quantifier, values: Any, agrees: Callable[[Any], bool], least: Any
) -> bool:
    """Whether as many of the values agree as the quantifier asks for; no array never does."""
    if not isinstance(values, list):
        return False
    return is_enough(quantifier, sum(map(agrees, values)), len(values), least)


def is_enough(quantifier: Quantifier | None, found: int, total: int, count: Any) -> bool:
    """Whether so many of so many elements are what was asked for.

    Without a quantifier `count` is a number, the numbers of a range, or None for any.
    """
    if quantifier == "ALL":
        return found == total
    if quantifier == "NONE":
        return found == 0
    if quantifier == "ANY":
        return found > 0
    if quantifier == "AT LEAST":
        return found >= o.to_number(count)
    if isinstance(count, list):
        return bool(count) and count[0] <= found <= count[-1]
    return found > 0 if count is None else found == o.to_number(count)
