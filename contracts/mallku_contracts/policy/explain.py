"""Why a command is allowed or not: every rule that was looked at, with what it said."""

from __future__ import annotations

from typing import NamedTuple


class Considered(NamedTuple):
    """One rule, and what kept it from allowing the command; None for the rule that did."""

    rule: str
    why_not: str | None


class Explanation(NamedTuple):
    """The decision about one command, and how it came about.

    Attributes:
        rule: The rule that allowed it; None when it is refused.
        restricted_by: What holds for its documents: keys of the rule and of the collection.
        refusal: What the caller is told when it is refused.
        considered: In the order of the decision, up to the rule that allowed.
    """

    rule: str | None
    policy_version: int
    restricted_by: tuple[str, ...]
    refusal: str | None
    considered: tuple[Considered, ...]

    @property
    def allowed(self) -> bool:
        """Whether the command is allowed."""
        return self.rule is not None

    def __str__(self) -> str:
        lines = [
            f"{one.rule}: {'allows it' if one.why_not is None else one.why_not}"
            for one in self.considered
        ]
        if self.refusal is not None:
            lines.append(f"refused: {self.refusal}")
        if self.restricted_by:
            lines.append(f"restricted by {', '.join(self.restricted_by)}")
        return "\n".join(lines)
