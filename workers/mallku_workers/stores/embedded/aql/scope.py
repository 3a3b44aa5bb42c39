"""Names and slots: which variable of a query stands where in its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from mallku_contracts.aql import tree as t
from mallku_workers.stores.embedded.aql.run import Evaluate, Run


class Code(NamedTuple):
    """A compiled expression; `constant` when its value does not depend on the row or the store."""

    evaluate: Evaluate
    constant: bool = False

    def fold(self, run: Run) -> Code:
        """The same, worked out now if it can be."""
        if not self.constant:
            return self
        run.call.constant = True
        try:
            value = self.evaluate(run.new_row())
        finally:
            run.call.constant = False
        return Code(lambda _row: value, constant=True)


class Scope:
    """Which variable stands in which slot; inner scopes see the outer ones.

    Args:
        subquery: Compiles the statements of a subquery, given the scope that it sees. It comes
            along here so that what compiles expressions holds nothing that compiles statements.
    """

    def __init__(self, run: Run, subquery: Subquery, outer: Scope | None = None) -> None:
        self.subquery = subquery
        self._run = run
        self._outer = outer
        self._slots: dict[str, int] = {}
        self._lasting: dict[str, int] | None = None
        self._constants: dict[int, Code] = {}

    def inner(self) -> Scope:
        """A scope inside this one."""
        return Scope(self._run, self.subquery, self)

    def declare(self, name: str, value: Code | None = None) -> int:
        """A slot for a new variable; a constant `value` is taken instead of what stands there."""
        slot = self._slots[name] = self._run.slot()
        if value is not None and value.constant:
            self._constants[slot] = value
        return slot

    def code(self, name: str) -> Code | None:
        """The variable's value, None where there is no such variable."""
        slot = self._slots.get(name)
        if slot is None:
            return None if self._outer is None else self._outer.code(name)
        return self._constants.get(slot) or Code(lambda row: row[slot])

    def find(self, name: str) -> int | None:
        """The variable's slot, None where there is no such variable."""
        slot = self._slots.get(name)
        if slot is None and self._outer is not None:
            return self._outer.find(name)
        return slot

    def begin_loop(self) -> None:
        """What was declared so far, before the first loop, outlasts every COLLECT."""
        if self._lasting is None:
            self._lasting = dict(self._slots)

    def end_loops(self) -> list[int]:
        """Forget what the loops declared, as COLLECT does; the slots of what is left."""
        if self._lasting is not None:
            self._slots = dict(self._lasting)
        return list(self._slots.values())

    def names(self) -> set[str]:
        """Every variable that can be seen."""
        return set(self._slots) | (self._outer.names() if self._outer is not None else set())


Subquery: TypeAlias = Callable[[Sequence[t.Statement], Scope], Evaluate]
"""Compiles a subquery within a scope: a function from a row to the list of what it returns."""
