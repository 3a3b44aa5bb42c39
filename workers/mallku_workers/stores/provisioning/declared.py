"""The declaration: databases with what is in them, database users, and what may be dropped."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from mallku_contracts.arguments import MAX_INDEX_FIELDS
from mallku_contracts.errors import ConfigurationError, MallkuError
from mallku_contracts.limits import MIB
from mallku_contracts.policy.closed import Closed, Name, is_reserved
from mallku_contracts.yaml_text import Kind, YamlError, read_yaml
from mallku_workers.stores.names import check_definition, check_new_name

MAX_DECLARATION_CHARS: Final = MIB
"""A declaration, characters."""

DROPPABLE: Final = ("database", "collection", "index", "graph", "user")
"""What a name under `drop` begins with."""

_DEPTHS: Final = {"database": 1, "collection": 2, "index": 3, "graph": 2, "user": 1}
_PART: Final = re.compile(r"[A-Za-z0-9_-]{1,256}")

Drop = tuple[str, ...]
"""A thing by its kind and the names on the way to it: `("index", "mallku", "people", "by_age")`."""


def _problem(message: str, *inside: int | str) -> PydanticCustomError:
    return PydanticCustomError("declaration", "{message}", {"message": message, "inside": inside})


def _by(check: Callable[[str], object]) -> Callable[[str], str]:
    """A check that raises coded errors as pydantic wants it."""

    def validate(name: str) -> str:
        try:
            check(name)
        except MallkuError as error:
            raise ValueError(error.message) from None
        return name

    return validate


def _own(name: str) -> str:
    if is_reserved(name):
        raise ValueError(f"{name!r}: names that begin with _ or mallku_ belong to the gateway")
    return name


def _empty(value: Any) -> Any:
    return {} if value is None else value


NewName = Annotated[str, AfterValidator(_by(check_new_name))]
DatabaseName = Annotated[Name, AfterValidator(_own)]


class Index(Closed):
    """A persistent index; without a name the store gives it one."""

    fields: tuple[str, ...] = Field(min_length=1, max_length=MAX_INDEX_FIELDS)
    name: str | None = None
    unique: bool = False
    sparse: bool = False

    @model_validator(mode="after")
    def _can_be_made(self) -> Index:
        try:
            check_definition(self.fields, self.name)
        except MallkuError as error:
            raise ValueError(error.message) from None
        return self

    @property
    def definition(self) -> tuple[tuple[str, ...], bool, bool]:
        """What it is, whatever it is called."""
        return self.fields, self.unique, self.sparse


class Collection(Closed):
    """A collection of documents or of edges."""

    type: Literal["document", "edge"] = "document"
    indexes: tuple[Index, ...] = ()

    @model_validator(mode="after")
    def _no_index_twice(self) -> Collection:
        names = Counter(index.name for index in self.indexes if index.name is not None)
        definitions = Counter(index.definition for index in self.indexes)
        for place, index in enumerate(self.indexes):
            if names[index.name or ""] > 1 or definitions[index.definition] > 1:
                raise _problem("this index stands twice", "indexes", place)
        return self


class Ends(Closed):
    """Which collections the edges of a graph lead from and to."""

    from_: tuple[str, ...] = Field(alias="from", min_length=1)
    to: tuple[str, ...] = Field(min_length=1)


class Graph(Closed):
    """A named graph over collections that are declared beside it."""

    edges: dict[str, Ends] = Field(default_factory=dict)
    orphans: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _orphans_have_no_edges(self) -> Graph:
        joined = {name for ends in self.edges.values() for name in (*ends.from_, *ends.to)}
        for place, orphan in enumerate(self.orphans):
            if orphan in joined or orphan in self.edges:
                raise _problem(f"{orphan!r:.80} belongs to edges already", "orphans", place)
        return self


class Database(Closed):
    """One database."""

    collections: dict[NewName, Annotated[Collection, BeforeValidator(_empty)]] = Field(
        default_factory=dict
    )
    graphs: dict[Name, Graph] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _graphs_are_whole(self) -> Database:
        for name, graph in self.graphs.items():
            for edges, ends in graph.edges.items():
                self._require(edges, "edge", "graphs", name, "edges", edges)
                for vertices in ends.from_:
                    self._require(vertices, None, "graphs", name, "edges", edges, "from")
                for vertices in ends.to:
                    self._require(vertices, None, "graphs", name, "edges", edges, "to")
            for orphan in graph.orphans:
                self._require(orphan, None, "graphs", name, "orphans")
        return self

    def _require(self, name: str, kind: str | None, *place: str) -> None:
        known = self.collections.get(name)
        if known is None:
            raise _problem(f"{name!r:.80} is not declared under collections", *place)
        if kind is not None and known.type != kind:
            raise _problem(f"{name!r:.80} is declared without type: edge", *place)


class User(Closed):
    """A database user of one access class.

    Attributes:
        password_file: Mode 0600; relative to the declaration; made where it is missing.
        databases: Where the access holds; all declared ones by default.
    """

    access: Literal["read", "write", "admin"]
    password_file: str = Field(min_length=1)
    databases: tuple[DatabaseName, ...] | None = None


def _drop(text: str) -> str:
    kind, _, path = text.partition(":")
    parts = path.split("/")
    if kind not in DROPPABLE or not all(map(_PART.fullmatch, parts)):
        raise ValueError(f"{text!r:.200}: write KIND:NAME, KIND one of {', '.join(DROPPABLE)}")
    if len(parts) != _DEPTHS[kind]:
        form = "/".join(("DATABASE", "COLLECTION", "INDEX")[: _DEPTHS[kind]])
        form = {"graph": "DATABASE/GRAPH", "user": "USER"}.get(kind, form)
        raise ValueError(f"{text!r:.200}: write {kind}:{form}")
    return text


class Declaration(Closed):
    """Everything that should be there."""

    databases: dict[DatabaseName, Annotated[Database, BeforeValidator(_empty)]]
    users: dict[Name, User] = Field(default_factory=dict)
    drop: tuple[Annotated[str, AfterValidator(_drop)], ...] = ()

    @model_validator(mode="after")
    def _users_have_databases(self) -> Declaration:
        for name, user in self.users.items():
            for place, database in enumerate(user.databases or ()):
                if database not in self.databases:
                    message = f"{database!r:.80} is not declared under databases"
                    raise _problem(message, "users", name, "databases", place)
        return self

    def databases_of(self, user: User) -> tuple[str, ...]:
        """Where the user's access holds."""
        return tuple(self.databases) if user.databases is None else user.databases


def read_drop(text: str) -> Drop:
    """A name as it stands under `drop`; `ConfigurationError` says how it is written."""
    try:
        kind, _, path = _drop(text).partition(":")
    except ValueError as error:
        raise ConfigurationError(f"drop: {error}") from None
    return kind, *path.split("/")


_DECLARATION: Final = Kind(
    Declaration, "a declaration", "databases, users and drop", MAX_DECLARATION_CHARS
)


def read_declaration(text: str, source: str = "declaration") -> Declaration:
    """Read and validate a declaration.

    Raises:
        ConfigurationError: one `source:line:column: what` line for each problem.
    """
    try:
        return read_yaml(_DECLARATION, text, source)[0]
    except YamlError as error:
        raise ConfigurationError(str(error)) from None
