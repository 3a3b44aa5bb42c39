"""The steps from what there is to what is declared, without any store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mallku_contracts.errors import ConfigurationError
from mallku_contracts.results import GraphInfo, IndexInfo
from mallku_workers.stores.provisioning import Plan, make_plan, read_declaration, read_drop
from mallku_workers.stores.provisioning.plan import (
    GRANTS,
    Actual,
    ActualCollection,
    ActualDatabase,
    ActualUser,
)

ROOT = Path(__file__).resolve().parents[3]
DECLARED = """\
databases:
  mallku:
    collections:
      people:
        indexes:
          - {name: by_email, fields: [email], unique: true}
          - {fields: [age]}
      knows: {type: edge}
    graphs:
      friends: {edges: {knows: {from: [people], to: [people]}}}
users:
  looking: {access: read, password_file: looking.txt}
"""


def index(name: str, *fields: str, unique: bool = False, type_: Any = "persistent") -> IndexInfo:
    """An index that is there."""
    return {
        "id": f"people/{name}",
        "name": name,
        "type": type_,
        "fields": list(fields),
        "unique": unique,
        "sparse": False,
    }


EMAIL = index("by_email", "email", unique=True)
AGE = index("idx_7", "age")
FRIENDS: GraphInfo = {
    "name": "friends",
    "edge_definitions": [
        {
            "edge_collection": "knows",
            "from_vertex_collections": ["people"],
            "to_vertex_collections": ["people"],
        }
    ],
    "orphan_collections": [],
}


def there(
    *indexes: IndexInfo,
    edge: bool = False,
    more: Mapping[str, ActualCollection] | None = None,
    graphs: Mapping[str, GraphInfo] | None = None,
    ledger: bool = True,
    users: Mapping[str, ActualUser] | None = None,
) -> Actual:
    """A store as declared, but for what is given."""
    collections = {
        "people": ActualCollection(edge, 12, indexes),
        "knows": ActualCollection(True, 3, (index("edge", "_from", type_="edge"),)),
        **(more or {}),
    }
    known = {"friends": FRIENDS} if graphs is None else graphs
    return Actual({"mallku": ActualDatabase(collections, known, ledger)}, users)


LOOKING = ActualUser({"mallku": GRANTS["read"]})
AS_DECLARED = there(EMAIL, AGE, users={"looking": LOOKING})


def planned(actual: Actual, *drops: str, text: str = DECLARED) -> Plan:
    """The plan, where these may be dropped."""
    return make_plan(read_declaration(text), actual, map(read_drop, drops))


def steps(plan: Plan) -> list[str]:
    """The steps in their order."""
    return [f"{step.action} {step.name}" for step in plan.steps]


def test_nothing_is_made_in_an_order_that_works() -> None:
    """Of an empty store: databases first, then collections, indexes, graphs, users."""
    plan = planned(Actual({}, {}))
    assert steps(plan) == [
        "create database:mallku",
        "create collection:mallku/people",
        "create collection:mallku/knows",
        "create index:mallku/people/by_email",
        "create index:mallku/people/(age)",
        "create graph:mallku/friends",
        "create user:looking",
    ]
    assert plan.pending


def test_what_is_as_declared_has_no_steps() -> None:
    """An index without a declared name may be called anything, and naming to drop drops nothing."""
    named = ("index:mallku/people/by_email", "collection:mallku/people", "graph:mallku/friends")
    for drops in ((), named):
        plan = planned(AS_DECLARED, *drops)
        assert (plan.steps, plan.blocked, plan.left, plan.absent) == ((), (), (), ())
        assert not plan.pending


def test_what_is_not_declared_is_left_alone_until_it_is_named() -> None:
    """Collections, indexes, graphs, users and databases that are only there stay."""
    extra = Actual(
        {
            "mallku": ActualDatabase(
                {
                    **there(EMAIL, AGE, index("old", "x")).databases["mallku"].collections,
                    "other": ActualCollection(False, 1_234, ()),
                },
                {"friends": FRIENDS, "foes": FRIENDS},
            )
        },
        {"looking": LOOKING, "former": ActualUser({})},
        ("shop",),
    )
    names = [
        "index:mallku/people/old",
        "collection:mallku/other",
        "graph:mallku/foes",
        "database:shop",
        "user:former",
    ]
    plan = planned(extra)
    assert not plan.pending
    assert [one.name for one in plan.left] == names
    assert plan.left[1].detail == "document, 1,234 documents"
    dropped = planned(extra, *names)
    assert dropped.left == ()
    assert steps(dropped) == [
        "drop graph:mallku/foes",
        "drop index:mallku/people/old",
        "drop collection:mallku/other",
        "drop user:former",
        "drop database:shop",
    ]


@pytest.mark.parametrize(
    ("actual", "name", "made"),
    [
        (
            there(index("by_email", "email"), AGE, users={"looking": LOOKING}),
            "index:mallku/people/by_email",
            ["create index:mallku/people/by_email"],
        ),
        (
            there(index("idx_3", "email", unique=True), AGE, users={"looking": LOOKING}),
            "index:mallku/people/idx_3",
            ["create index:mallku/people/by_email"],
        ),
        (
            there(EMAIL, AGE, graphs={"friends": {**FRIENDS, "orphan_collections": ["x"]}}),
            "graph:mallku/friends",
            ["create graph:mallku/friends"],
        ),
        (
            there(EMAIL, AGE, edge=True),
            "collection:mallku/people",
            [
                "create collection:mallku/people",
                "create index:mallku/people/by_email",
                "create index:mallku/people/(age)",
            ],
        ),
        (
            there(EMAIL, AGE, users={"looking": ActualUser({}, "missing")}),
            "user:looking",
            ["create user:looking"],
        ),
    ],
    ids=["definition", "name", "graph", "type", "password"],
)
def test_what_differs_is_made_anew_only_when_it_is_named(
    actual: Actual, name: str, made: list[str]
) -> None:
    """Not named it is blocked, which is pending; named it is dropped and created."""
    plan = planned(actual)
    assert [one.name for one in plan.blocked] == [name]
    assert plan.steps == ()
    assert plan.pending
    allowed = planned(actual, name)
    assert allowed.blocked == ()
    assert steps(allowed) == [f"drop {name}", *made]


def test_a_user_changes_in_place() -> None:
    """Another access class, or another password in the file, needs no new user."""
    for known, detail in (
        (ActualUser({"mallku": GRANTS["admin"]}), "read in mallku"),
        (ActualUser({"mallku": GRANTS["read"]}, "other"), "password of looking.txt"),
    ):
        plan = planned(there(EMAIL, AGE, users={"looking": known}))
        assert [(step.action, step.detail) for step in plan.steps] == [("change", detail)]


def test_access_in_other_databases_is_shown() -> None:
    """What a declared user may do elsewhere is left alone, and said."""
    known = ActualUser({"mallku": GRANTS["read"], "shop": {"": "rw"}})
    plan = planned(there(EMAIL, AGE, users={"looking": known}))
    assert [(one.name, one.detail) for one in plan.left] == [("user:looking", "also rw in shop")]


def test_a_missing_ledger_is_a_step() -> None:
    """Workers with little access cannot make it themselves."""
    plan = planned(there(EMAIL, AGE, ledger=False, users={"looking": LOOKING}))
    assert steps(plan) == ["create ledger:mallku/mallku_ledger"]


def test_readers_and_the_ledger() -> None:
    """Of the access classes, the one that reads cannot see the ledger, and none but admin makes."""
    assert GRANTS["read"]["mallku_ledger"] == "none"
    assert {access for access, levels in GRANTS.items() if levels[""] == "rw"} == {"admin"}


def test_what_is_named_and_not_there_is_said() -> None:
    """A slip of the pen in a name is visible."""
    assert planned(AS_DECLARED, "index:mallku/people/odl").absent == ("index:mallku/people/odl",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "databases: {a: {collections: {b: {typ: edge}}}}",
            "d:1:35: databases.a.collections.b.typ",
        ),
        ("databases:\n  a:\n    collections:\n      _b: {}\n", "d:4:7: databases.a.collections._b"),
        ("databases: {mallku_x: }", "d:1:13: databases.mallku_x"),
        ("databases: {}\ndatabases: {}", "d:2:1: 'databases' stands twice"),
        ("databases: {a: &x {}}", "d:1:16: anchors and aliases are not used in a declaration"),
        ("", "d:1:1: a declaration is a map with databases"),
        ("databases: {}\ndrop: [people]", "d:2:8: drop.0: 'people': write KIND:NAME"),
        ("databases: {}\ndrop: ['index:a/b']", "write index:DATABASE/COLLECTION/INDEX"),
        (
            "databases:\n  a:\n    graphs: {g: {edges: {e: {from: [x], to: [y]}}}}",
            "'e' is not declared under collections",
        ),
        (
            (
                "databases:\n  a:\n    collections: {e: , x: }\n"
                "    graphs: {g: {edges: {e: {from: [x], to: [x]}}}}"
            ),
            "d:4:26: databases.a.graphs.g.edges.e: 'e' is declared without type: edge",
        ),
        (
            "databases: {a: {collections: {b: {indexes: [{fields: [x]}, {fields: [x]}]}}}}",
            "this index stands twice",
        ),
        ("databases: {a: {collections: {b: {indexes: [{fields: [_id]}]}}}}", "_id cannot be"),
        (
            "databases: {a: }\nusers: {u: {access: read, password_file: p, databases: [b]}}",
            "d:2:57: users.u.databases.0: 'b' is not declared",
        ),
        ("databases: {a: }\nusers: {u: {access: all, password_file: p}}", "d:2:13: users.u.access"),
    ],
)
def test_mistakes_have_a_place(text: str, message: str) -> None:
    """What is wrong in a declaration is said with file, line and column."""
    with pytest.raises(ConfigurationError) as refused:
        read_declaration(text, "d")
    assert message in str(refused.value)


def test_the_manual_shows_a_declaration() -> None:
    """What `docs/stores.md` shows as a declaration is one, and its levels are those in force."""
    manual = (ROOT / "docs" / "stores.md").read_text()
    shown = manual.split("```yaml\n")[1].split("```")[0]
    declaration = read_declaration(shown)
    assert set(declaration.databases["mallku"].collections) == {"people", "knows"}
    for access, levels in GRANTS.items():
        row = f"| `{access}` | `{levels['']}` | `{levels['*']}` | `{levels['mallku_ledger']}` |"
        assert row in manual
