"""What is switched while everything runs: the document of kind `flags`, YAML that people write.

::

    version: 3
    collections:            # which way Mallku's own code takes to a collection
      memory_anchors: shadow
      "fc_*": gateway
    default: legacy
    flags:                  # anything else that code asks for by name
      combine-gets: true

Flags grant nothing: what somebody may do is the policy's to say, whatever stands here.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Final

import yaml
from pydantic import AfterValidator, Field, PlainValidator

from mallku_contracts.globs import covers
from mallku_contracts.limits import KIB
from mallku_contracts.policy.closed import Closed, Glob, Name
from mallku_contracts.routes import Route, Routing
from mallku_contracts.subjects import NO_COLLECTION
from mallku_contracts.yaml_text import Kind, YamlError, locate, place_text, read_yaml

MAX_FLAGS_CHARS: Final = 256 * KIB
"""A document of flags, characters."""

MAX_ROUTES: Final = 1_000
"""Collections and globs that one document says something about."""

MAX_FLAGS: Final = 200
"""Flags of free names in one document."""

MAX_FLAG_CHARS: Final = 200
"""The value of one flag, characters."""

MAX_FLAG_NUMBER: Final = 2**53 - 1
"""The largest number that a flag may be, to either side: what JSON keeps exact."""


class FlagsError(ValueError):
    """The flags cannot be used; each line of the message is `source:line:column: what`."""


def _route(text: str) -> Route:
    try:
        return Route(text)
    except ValueError:
        raise ValueError(f"{' or '.join(Route)} is expected") from None


def _value(value: object) -> bool | int | str:
    if isinstance(value, bool) or (type(value) is int and abs(value) <= MAX_FLAG_NUMBER):
        return value
    if isinstance(value, str) and len(value) <= MAX_FLAG_CHARS and value.isprintable():
        return value
    raise ValueError(
        "a flag is true or false, a whole number, or one printable line of at most"
        f" {MAX_FLAG_CHARS} characters"
    )


RouteName = Annotated[str, AfterValidator(_route)]
Value = Annotated[bool | int | str, PlainValidator(_value)]


class Flags(Closed):
    """The whole document; immutable. `version` only ever goes up.

    Attributes:
        collections: The route of a collection by its name, or by the first glob that matches.
        default: The route of those that no line names.
        flags: By free names, true or false, whole numbers, or short texts.
    """

    version: int = Field(ge=1)
    collections: dict[Glob, RouteName] = Field(default_factory=dict, max_length=MAX_ROUTES)
    default: RouteName = Route.GATEWAY
    flags: dict[Name, Value] = Field(default_factory=dict, max_length=MAX_FLAGS)

    def route(self, collection: str) -> Route:
        """How a collection is reached: by its own line, else by the first glob that matches."""
        return self._routing.route(collection)

    @cached_property
    def _routing(self) -> Routing:
        return Routing(self.collections, self.default)


_FLAGS: Final = Kind(Flags, "a document of flags", "a version", MAX_FLAGS_CHARS)


def read_flags(text: str, source: str = "flags") -> Flags:
    """Read and validate a document of flags.

    Raises:
        FlagsError: one line for each problem, with its place in `source`.
    """
    return _read(text, source)[0]


def check_flags(text: str, source: str = "flags") -> tuple[Flags, list[str]]:
    """Read flags as `read_flags` does, and say which lines have no effect."""
    flags, root = _read(text, source)
    warnings: list[str] = []
    globs: list[str] = []
    for name in flags.collections:
        mark = place_text(source, locate(root, ("collections", name)))
        before = next((glob for glob in globs if "*" in name and covers(glob, name)), None)
        if name == NO_COLLECTION:
            warnings.append(f"{mark}: collections.{name}: '@' is no collection")
        elif before is not None:
            warnings.append(f"{mark}: collections.{name}: never used: {before!r} comes before it")
        globs += [name] if "*" in name else []
    return flags, warnings


def _read(text: str, source: str) -> tuple[Flags, yaml.Node]:
    try:
        return read_yaml(_FLAGS, text, source)
    except YamlError as error:
        raise FlagsError(str(error)) from None
