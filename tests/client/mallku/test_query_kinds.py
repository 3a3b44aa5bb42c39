"""The kinds of queries that Mallku runs, on open collections and by semantic names on secured ones.

Thirty texts with what Mallku's have in them; each gives the same rows on both.
"""

from __future__ import annotations

from typing import Any

import pytest

from mallku_client.mallku import SecuredDatabaseInterface
from mallku_contracts.errors import (
    InvalidQuery,
    NotSupported,
    PermissionDenied,
    ReservedName,
)
from tests.client.mallku.mallku_like import Activity, fresh

pytestmark = pytest.mark.asyncio(loop_scope="session")

SECURED = "reciprocity_activities_secured"
DOCUMENTS: list[dict[str, Any]] = [
    {"interaction_id": f"q-{n}", "kind": ("gift", "loan", "thanks")[n % 3], "weight": n / 2,
     "at": None, "tags": ["a", "b"][: n % 3], "details": {"n": n, "list": [n, n + 1]}}
    for n in range(12)
]  # fmt: skip

# ruff: noqa: ISC004 - the texts are long
QUERIES: list[tuple[str, dict[str, Any]]] = [
    ("FOR d IN @@c RETURN d", {}),
    ("FOR d IN @@c FILTER d.kind == @kind RETURN d", {"kind": "gift"}),
    ("FOR d IN @@c FILTER d.kind == @kind AND d.weight > @w RETURN d", {"kind": "gift", "w": 1}),
    ("FOR d IN @@c FILTER d.kind == 'gift' OR d.weight < 1 SORT d.weight RETURN d.weight", {}),
    ("FOR d IN @@c FILTER d.kind IN @kinds SORT d.interaction_id RETURN d.interaction_id",
     {"kinds": ["gift", "loan"]}),
    ("FOR d IN @@c FILTER d.at == null LIMIT 3 RETURN 1", {}),
    ("FOR d IN @@c SORT d.kind, d.weight DESC RETURN [d.kind, d.weight]", {}),
    ("FOR d IN @@c SORT d.weight DESC LIMIT @n RETURN d.weight", {"n": 4}),
    ("FOR d IN @@c SORT d.weight LIMIT @o, @n RETURN d.weight", {"o": 2, "n": 3}),
    ("FOR d IN @@c SORT d.weight RETURN {id: d.interaction_id, w: d.weight}", {}),
    ("FOR d IN @@c LET double = d.weight * 2 FILTER double > 8 SORT double RETURN double", {}),
    ("LET every = (FOR d IN @@c RETURN d) RETURN LENGTH(every)", {}),
    ("LET first = (FOR d IN @@c SORT d.weight RETURN d)[0] RETURN first.weight", {}),
    ("FOR d IN @@c COLLECT WITH COUNT INTO n RETURN n", {}),
    ("FOR d IN @@c COLLECT kind = d.kind WITH COUNT INTO n SORT kind RETURN {kind, n}", {}),
    ("FOR d IN @@c COLLECT kind = d.kind AGGREGATE total = SUM(d.weight), mean = AVG(d.weight),"
     " n = COUNT(1) SORT kind RETURN {kind, total, mean, n}", {}),
    ("FOR d IN @@c COLLECT AGGREGATE most = MAX(d.weight), least = MIN(d.weight)"
     " RETURN [most, least]", {}),
    ("FOR d IN @@c SORT d.weight RETURN d.weight > 2 ? 'heavy' : 'light'", {}),
    ("FOR d IN @@c FILTER @tags ALL IN d.tags SORT d.weight RETURN d.weight", {"tags": ["a"]}),
    ("FOR d IN @@c FILTER @tags ANY IN d.tags SORT d.weight RETURN d.weight", {"tags": ["b"]}),
    ("FOR d IN @@c FOR e IN @@c FILTER e.weight == d.weight * 2 AND d.weight > 0"
     " SORT d.weight RETURN [d.interaction_id, e.interaction_id]", {}),
    ("FOR d IN @@c FILTER CONTAINS(LOWER(d.kind), @word) SORT d.weight RETURN d.kind",
     {"word": "loa"}),
    ("FOR d IN @@c FILTER TO_STRING(d.weight) == '2.5' RETURN d.kind", {}),
    ("FOR d IN @@c SORT d.weight LIMIT 1 RETURN DATE_ISO8601(1755345600000.0 + d.weight)", {}),
    ("FOR d IN @@c FILTER LENGTH(d.tags) > 1 SORT d.weight RETURN CONCAT(d.kind, '-', d.weight)",
     {}),
    ("FOR d IN @@c FILTER d.details.n > 8 SORT d.details.n RETURN d.details.list[0]", {}),
    ("FOR d IN @@c SORT d.kind RETURN DISTINCT d.kind", {}),
    ("FOR d IN @@c FILTER d.kind =~ '^g' SORT d.weight RETURN d.weight", {}),
    ("FOR d IN @@c COLLECT kind = d.kind INTO members SORT kind"
     " RETURN {kind, ids: SORTED(members[*].d.interaction_id)}", {}),
    ("FOR d IN @@c LET near = (FOR e IN @@c FILTER e.kind == d.kind AND e.weight > d.weight"
     " SORT e.weight RETURN e) FILTER LENGTH(near) > 0 SORT d.weight"
     " RETURN {id: d.interaction_id, next: FIRST(near).interaction_id, all_: near[*].kind}", {}),
    ("FOR d IN @@c FILTER d.weight == 1 "
     " RETURN UNIQUE(FLATTEN([d.details.list, [1], UNION([1], [ABS(-2)])]))", {}),
]  # fmt: skip


async def filled(db: SecuredDatabaseInterface) -> str:
    """An open collection and the secured one with the same documents; the open one's name."""
    await db.initialize()
    name = fresh("kinds")
    db.collection(name).insert_many(
        [{"_key": each["interaction_id"], **each} for each in DOCUMENTS]
    )
    secured = await db.get_secured_collection(SECURED)
    await secured.truncate_secured()
    await secured.insert_many_secured([Activity(**each) for each in DOCUMENTS])
    return name


def bare(rows: list[Any]) -> list[Any]:
    """Rows without what the store puts into documents, in an order of their own."""
    shown = [
        {name: value for name, value in row.items() if not name.startswith("_")}
        if isinstance(row, dict)
        else row
        for row in rows
    ]
    return sorted(shown, key=repr)


async def test_every_kind_of_query(db: SecuredDatabaseInterface) -> None:
    """Thirty texts and one; the rows of both collections are the same, and there are some."""
    name = await filled(db)
    assert len(QUERIES) > 30
    for text, binds in QUERIES:
        open_rows = list(db.aql.execute(text, bind_vars={**binds, "@c": name}))
        secured = await db.execute_secured_query(text, {**binds, "@c": SECURED}, SECURED)
        assert bare(open_rows) == bare(secured), text
        assert open_rows, text
        by_face = [
            row async for row in await (await db).aql.execute(text, {**binds, "@c": SECURED})
        ]
        assert bare(by_face) == bare(secured), text


async def test_filters_by_semantic_names(db: SecuredDatabaseInterface) -> None:
    """`query` works on the secured collection as on the open one."""
    name = await filled(db)
    for filters in ({"kind": "gift"}, {"details.n": 3}, {"kind": "loan", "weight": 0.5}, {}):
        found = await db.query(name, filters)
        assert bare(found) == bare(await db.query(SECURED, filters))
        assert found


async def test_a_query_that_cannot_be_followed_is_refused(db: SecuredDatabaseInterface) -> None:
    """On either face, with the reason."""
    await filled(db)
    text = f"FOR d IN {SECURED} RETURN MERGE(d, {{a: 1}})"
    with pytest.raises(InvalidQuery, match="MERGE"):
        db.aql.execute(text)
    with pytest.raises(InvalidQuery, match="MERGE"):
        await db.execute_secured_query(text)


async def test_traversals_over_edges(db: SecuredDatabaseInterface) -> None:
    """`1..3 OUTBOUND | INBOUND` over an edge collection."""
    people, edges = fresh("people"), fresh("relations")
    db.collection(people).insert_many([{"_key": key} for key in "abc"])
    for one, other in ("ab", "bc"):
        db.collection(edges).insert({"_from": f"{people}/{one}", "_to": f"{people}/{other}"})
    for direction, start, expected in (("OUTBOUND", "a", ["b", "c"]), ("INBOUND", "c", ["a", "b"])):
        text = f"FOR v IN 1..3 {direction} @start {edges} SORT v._key RETURN v._key"
        assert list(db.aql.execute(text, {"start": f"{people}/{start}"})) == expected


INJECTED = [
    '") REMOVE d IN @@c //',
    '") REMOVE d IN {c} RETURN OLD //',
    '") FOR x IN mallku_ledger RETURN x //',
    '") FOR x IN _users RETURN x //',
    '") RETURN DOCUMENT("mallku_ledger/1") //',
    '") INSERT {_key: "planted"} INTO {c} //',
    '") UPDATE d WITH {kind: "changed"} IN {c} //',
    '") LET x = (FOR y IN {c} REMOVE y IN {c}) RETURN d //',
    '"); DROP',
    '\\") RETURN 1',
    "`",
    '" + SLEEP(60) + "',
    '") RETURN V8("1") //',
    '") RETURN CURRENT_USER() //',
]


@pytest.mark.parametrize("word", INJECTED)
async def test_what_gets_injected_is_contained(db: SecuredDatabaseInterface, word: str) -> None:
    """A text built from a user's word changes nothing and shows nothing of the gateway's own."""
    name = fresh("injected")
    db.collection(name).insert_many([{"_key": "a", "kind": "gift"}, {"_key": "b", "kind": "loan"}])
    before = list(db.collection(name).all())
    keyword = word.replace("{c}", name)
    text = f'FOR d IN {name} FILTER CONTAINS(d.kind, "{keyword}") RETURN d'
    try:
        rows = list(db.aql.execute(text))
    except (InvalidQuery, PermissionDenied, ReservedName, NotSupported):
        rows = []
    assert all(row["_id"].startswith(f"{name}/") for row in rows)
    assert list(db.collection(name).all()) == before


async def test_queries_that_change_say_so(db: SecuredDatabaseInterface) -> None:
    """`read_only=False` lets them through; without it the refusal names the place."""
    name = fresh("changed")
    db.collection(name).insert({"_key": "a", "n": 1})
    text = f"FOR d IN {name} UPDATE d WITH {{n: 2}} IN {name} RETURN NEW.n"
    with pytest.raises(PermissionDenied, match="read_only"):
        db.aql.execute(text)
    assert list(db.aql.execute(text, read_only=False)) == [2]
