"""Two ways to data that tests make up, and a rollout in front of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mallku_client.rollout import Difference, RolledOutDatabase, Shadow
from mallku_contracts.routes import Route


@dataclass
class Way:
    """One way to data: answers from a table, and remembers what it was asked."""

    answers: dict[str, Any]
    asked: list[str] = field(default_factory=list)
    name: str = ""

    def collection(self, name: str) -> Way:
        """Itself, speaking of a collection."""
        return Way(self.answers, self.asked, name)

    @property
    def aql(self) -> Way:
        """Itself."""
        return self

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if method.startswith("_"):
            raise AttributeError(method)

        def call(*_args: Any, **_kwargs: Any) -> Any:
            self.asked.append(method)
            answer = self.answers.get(method)
            if isinstance(answer, Exception):
                raise answer
            return answer() if callable(answer) else answer

        return call


class Routed:
    """Routes that a test changes."""

    def __init__(self, routes: Mapping[str, Route], default: Route = Route.LEGACY) -> None:
        self.routes = dict(routes)
        self.default = default

    def route(self, collection: str) -> Route:
        """As the test says."""
        return self.routes.get(collection, self.default)


class World:
    """Two ways with a rollout in front of them."""

    def __init__(self, route: Route, legacy: Any = None, gateway: Any = None) -> None:
        self.legacy, self.gateway = Way(legacy or {}), Way(gateway or legacy or {})
        self.routes = Routed({"c": route})
        self.told: list[Difference] = []
        self.shadow = Shadow(on_difference=self.told.append)
        self.database = RolledOutDatabase(self.legacy, self.gateway, self.routes, self.shadow)

    def counted(self) -> dict[str, int]:
        """The comparisons of the collection, all of them done."""
        self.shadow.close()
        return self.shadow.report().get("c", {})
