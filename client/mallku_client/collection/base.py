"""What the groups of a collection's methods stand on: a name, and a way to send."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Unpack

from mallku_client.answers import Answer
from mallku_client.options import CallOptions
from mallku_contracts.subjects import check_name


class Sender(Protocol):
    """Where operations go: `Commands`, or what collects them for later."""

    async def send(
        self,
        operation: str,
        collection: str | None,
        arguments: Mapping[str, Any],
        **options: Unpack[CallOptions],
    ) -> Answer:
        """Take one operation, as `Commands.send` does."""
        ...


class CollectionOperations:
    """Sends operations about one collection.

    Raises:
        InvalidSubject: `name` is no name; nothing is sent to find that out.
    """

    def __init__(self, commands: Sender, name: str) -> None:
        self._commands = commands
        self._name = check_name(name, "collection")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name}>"

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._name

    async def _do(self, operation: str, arguments: dict[str, Any], options: CallOptions) -> Any:
        """The result of one operation, in the shape that the table of operations gives."""
        if "model" in options:
            rest = options.copy()
            if (model := rest.pop("model")) is not None:
                arguments = {**arguments, "model": model}
            options = rest
        answer = await self._commands.send(operation, self._name, arguments, **options)
        return answer.result
