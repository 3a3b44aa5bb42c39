"""Names and slots: which variable of a query stands where in its rows."""

from __future__ import annotations

from typing import NamedTuple

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
    """Which variable stands in which slot; inner scopes see the outer ones."""

    def __init__(self, run: Run, outer: Scope | None = None) -> None:
        self._run = run
        self._outer = outer
        self._slots: dict[str, int] = {}

    def inner(self) -> Scope:
        """A scope inside this one."""
        return Scope(self._run, self)

    def declare(self, name: str) -> int:
        """A slot for a new variable."""
        slot = self._slots[name] = self._run.slot()
        return slot

    def find(self, name: str) -> int | None:
        """The variable's slot, None where there is no such variable."""
        slot = self._slots.get(name)
        if slot is None and self._outer is not None:
            return self._outer.find(name)
        return slot

    def clear(self) -> None:
        """Forget this scope's own variables, as COLLECT does."""
        self._slots = {}

    def names(self) -> set[str]:
        """Every variable that can be seen."""
        return set(self._slots) | (self._outer.names() if self._outer is not None else set())
