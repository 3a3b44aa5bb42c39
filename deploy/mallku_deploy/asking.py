"""What somebody typed as OPERATION COLLECTION [JSON], checked before anything is sent."""

from __future__ import annotations

import difflib
import sys
from dataclasses import dataclass
from typing import Any

from mallku_contracts.arguments import read_arguments
from mallku_contracts.errors import InvalidArguments, MessageTooLarge
from mallku_contracts.limits import MAX_COMMAND_BYTES
from mallku_contracts.operations import OPERATIONS, Operation, Scope
from mallku_contracts.subjects import NO_COLLECTION, CommandSubject
from mallku_deploy.reading import read_json


@dataclass(frozen=True, slots=True)
class Asked:
    """An operation of the table with arguments that fit it; `collection` is None for none."""

    operation: Operation
    collection: str | None
    arguments: dict[str, Any]

    def subject(self, principal: str, database: str) -> CommandSubject:
        """Where the command is published; `InvalidSubject` names the part that is no name."""
        return CommandSubject.build(principal, database, self.collection, self.operation.name)


def read_asked(operation: str, collection: str, text: str | None) -> Asked:
    """Read what was typed.

    Raises:
        InvalidArguments: no such verb, a collection too many or missing, a wrong argument, or
            text that is no JSON object.
        MessageTooLarge: standard input holds more than a command may.
    """
    verb = _verb(operation)
    if (verb.scope is Scope.DATABASE) != (collection == NO_COLLECTION):
        wanted = "no collection: @" if verb.scope is Scope.DATABASE else "the name of a collection"
        raise InvalidArguments(f"{verb.name} takes {wanted}")
    given = _read_standard_input() if text == "-" else text
    arguments = read_json(given, "arguments", InvalidArguments)
    read_arguments(verb.arguments, arguments)
    return Asked(verb, None if collection == NO_COLLECTION else collection, arguments)


def _read_standard_input() -> str:
    given = sys.stdin.read(MAX_COMMAND_BYTES + 1)
    if len(given) > MAX_COMMAND_BYTES:
        raise MessageTooLarge(
            f"arguments: more than {MAX_COMMAND_BYTES} characters; a command has at most "
            f"{MAX_COMMAND_BYTES} bytes"
        )
    return given


def _verb(name: str) -> Operation:
    verb = OPERATIONS.get(name)
    if verb is None:
        close = difflib.get_close_matches(name, OPERATIONS, n=1)
        hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(OPERATIONS)}"
        raise InvalidArguments(f"there is no operation {name!r}{hint}")
    return verb
