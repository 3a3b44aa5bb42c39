"""The steps from what there is to what is declared; a pure function.

Nothing is dropped that is not named: what is there and not declared is left alone, and what is
there otherwise than declared is made anew only where its name stands under `drop`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal

from mallku_contracts.results import GraphInfo, IndexInfo
from mallku_workers.stores.arango.texts import LEDGER
from mallku_workers.stores.provisioning import declared as d
from mallku_workers.stores.provisioning.declared import Declaration, Drop

WHOLE: Final = ""
"""In a user's permissions: the database itself, beside its collections by name and `*`."""

GRANTS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "read": {WHOLE: "ro", "*": "ro", LEDGER: "none"},
        "write": {WHOLE: "ro", "*": "rw", LEDGER: "rw"},
        "admin": {WHOLE: "rw", "*": "rw", LEDGER: "rw"},
    }
)
"""What each access class may do in a database, by ArangoDB's levels (manual, "Managing Users")."""


class Action(StrEnum):
    """What a step does."""

    DROP = "drop"
    CREATE = "create"
    CHANGE = "change"


Wanted = d.Index | d.Collection | d.Graph | d.User | None


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do: `wanted` is what a `create` or `change` makes."""

    action: Action
    thing: Drop
    detail: str = ""
    wanted: Wanted = None

    @property
    def name(self) -> str:
        """What it is about, as `drop` would name it."""
        return named(self.thing)


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that nothing is done about, and why."""

    name: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done, in this order.

    Attributes:
        blocked: Is otherwise than declared, and has to be named to be dropped and made anew.
        left: Is there and not declared.
        absent: Named to be dropped, and not there.
    """

    steps: tuple[Step, ...]
    blocked: tuple[Remark, ...]
    left: tuple[Remark, ...]
    absent: tuple[str, ...]

    @property
    def pending(self) -> bool:
        """Whether the store is not as declared."""
        return bool(self.steps or self.blocked)


@dataclass(frozen=True, slots=True)
class ActualCollection:
    """A collection that is there."""

    edge: bool
    documents: int
    indexes: tuple[IndexInfo, ...]


@dataclass(frozen=True, slots=True)
class ActualDatabase:
    """A database that is there; `ledger`: it has what workers remember finished commands in."""

    collections: Mapping[str, ActualCollection]
    graphs: Mapping[str, GraphInfo]
    ledger: bool = True


@dataclass(frozen=True, slots=True)
class ActualUser:
    """A database user that is there.

    Attributes:
        permissions: Levels by database and collection; `WHOLE` is the database itself.
        password: Whether the file's password is the user's; `missing`: there is no file.
    """

    permissions: Mapping[str, Mapping[str, str]]
    password: Literal["same", "other", "missing"] = "same"  # noqa: S105 - a comparison's outcome


@dataclass(frozen=True, slots=True)
class Actual:
    """What there is; `users` is None where the store has none."""

    databases: Mapping[str, ActualDatabase]
    users: Mapping[str, ActualUser] | None = None
    others: tuple[str, ...] = ()
    """Databases that were not looked into."""


def named(thing: Drop) -> str:
    """A thing as `drop` would name it."""
    return f"{thing[0]}:{'/'.join(thing[1:])}"


def make_plan(declaration: Declaration, actual: Actual, drops: Iterable[Drop]) -> Plan:
    """The steps that are needed, where what `drops` names may be dropped."""
    planner = _Planner(frozenset(drops))
    for name, database in declaration.databases.items():
        planner.database(name, database, actual.databases.get(name))
    planner.others(declaration, actual)
    if actual.users is not None:
        planner.users(declaration, actual.users)
    elif declaration.users:
        planner.left += [Remark(f"user:{name}", "not used here") for name in declaration.users]
    return planner.finish()


@dataclass(slots=True)
class _Planner:
    drops: frozenset[Drop]
    used: set[Drop] = field(default_factory=set)
    steps: list[Step] = field(default_factory=list)
    blocked: list[Remark] = field(default_factory=list)
    left: list[Remark] = field(default_factory=list)

    def finish(self) -> Plan:
        """Drops come first, from the inside out; the rest as it was declared."""
        order = {kind: place for place, kind in enumerate(_DROP_ORDER)}
        drops = [step for step in self.steps if step.action is Action.DROP]
        drops.sort(key=lambda step: order[step.thing[0]])
        rest = [step for step in self.steps if step.action is not Action.DROP]
        rest.sort(key=lambda step: _MAKE_ORDER.index(step.thing[0]))
        absent = tuple(sorted(named(drop) for drop in self.drops - self.used))
        return Plan((*drops, *rest), tuple(self.blocked), tuple(self.left), absent)

    def may_drop(self, thing: Drop) -> bool:
        if thing in self.drops:
            self.used.add(thing)
            return True
        return False

    def create(self, thing: Drop, detail: str = "", wanted: Wanted = None) -> None:
        self.steps.append(Step(Action.CREATE, thing, detail, wanted))

    def drop_or_leave(self, thing: Drop, detail: str) -> None:
        """Something that is there and not declared."""
        if self.may_drop(thing):
            self.steps.append(Step(Action.DROP, thing, detail))
        else:
            self.left.append(Remark(named(thing), detail))

    def anew(self, old: Drop, new: Drop, difference: str, shown: str, wanted: Wanted) -> bool:
        """Something that is there otherwise than declared: drop and create, if that is named."""
        if not self.may_drop(old):
            self.blocked.append(Remark(named(old), difference))
            return False
        self.steps.append(Step(Action.DROP, old, difference))
        self.create(new, shown, wanted)
        return True

    # Databases

    def database(self, name: str, wanted: d.Database, there: ActualDatabase | None) -> None:
        if ("database", name) in self.drops:
            self.used.add(("database", name))  # it is declared: there is nothing to drop
        if there is None:
            self.create(("database", name))
            there = ActualDatabase({}, {}, ledger=True)
        if not there.ledger:
            self.create(("ledger", name, LEDGER), "finished commands")
        for collection, declared in wanted.collections.items():
            self.collection(name, collection, declared, there.collections.get(collection))
        for collection, known in there.collections.items():
            if collection not in wanted.collections:
                thing = ("collection", name, collection)
                self.drop_or_leave(thing, _size(known))
        self.graphs(name, wanted.graphs, there.graphs)

    def others(self, declaration: Declaration, actual: Actual) -> None:
        """Databases that are not declared."""
        for name in sorted({*actual.databases, *actual.others}):
            if name not in declaration.databases:
                self.drop_or_leave(("database", name), "not looked into")

    # Collections and indexes

    def collection(
        self, database: str, name: str, wanted: d.Collection, there: ActualCollection | None
    ) -> None:
        thing = ("collection", database, name)
        if there is None:
            self.create(thing, wanted.type, wanted)
        elif there.edge != (wanted.type == "edge"):
            difference = f"{_size(there)}; declared as {wanted.type}"
            if not self.anew(thing, thing, difference, wanted.type, wanted):
                return
            there = None
        else:
            self.may_drop(thing)  # it is as declared: there is nothing to drop
        self.indexes(database, name, wanted.indexes, () if there is None else there.indexes)

    def indexes(
        self,
        database: str,
        collection: str,
        wanted: tuple[d.Index, ...],
        there: tuple[IndexInfo, ...],
    ) -> None:
        own = [one for one in there if one["type"] not in ("primary", "edge")]
        met: list[IndexInfo] = []
        for index in wanted:
            rival = _rival(index, own)
            thing = ("index", database, collection, index.name or _unnamed(index))
            if rival is None:
                self.create(thing, _index_text(index), index)
                continue
            met.append(rival)
            old = ("index", database, collection, rival["name"])
            difference = _difference(index, rival)
            if difference:
                self.anew(old, thing, difference, _index_text(index), index)
            else:
                self.may_drop(old)
        for known in own:
            if known not in met:
                thing = ("index", database, collection, known["name"])
                self.drop_or_leave(thing, _info_text(known))

    # Graphs

    def graphs(
        self, database: str, wanted: Mapping[str, d.Graph], there: Mapping[str, GraphInfo]
    ) -> None:
        for name, graph in wanted.items():
            thing = ("graph", database, name)
            known = there.get(name)
            if known is None:
                self.create(thing, _graph_text(graph), graph)
            elif _graph_shape(graph) != _info_shape(known):
                self.anew(thing, thing, "connects otherwise", _graph_text(graph), graph)
            else:
                self.may_drop(thing)
        for name in there:
            if name not in wanted:
                self.drop_or_leave(("graph", database, name), "")

    # Users

    def users(self, declaration: Declaration, there: Mapping[str, ActualUser]) -> None:
        for name, user in declaration.users.items():
            known = there.get(name)
            if known is None:
                self.create(("user", name), _user_text(declaration, user), user)
            else:
                self.user(declaration, name, user, known)
        for name in there:
            if name not in declaration.users:
                self.drop_or_leave(("user", name), "")

    def user(self, declaration: Declaration, name: str, user: d.User, known: ActualUser) -> None:
        thing = ("user", name)
        if known.password == "missing":  # noqa: S105 - the state of a file
            why = f"is there, and {user.password_file} is not: its password is not known"
            self.anew(thing, thing, why, _user_text(declaration, user), user)
            return
        self.may_drop(thing)
        changes = list(_user_changes(declaration, user, known))
        if changes:
            self.steps.append(Step(Action.CHANGE, thing, ", ".join(changes), user))
        for database in sorted(known.permissions.keys() - {*declaration.databases_of(user)}):
            level = known.permissions[database].get(WHOLE, "")
            if level in ("ro", "rw"):
                self.left.append(Remark(named(thing), f"also {level} in {database}"))


_DROP_ORDER: Final = ("graph", "index", "collection", "user", "database")
_MAKE_ORDER: Final = ("database", "ledger", "collection", "index", "graph", "user")


def _size(known: ActualCollection) -> str:
    kind = "edge" if known.edge else "document"
    return f"{kind}, {known.documents:,} documents"


def _rival(index: d.Index, there: Iterable[IndexInfo]) -> IndexInfo | None:
    """The index that is, or stands in the place of, the declared one."""
    known = list(there)
    for one in known:
        if index.name is not None and one["name"] == index.name:
            return one
    for one in known:
        if one["type"] == "persistent" and _definition(one) == index.definition:
            return one
    return None


def _definition(info: IndexInfo) -> tuple[tuple[str, ...], bool, bool]:
    return tuple(info["fields"]), info["unique"], info["sparse"]


def _difference(index: d.Index, there: IndexInfo) -> str:
    if there["type"] != "persistent" or _definition(there) != index.definition:
        return f"{_info_text(there)}; declared: {_index_text(index)}"
    if index.name is not None and index.name != there["name"]:
        return f"declared with the name {index.name}"
    return ""


def _unnamed(index: d.Index) -> str:
    return f"({','.join(index.fields)})"


def _index_text(index: d.Index) -> str:
    return _text(index.fields, unique=index.unique, sparse=index.sparse)


def _info_text(info: IndexInfo) -> str:
    text = _text(info["fields"], unique=info["unique"], sparse=info["sparse"])
    return text if info["type"] == "persistent" else f"{info['type']} {text}"


def _text(fields: Iterable[str], *, unique: bool, sparse: bool) -> str:
    marks = [word for word, is_so in (("unique", unique), ("sparse", sparse)) if is_so]
    return " ".join([", ".join(fields), *marks])


Shape = tuple[frozenset[tuple[str, frozenset[str], frozenset[str]]], frozenset[str]]


def _graph_shape(graph: d.Graph) -> Shape:
    edges = (
        (name, frozenset(ends.from_), frozenset(ends.to)) for name, ends in graph.edges.items()
    )
    return frozenset(edges), frozenset(graph.orphans)


def _info_shape(info: GraphInfo) -> Shape:
    edges = (
        (
            one["edge_collection"],
            frozenset(one["from_vertex_collections"]),
            frozenset(one["to_vertex_collections"]),
        )
        for one in info["edge_definitions"]
    )
    return frozenset(edges), frozenset(info["orphan_collections"])


def _graph_text(graph: d.Graph) -> str:
    return ", ".join(
        f"{', '.join(ends.from_)} -{name}-> {', '.join(ends.to)}"
        for name, ends in graph.edges.items()
    )


def _user_text(declaration: Declaration, user: d.User) -> str:
    return f"{user.access} in {', '.join(declaration.databases_of(user))}"


def _user_changes(declaration: Declaration, user: d.User, known: ActualUser) -> Iterator[str]:
    if known.password == "other":  # noqa: S105 - a comparison's outcome
        yield f"password of {user.password_file}"
    for database in declaration.databases_of(user):
        levels = known.permissions.get(database, {})
        if any(levels.get(name) != level for name, level in GRANTS[user.access].items()):
            yield f"{user.access} in {database}"
