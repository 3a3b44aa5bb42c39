"""Who watches the pipeline: told of each command when it is over, and unable to change anything."""

from __future__ import annotations

from typing import Protocol

from mallku_contracts.errors import MallkuError
from mallku_workers.message import Case


class Observer(Protocol):
    """Told once of every command that was answered or refused; must neither wait nor raise."""

    def ended(self, case: Case, error: MallkuError | None) -> None:
        """The command is over; `case.steps` has what each step took."""
        ...
