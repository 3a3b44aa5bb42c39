"""Generated changes of generated documents do what plain Python does to dictionaries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_contracts.errors import MallkuError
from tests.workers.embedded.aql import generated as g
from tests.workers.embedded.aql import oracle as o
from tests.workers.embedded.aql.golden import World
from tests.workers.embedded.aql.test_oracle import FEW, INDEXES, MANY, STORES, filled, run

Document: TypeAlias = dict[str, Any]
Table: TypeAlias = dict[str, Document]
Changed: TypeAlias = tuple[Document | None, Document | None]

CONFLICT, MISSING = 1210, 1202


class Refused(Exception):
    """The change cannot be; `number` is ArangoDB's."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@dataclass(frozen=True)
class Options:
    """OPTIONS of a change."""

    keep_null: bool = True
    merge: bool = True
    ignore: bool = False
    mode: str = "conflict"

    @property
    def text(self) -> str:
        """As they are written."""
        return (
            f"OPTIONS {{keepNull: {o.spelled(self.keep_null)}, mergeObjects: "
            f"{o.spelled(self.merge)}, ignoreErrors: {o.spelled(self.ignore)}, "
            f'overwriteMode: "{self.mode}"}}'
        )


OPTIONS = st.builds(
    Options,
    keep_null=st.booleans(),
    merge=st.booleans(),
    ignore=st.booleans(),
    mode=st.sampled_from(["conflict", "ignore", "replace", "update"]),
)


def merged(old: Document, patch: Document, options: Options) -> Document:
    """UPDATE: the manual's keepNull and mergeObjects."""
    new = dict(old)
    for name, value in patch.items():
        before = new.get(name)
        if value is None and not options.keep_null:
            new.pop(name, None)
        elif isinstance(value, dict) and options.merge:
            new[name] = merged(before if isinstance(before, dict) else {}, value, options)
        else:
            new[name] = value if options.keep_null else stripped(value)
    return new


def stripped(value: Any) -> Any:
    """Without attributes that are null, inside objects alone."""
    if not isinstance(value, dict):
        return value
    return {name: stripped(item) for name, item in value.items() if item is not None}


def update(table: Table, key: str, patch: Document, options: Options) -> Changed:
    """UPDATE of one document."""
    if key not in table:
        raise Refused(MISSING)
    old = table[key]
    table[key] = merged(old, patch, options)
    return old, table[key]


def replace(table: Table, key: str, body: Document, _options: Options) -> Changed:
    """REPLACE of one document."""
    if key not in table:
        raise Refused(MISSING)
    old = table[key]
    table[key] = {"_key": key, "_id": old["_id"], **body}
    return old, table[key]


def remove(table: Table, key: str, _body: Document, _options: Options) -> Changed:
    """REMOVE of one document."""
    if key not in table:
        raise Refused(MISSING)
    return table.pop(key), None


def insert(table: Table, key: str, body: Document, options: Options) -> Changed:
    """INSERT of one document."""
    if key not in table:
        table[key] = {"_key": key, "_id": f"c0/{key}", **body}
        return None, table[key]
    match options.mode:
        case "replace":
            return replace(table, key, body, options)
        case "update":
            return update(table, key, body, options)
        case "ignore":
            return table[key], None
        case _:
            raise Refused(CONFLICT)


def upsert(table: Table, key: str, body: Document, options: Options) -> Changed:
    """UPSERT by a key."""
    if key in table:
        return update(table, key, body, options)
    return insert(table, key, {"fresh": True}, options)


@dataclass(frozen=True)
class Verb:
    """A change: how it is written for a key `k` and a body `b`, and what it does."""

    text: str
    apply: Callable[[Table, str, Document, Options], Changed]


VERBS = [
    Verb("UPDATE k WITH b IN c0", update),
    Verb("UPDATE MERGE(b, {_key: k}) IN c0", update),
    Verb("REPLACE {_key: k} WITH b IN c0", replace),
    Verb("REMOVE k IN c0", remove),
    Verb("INSERT MERGE(b, {_key: k}) INTO c0", insert),
    Verb("UPSERT {_key: k} INSERT {_key: k, fresh: true} UPDATE b IN c0", upsert),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A database."""
    world = World(tmp_path_factory.mktemp("changes") / "changes.sqlite")
    yield world
    world.close()


def plainly(value: Any) -> Any:
    """A document without its revision."""
    return {name: item for name, item in value.items() if name != "_rev"} if value else value


def table_of(documents: list[Document]) -> Table:
    """The documents as they are stored."""
    return {one["_key"]: {"_id": f"c0/{one['_key']}", **deepcopy(one)} for one in documents}


def expected(
    table: Table, verb: Verb, changes: list[tuple[str, Document]], options: Options
) -> list[Any] | int:
    """What is returned for every change, or the error's number; the table is changed."""
    rows: list[Any] = []
    for key, body in changes:
        try:
            old, new = verb.apply(table, key, body, options)
        except Refused as refused:
            if not options.ignore:
                return refused.number
            old, new = None, None
        rows.append({"old": old, "new": new})
    return rows


BODIES = st.dictionaries(st.sampled_from(["v", "n", "o", "z"]), g.VALUES, max_size=3)
BODIES_BY_KEY = st.lists(
    st.tuples(st.sampled_from([f"k{n}" for n in range(10)]), BODIES), min_size=1, max_size=5
)


@dataclass(frozen=True)
class Changes:
    """Changes of one kind, one after the other."""

    verb: Verb
    bodies: list[tuple[str, Document]]
    options: Options

    @property
    def text(self) -> str:
        """The loop as it is written."""
        listed = o.spelled([{"k": key, "b": body} for key, body in self.bodies])
        return (
            f"FOR one IN {listed} LET k = one.k LET b = one.b {self.verb.text} {self.options.text}"
        )


@MANY
@given(
    documents=STORES,
    indexes=INDEXES,
    changes=st.builds(Changes, verb=st.sampled_from(VERBS), bodies=BODIES_BY_KEY, options=OPTIONS),
)
def test_changes_do_what_the_oracle_does(
    world: World, documents: o.Data, indexes: g.Indexes, changes: Changes
) -> None:
    """One after the other, each seeing the former: OLD, NEW, errors, and what is there at last."""
    table = table_of(documents["c0"])
    wanted = expected(table, changes.verb, changes.bodies, changes.options)
    new = "null" if changes.verb.apply is remove else "NEW"
    plain = {name: [one for one in some if not one.unique] for name, some in indexes.items()}
    with filled(world, documents, plain) as session:
        if isinstance(wanted, int):
            with pytest.raises(MallkuError) as error:
                run(session, changes.text)
            assert error.value.error_code == wanted
            return
        rows = run(session, f"{changes.text} RETURN {{old: OLD, new: {new}}}")
        ours = [{name: plainly(one) for name, one in row.items()} for row in rows]
        assert o.same(ours, wanted), (ours, wanted)
        now = {one["_key"]: plainly(one) for one in run(session, "FOR d IN c0 RETURN d")}
        assert o.same(now, table), (now, table)


@FEW
@given(documents=STORES, indexes=INDEXES, data=st.data())
def test_documents_are_changed_by_what_they_were(
    world: World, documents: o.Data, indexes: g.Indexes, data: st.DataObject
) -> None:
    """A loop over the collection that it changes sees every document once, as it was before."""
    names = g.Names(["d"], [], o.Ids())
    condition, part = data.draw(g.conditions(names)), data.draw(g.expressions(names, 2))
    with filled(world, documents, indexes) as session:
        before = run(session, "FOR d IN c0 RETURN d")
        chosen = [one for one in before if o.true(condition.value({"d": one}))]
        text = f"FOR d IN c0 FILTER {condition.text} UPDATE d WITH {{n: {part.text}}} IN c0"
        rows = run(session, f"{text} RETURN [OLD._key, OLD.n, NEW.n]")
        wanted = [[one["_key"], one.get("n"), part.value({"d": one})] for one in chosen]
        assert o.same_rows(rows, wanted, ordered=False)
        after = {one["_key"]: one.get("n") for one in run(session, "FOR d IN c0 RETURN d")}
        assert o.same(after, {one["_key"]: one.get("n") for one in before}
                      | {key: value for key, _, value in wanted})  # fmt: skip


@FEW
@given(documents=STORES, indexes=INDEXES, data=st.data())
def test_removing_is_filtering(
    world: World, documents: o.Data, indexes: g.Indexes, data: st.DataObject
) -> None:
    """What a filter chose is gone, by every index too, and the rest is as it was."""
    condition = data.draw(g.conditions(g.Names(["d"], [], o.Ids())))
    probe = data.draw(g.conditions(g.Names(["d"], [], o.Ids())))
    with filled(world, documents, indexes) as session:
        kept = [
            one
            for one in run(session, "FOR d IN c0 RETURN d")
            if not o.true(condition.value({"d": one}))
        ]
        run(session, f"FOR d IN c0 FILTER {condition.text} REMOVE d IN c0")
        assert o.same_rows(run(session, "FOR d IN c0 RETURN d"), kept, ordered=False)
        probed = run(session, f"FOR d IN c0 FILTER {probe.text} RETURN d._key")
        assert sorted(probed) == sorted(
            one["_key"] for one in kept if o.true(probe.value({"d": one}))
        )


@pytest.mark.parametrize(
    "index", [g.IndexSpec(("n",)), g.IndexSpec(("n",), unique=True), g.IndexSpec(("z",))]
)
def test_what_a_loop_changes_it_does_not_meet_again(world: World, index: g.IndexSpec) -> None:
    """Neither documents that it moved on in the index that it reads by, nor new ones."""
    documents = [{"_key": f"k{number:04}", "n": number} for number in range(600)]
    with filled(world, {"c0": documents, "c1": []}, {"c0": [index]}) as session:
        run(session, "FOR d IN c0 FILTER d.n >= 0 UPDATE d WITH {n: d.n + 1000} IN c0")
        moved = run(session, "FOR d IN c0 SORT d._key RETURN d.n")
        assert moved == [number + 1000 for number in range(600)]
        run(session, "FOR d IN c0 FILTER d.n >= 0 INSERT {n: d.n + 5000} INTO c0")
        assert run(session, "RETURN LENGTH(FOR d IN c0 RETURN 1)") == [1200]
