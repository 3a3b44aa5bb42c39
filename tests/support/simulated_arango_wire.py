"""What the simulated ArangoDB is asked, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.support.simulated_arango_engine import Fault

VERSION = "3.12.4"


@dataclass
class Asked:
    """One request, taken apart."""

    method: str
    database: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    body: Any

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A parameter that says yes or no."""
        value = self.params.get(name)
        return default if value is None else value.lower() in ("1", "true", "yes")

    @property
    def transaction(self) -> str | None:
        """The stream transaction that it is part of."""
        return self.headers.get("x-arango-trx-id")


@dataclass
class Answer:
    """A status, a body, and headers besides."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


class Dropped(Exception):
    """The connection ends without an answer."""


def failure(fault: Fault) -> Answer:
    """The body of an error."""
    return Answer(
        fault.status,
        {
            "error": True,
            "code": fault.status,
            "errorNum": fault.number,
            "errorMessage": fault.message,
        },
    )


def done(body: dict[str, Any], status: int = 200) -> Answer:
    """A body with the marks of success."""
    return Answer(status, {"error": False, "code": status, **body})


NAME = r"([^/]+)"
