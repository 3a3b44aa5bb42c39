"""Looking at a store and carrying out the steps of a plan: the embedded store and ArangoDB.

Collections, indexes and graphs are the same operations in both; databases and users are each
store's own.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote

from mallku_contracts.errors import CollectionNotFound, ConfigurationError, NotSupported
from mallku_contracts.subjects import is_name
from mallku_workers.stores.arango import ArangoSettings, ArangoStore
from mallku_workers.stores.arango.administration import SYSTEM, ArangoAdministration
from mallku_workers.stores.arango.preparation import ONE_SHARD
from mallku_workers.stores.arango.texts import LEDGER
from mallku_workers.stores.asking import Executes, ask
from mallku_workers.stores.base import Store
from mallku_workers.stores.embedded import EmbeddedStore
from mallku_workers.stores.provisioning import declared as d
from mallku_workers.stores.provisioning import passwords
from mallku_workers.stores.provisioning.declared import Declaration
from mallku_workers.stores.provisioning.plan import (
    GRANTS,
    WHOLE,
    Action,
    Actual,
    ActualCollection,
    ActualDatabase,
    ActualUser,
    Step,
)

FILE_ENDING: Final = ".sqlite"
"""What the file of an embedded database ends with."""

# In a cluster, effect and ledger entry are one commit only where one server leads all collections.
_ONE_SHARD: Final = {"options": {"sharding": ONE_SHARD}}


class Hands(Protocol):
    """What differs between the stores."""

    async def look(self, declaration: Declaration) -> Actual:
        """What there is, and nothing is changed by looking."""
        ...

    async def carry_out(self, step: Step, declaration: Declaration) -> None:
        """Do one step; the coded error says why it could not be done."""
        ...

    async def close(self) -> None:
        """Give everything back."""
        ...


class EmbeddedHands:
    """The files of an embedded store.

    Args:
        directory: Where they lie; made by the first step that creates a database.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stores: dict[str, EmbeddedStore] = {}
        self._stack = AsyncExitStack()

    async def look(self, declaration: Declaration) -> Actual:
        """Open the databases that are declared and there."""
        names = embedded_databases(self._directory)
        declared = [name for name in names if name in declaration.databases]
        known = {name: await look_at(await self._store(name), name) for name in declared}
        return Actual(known, None, tuple(name for name in names if name not in declared))

    async def carry_out(self, step: Step, declaration: Declaration) -> None:  # noqa: ARG002 - for users alone
        """Do one step."""
        kind, database, *_ = step.thing
        if kind == "database":
            if step.action is Action.DROP:
                raise NotSupported(
                    f"{step.name}: stop the workers and remove {database}{FILE_ENDING}* from"
                    f" {self._directory} by hand"
                )
            await self._store(database)
        else:
            await change(await self._store(database), step)

    async def close(self) -> None:
        """Close the files."""
        await self._stack.aclose()

    async def _store(self, database: str) -> Store:
        known = self._stores.get(database)
        if known is None:
            known = self._stores[database] = EmbeddedStore(self._directory, databases=[database])
            await known.start()
            self._stack.push_async_callback(known.stop)
        return known


class ArangoHands:
    """The databases and users of an ArangoDB.

    Args:
        settings: Who we are there: somebody who may administer databases and users.
        folder: What password files are relative to.
    """

    def __init__(self, settings: ArangoSettings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._admin = ArangoAdministration(settings)
        self._stores: dict[str, ArangoStore] = {}
        self._stack = AsyncExitStack()

    async def look(self, declaration: Declaration) -> Actual:
        """Read the declared databases, and the users where some are declared."""
        if self._settings.username in declaration.users:
            raise ConfigurationError(
                f"users: {self._settings.username} is who applies this; declare others"
            )
        names = [name for name in await self._admin.databases() if name != SYSTEM]
        declared = [name for name in names if name in declaration.databases]
        known = {
            name: await look_at(self._admin, name, ledger=await self._has_ledger(name))
            for name in declared
        }
        others = tuple(name for name in names if name not in declared)
        return Actual(known, await self._users(declaration), others)

    async def carry_out(self, step: Step, declaration: Declaration) -> None:
        """Do one step."""
        kind, name, *_ = step.thing
        if kind == "user":
            await self._change_user(step, declaration)
        elif kind == "database" and step.action is Action.DROP:
            await self._forget(name)
            await self._admin.call("DELETE", f"/_api/database/{quote(name, safe='')}")
        elif kind == "database":
            await self._admin.call("POST", "/_api/database", body={"name": name, **_ONE_SHARD})
            await self._store(name)
        elif kind == "ledger":
            await self._store(name)  # makes it
        else:
            await change(await self._store(name), step)

    async def close(self) -> None:
        """Close all connections."""
        await self._stack.aclose()
        await self._admin.stop()

    async def _store(self, database: str) -> Store:
        known = self._stores.get(database)
        if known is None:
            known = self._stores[database] = ArangoStore(self._settings, databases=[database])
            await known.start()
            self._stack.push_async_callback(known.stop)
        return known

    async def _forget(self, database: str) -> None:
        known = self._stores.pop(database, None)
        if known is not None:
            await known.stop()

    async def _has_ledger(self, database: str) -> bool:
        try:
            await self._admin.call("GET", f"/_api/collection/{LEDGER}", database=database)
        except CollectionNotFound:
            return False
        return True

    # Users

    async def _users(self, declaration: Declaration) -> dict[str, ActualUser] | None:
        if not declaration.users and not any(one.startswith("user:") for one in declaration.drop):
            return None
        answer = await self._admin.call("GET", "/_api/user")
        names = [str(one["user"]) for one in answer["result"]]
        own = self._settings.username
        return {name: await self._user(declaration, name) for name in names if name != own}

    async def _user(self, declaration: Declaration, name: str) -> ActualUser:
        declared = declaration.users.get(name)
        if declared is None:
            return ActualUser({})
        answer = await self._admin.call("GET", f"{_user_path(name)}/database", full="true")
        levels = {
            str(database): {WHOLE: one["permission"], **one.get("collections", {})}
            for database, one in answer["result"].items()
        }
        file = self._folder / declared.password_file
        if not file.exists():
            return ActualUser(levels, "missing")
        same = await self._admin.believes(name, passwords.read(file))
        return ActualUser(levels, "same" if same else "other")

    async def _change_user(self, step: Step, declaration: Declaration) -> None:
        name = step.thing[1]
        if not isinstance(step.wanted, d.User):
            await self._admin.call("DELETE", _user_path(name))
            return
        secret = passwords.read_or_make(self._folder / step.wanted.password_file)
        if step.action is Action.CREATE:
            body = {"user": name, "passwd": secret, "active": True}
            await self._admin.call("POST", "/_api/user", body=body)
        else:
            body = {"passwd": secret, "active": True}
            await self._admin.call("PATCH", _user_path(name), body=body)
        for database in declaration.databases_of(step.wanted):
            for collection, level in GRANTS[step.wanted.access].items():
                path = f"{_user_path(name)}/database/{database}"
                path += f"/{collection}" if collection else ""
                await self._admin.call("PUT", path, body={"grant": level})


def _user_path(name: str) -> str:
    return f"/_api/user/{quote(name, safe='')}"


def embedded_databases(directory: Path) -> list[str]:
    """The databases whose files lie in a directory, by name."""
    names = (path.name.removesuffix(FILE_ENDING) for path in directory.glob(f"*{FILE_ENDING}"))
    return sorted(name for name in names if is_name(name))


async def look_at(store: Executes, database: str, *, ledger: bool = True) -> ActualDatabase:
    """The collections, indexes and graphs of a database, without the gateway's own."""
    collections: dict[str, ActualCollection] = {}
    for one in await ask(store, database, "list-collections"):
        name = one["name"]
        count = await ask(store, database, "count", name)
        indexes = await ask(store, database, "list-indexes", name)
        collections[name] = ActualCollection(one["type"] == "edge", count, tuple(indexes))
    graphs = {one["name"]: one for one in await ask(store, database, "list-graphs")}
    return ActualDatabase(collections, graphs, ledger)


async def change(store: Executes, step: Step) -> None:
    """Make or drop a collection, an index or a graph."""
    kind, database, *names = step.thing
    creates = step.action is Action.CREATE
    operation = f"{step.action}-{kind}"
    collection, values = "@", _values(step.wanted) if creates else {}
    if kind == "graph":
        values["name"] = names[0]
    else:
        collection = names[0]
    if kind == "index" and not creates:
        values["index"] = names[1]
    await ask(store, database, operation, collection, **values)


def _values(wanted: Any) -> dict[str, Any]:
    """The arguments that make what is declared."""
    if isinstance(wanted, d.Collection):
        return {"edge": wanted.type == "edge"}
    if isinstance(wanted, d.Index):
        return {**wanted.model_dump(exclude_none=True), "fields": list(wanted.fields)}
    if isinstance(wanted, d.Graph):
        definitions = [
            {
                "edge_collection": name,
                "from_vertex_collections": list(ends.from_),
                "to_vertex_collections": list(ends.to),
            }
            for name, ends in wanted.edges.items()
        ]
        return {"edge_definitions": definitions, "orphan_collections": list(wanted.orphans)}
    return {}
