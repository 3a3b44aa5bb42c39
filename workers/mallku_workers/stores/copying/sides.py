"""The two sides of a copy: which database of which store, and how it is opened."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from mallku_contracts.errors import ConfigurationError
from mallku_contracts.policy import is_reserved
from mallku_contracts.subjects import is_name
from mallku_workers.stores.arango import ArangoSettings, ArangoStore
from mallku_workers.stores.arango.administration import ArangoAdministration, arango_settings
from mallku_workers.stores.asking import Executes, ask
from mallku_workers.stores.embedded import EmbeddedStore
from mallku_workers.stores.provisioning.hands import embedded_databases

DEFAULT_DATABASE: Final = "mallku"
"""The database of a side that names none."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One side as the command line names it.

    Attributes:
        place: The directory of an embedded store, or ArangoDB's URL.
    """

    kind: Literal["embedded", "arango"]
    place: str
    database: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.place}#{self.database}"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are at an ArangoDB; what is None comes from the environment of a worker."""

    username: str | None = None
    password_file: Path | None = None

    def settings(self, url: str) -> ArangoSettings:
        """The settings for a URL; `ConfigurationError` names a variable that is wrong."""
        given: dict[str, Any] = {"url": url}
        if self.username is not None:
            given["username"] = self.username
        if self.password_file is not None:
            given["password_file"] = self.password_file
        return arango_settings(**given)


@dataclass(frozen=True, slots=True)
class Side:
    """An open database."""

    store: Executes
    database: str
    name: str

    async def ask(self, operation: str, collection: str = "@", **values: Any) -> Any:
        """The result of an operation."""
        return await ask(self.store, self.database, operation, collection, **values)


def read_spec(text: str) -> Spec:
    """Read `embedded:DIR[#database]` or `arango:URL[#database]`.

    Raises:
        ConfigurationError: it is neither, or the database's name is none.
    """
    kind, _, rest = text.partition(":")
    place, _, database = rest.partition("#")
    database = database or DEFAULT_DATABASE
    if kind not in ("embedded", "arango") or not place:
        raise ConfigurationError(
            f"{text!r:.200}: write embedded:DIR[#database] or arango:URL[#database]"
        )
    if not is_name(database) or is_reserved(database):
        raise ConfigurationError(f"{database!r:.200} cannot be a database's name")
    if kind == "embedded":
        return Spec("embedded", str(Path(place).absolute()), database)
    return Spec("arango", place.rstrip("/"), database)


@asynccontextmanager
async def open_source(spec: Spec, credentials: Credentials) -> AsyncGenerator[Side]:
    """A database to read from; nothing is made in it.

    Raises:
        ConfigurationError: there is no such database, or its settings are wrong.
        Unavailable, StoreFailure
    """
    if spec.kind == "embedded":
        if spec.database not in embedded_databases(Path(spec.place)):
            raise ConfigurationError(f"{spec.place} has no database {spec.database}")
        async with _embedded(spec) as side:
            yield side
        return
    reader = ArangoAdministration(credentials.settings(spec.place))
    try:
        await ask(reader, spec.database, "list-graphs")  # says now what is wrong
        yield Side(reader, spec.database, str(spec))
    finally:
        await reader.stop()


@asynccontextmanager
async def open_target(spec: Spec, credentials: Credentials) -> AsyncGenerator[Side]:
    """A database to write to; an embedded one is made where it is missing.

    Raises:
        ConfigurationError: ArangoDB has no such database, or the settings are wrong.
        Unavailable, StoreFailure
    """
    if spec.kind == "embedded":
        async with _embedded(spec) as side:
            yield side
        return
    store = ArangoStore(credentials.settings(spec.place), databases=[spec.database])
    await store.start()
    try:
        yield Side(store, spec.database, str(spec))
    finally:
        await store.stop()


@asynccontextmanager
async def _embedded(spec: Spec) -> AsyncGenerator[Side]:
    store = EmbeddedStore(Path(spec.place), databases=[spec.database])
    await store.start()
    try:
        yield Side(store, spec.database, str(spec))
    finally:
        await store.stop()
