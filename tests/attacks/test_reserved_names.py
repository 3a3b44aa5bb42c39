"""Somebody who may do everything that a rule can allow asks for what belongs to the gateway."""

from __future__ import annotations

from typing import Any

import pytest

from mallku_contracts.errors import ConfigurationError
from mallku_contracts.governed import GATEWAY
from mallku_contracts.policy import read_policy
from tests.attacks.arena import Arena, code_of
from tests.attacks.arena import refused_by_each_worker as refused
from tests.attacks.cast import LOOKED_UP, SCRATCH, SECRET, VAULT
from tests.integration.world import ask, exchange

pytestmark = pytest.mark.asyncio(loop_scope="session")

NAMES = ["_users", "_graphs", "_", "mallku_ledger", "mallku_", "mallku_policy"]
COMMANDS: dict[str, dict[str, Any]] = {
    "get": {"document": "k"},
    "find": {},
    "count": {},
    "insert": {"document": {"_key": "k"}},
    "delete-match": {"filters": {}},
    "truncate": {},
    "drop-collection": {},
    "create-collection": {},
    "describe-collection": {},
    "create-index": {"fields": ["a"]},
}


@pytest.mark.parametrize("name", NAMES)
async def test_a_collection_of_the_gateway_is_asked_for(arena: Arena, name: str) -> None:
    """In every operation, on both workers: no glob matches such a name and no rule grants it."""
    async with arena.attacker(wide=True) as attacker:
        for operation, arguments in COMMANDS.items():
            sent = attacker.caller.seal(operation, arguments, name)
            codes = await refused(attacker.connection, sent)
            assert codes["reserved_name"] >= 1
            assert set(codes) <= {"reserved_name", "replayed"}


@pytest.mark.parametrize("name", ["_system", "mallku_other", "_"])
async def test_a_database_of_the_gateway_is_asked_for(arena: Arena, name: str) -> None:
    """The same holds for databases, whatever the collection is called."""
    async with arena.attacker(wide=True) as attacker:
        attacker.caller.database = name
        for operation in ("count", "create-collection"):
            sent = attacker.caller.seal(operation, {}, SCRATCH)
            codes = await refused(attacker.connection, sent)
            assert codes["reserved_name"] >= 1
            assert set(codes) <= {"reserved_name", "replayed"}
        sent = attacker.caller.seal("list-collections", {}, None)
        assert code_of(await ask(attacker.connection, sent)) == "reserved_name"


@pytest.mark.parametrize("reference", ["mallku_ledger/k", "_users/root", "vault/v0"])
async def test_a_documents_id_names_another_collection(arena: Arena, reference: str) -> None:
    """By id one reaches only documents of the collection that the command is about."""
    async with arena.attacker() as attacker:
        commands: dict[str, dict[str, Any]] = {
            "get": {"document": reference},
            "exists": {"document": {"_id": reference}},
            "update": {"document": {"_id": reference, "hit": True}},
            "replace": {"document": {"_id": reference, "hit": True}},
            "delete": {"document": {"_id": reference}, "return_old": True},
            "insert": {"document": {"_id": reference}, "overwrite_mode": "replace"},
            "get-many": {"documents": [reference]},
            "delete-many": {"documents": [reference], "return_old": True},
        }
        for operation, arguments in commands.items():
            sent = attacker.caller.seal(operation, arguments, SCRATCH)
            answer = await exchange(attacker.connection, sent)
            assert SECRET not in str(answer.body)
            if "error" in answer.body:
                assert answer.error.code != "internal"
            else:
                assert operation in {"get-many", "delete-many", "get", "exists"}
                assert _nothing(answer.result)


def _nothing(result: Any) -> bool:
    """Whether a result holds no document."""
    if isinstance(result, list):
        return all(isinstance(entry, dict) and entry.get("error") for entry in result)
    return not result


QUERIES = [
    ("FOR d IN mallku_ledger RETURN d", {}),
    ("FOR d IN _users RETURN d", {}),
    ("FOR d IN @@c RETURN d", {"@c": "mallku_ledger"}),
    ("FOR d IN @@c RETURN d", {"@c": "_users"}),
    ('RETURN DOCUMENT("mallku_ledger/k")', {}),
    ("RETURN DOCUMENT(@id)", {"id": "mallku_ledger/k"}),
    ("RETURN DOCUMENT(@@c, 'k')", {"@c": "mallku_ledger"}),
    ("RETURN COLLECTION_COUNT('mallku_ledger')", {}),
    ("RETURN LENGTH(mallku_ledger)", {}),
    ("RETURN COLLECTIONS()", {}),
    ("FOR v IN 1..2 OUTBOUND 'scratch/a' mallku_edges RETURN v", {}),
    ("FOR v IN 1..2 OUTBOUND 'mallku_ledger/k' scratch RETURN v", {}),
    ("FOR v IN 1..2 OUTBOUND 'scratch/a' GRAPH '_g' RETURN v", {}),
    ("INSERT {a: 1} INTO mallku_ledger", {}),
    ("FOR d IN mallku_ledger REMOVE d IN mallku_ledger", {}),
    ("FOR d IN scratch LET x = (FOR e IN mallku_ledger RETURN e) RETURN x", {}),
    ("UPSERT {a: 1} INSERT {a: 1} UPDATE {} IN mallku_ledger", {}),
    ("RETURN V8(1)", {}),
    ("RETURN mallku::steal()", {}),
    ("RETURN CALL('DOCUMENT', 'mallku_ledger/k')", {}),
    ("RETURN APPLY('DOCUMENT', ['mallku_ledger/k'])", {}),
]


@pytest.mark.parametrize(("query", "values"), QUERIES)
@pytest.mark.parametrize("wide", [True, False], ids=["everything", "small"])
async def test_a_query_reaches_for_the_gateways_own(
    arena: Arena, query: str, values: dict[str, str], wide: bool
) -> None:
    """By name, by bind value, by id, in a subquery, by function: refused before anything is run."""
    async with arena.attacker(wide=wide) as attacker:
        sent = attacker.caller.seal("aql", {"query": query, "bind_vars": values}, None)
        codes = await refused(attacker.connection, sent)
        assert codes.keys() <= {
            "reserved_name",
            "permission_denied",
            "invalid_query",
            "not_supported",
            "replayed",
        }
        await arena.told(attacker.principal, codes)


@pytest.mark.parametrize(
    "values",
    [
        {"c": "mallku_ledger", "k": "k"},
        {"c": "_users", "k": "root"},
        {"c": "mallku_ledger/k", "k": ""},
        {"c": ["mallku_ledger"], "k": {"k": "_users/root"}},
    ],
)
@pytest.mark.parametrize("wide", [True, False], ids=["everything", "small"])
async def test_an_approved_query_is_handed_the_gateways_own(
    arena: Arena, values: dict[str, Any], wide: bool
) -> None:
    """In one part or in two that the approved text puts together; elsewhere the text may look."""
    async with arena.attacker(wide=wide) as attacker:
        sent = attacker.caller.seal("aql", {"query": LOOKED_UP, "bind_vars": values}, None)
        codes = await refused(attacker.connection, sent)
        assert set(codes) <= {"reserved_name", "replayed"}
        await arena.told(attacker.principal, codes)
        harmless = {"query": LOOKED_UP, "bind_vars": {"c": SCRATCH, "k": "none"}}
        sent = attacker.caller.seal("aql", harmless, None)
        assert (await exchange(attacker.connection, sent)).result["result"] == [None]


@pytest.mark.parametrize(
    "query",
    [
        "RETURN DOCUMENT(@c, @k)",
        "LET c = CONCAT('mallku_', @c) RETURN DOCUMENT(c, @k)",
        "RETURN [@c, @k, DOCUMENT('mallku_ledger', 'k')]",
        "RETURN CALL(@c, @k)",
        "RETURN APPLY('Document', [@c, @k])",
    ],
)
async def test_a_text_is_approved_that_reads_whatever_it_is_told(arena: Arena, query: str) -> None:
    """Such a policy does not validate: an approved query names its collections itself."""
    text = f"""
version: 1
roles: {{r: {{rules: [{{id: a, collections: ["*"], operations: [read]}}]}}}}
principals: {{p: {{roles: [r]}}}}
queries: {{q: {{text: "{query}", roles: [r], parameters: [c, k]}}}}
"""
    with pytest.raises((ConfigurationError, ValueError), match=r"queries\.q\.text"):
        read_policy(text)


@pytest.mark.parametrize(
    "step",
    [
        {"operation": "insert", "collection": "mallku_ledger", "arguments": {"document": {}}},
        {"operation": "insert", "collection": "_users", "arguments": {"document": {}}},
        {"operation": "delete-match", "collection": "mallku_x", "arguments": {"filters": {}}},
        {"operation": "insert", "collection": "a.b", "arguments": {"document": {}}},
        {"operation": "insert", "collection": "@", "arguments": {"document": {}}},
        {"operation": "drop-collection", "collection": SCRATCH, "arguments": {}},
        {"operation": "aql", "collection": "@", "arguments": {"query": "RETURN 1"}},
    ],
)
@pytest.mark.parametrize("wide", [True, False], ids=["everything", "small"])
async def test_a_transactions_step_reaches_for_the_gateways_own(
    arena: Arena, step: dict[str, Any], wide: bool
) -> None:
    """Behind a harmless step: the whole transaction is refused, and the harmless step undone."""
    async with arena.attacker(wide=wide) as attacker:
        harmless = {
            "operation": "insert",
            "collection": SCRATCH,
            "arguments": {"document": {"kind": "harmless"}},
        }
        sent = attacker.caller.seal("transaction", {"steps": [harmless, step]}, None)
        answer = await exchange(attacker.connection, sent)
        assert answer.error.code in {
            "reserved_name",
            "permission_denied",
            "invalid_arguments",
            "not_supported",
            "invalid_subject",
        }
        asked = attacker.caller.seal("count", {"filters": {"kind": "harmless"}}, SCRATCH)
        assert (await exchange(attacker.connection, asked)).result == 0


@pytest.mark.parametrize(
    "graph",
    [
        {"name": "_g", "edge_definitions": []},
        {"name": "mallku_g", "edge_definitions": []},
        {"name": "g", "orphan_collections": ["mallku_ledger"]},
        {"name": "g", "orphan_collections": ["_users"]},
        {
            "name": "g",
            "edge_definitions": [
                {
                    "edge_collection": "mallku_edges",
                    "from_vertex_collections": [SCRATCH],
                    "to_vertex_collections": [SCRATCH],
                }
            ],
        },
        {
            "name": "g",
            "edge_definitions": [
                {
                    "edge_collection": "links",
                    "from_vertex_collections": [SCRATCH],
                    "to_vertex_collections": ["mallku_ledger"],
                }
            ],
        },
    ],
)
async def test_a_graph_is_made_of_the_gateways_own(arena: Arena, graph: dict[str, Any]) -> None:
    """Neither its name nor any of its collections may be the gateway's; there is none after."""
    async with arena.attacker(wide=True) as attacker:
        sent = attacker.caller.seal("create-graph", graph, None)
        answer = await exchange(attacker.connection, sent)
        assert answer.error.code in {"reserved_name", "not_supported", "invalid_arguments"}
        listed = await exchange(attacker.connection, attacker.caller.seal("list-graphs", {}, None))
        if "error" in listed.body:
            assert listed.error.code == "not_supported"
        else:
            assert listed.result == []


async def test_a_collection_is_dropped_with_a_graph_around_it(arena: Arena) -> None:
    """What is dropped has to be named, so that it can be decided about."""
    async with arena.attacker(wide=True) as attacker:
        graph = {"name": "around", "orphan_collections": [VAULT]}
        made = attacker.caller.seal("create-graph", graph, None)
        assert (await exchange(attacker.connection, made)).result["name"] == "around"
        whole = attacker.caller.seal(
            "drop-graph", {"name": "around", "drop_collections": True}, None
        )
        assert code_of(await ask(attacker.connection, whole)) == "not_supported"
        alone = attacker.caller.seal("drop-graph", {"name": "around"}, None)
        assert (await exchange(attacker.connection, alone)).result is True


async def test_the_gateways_own_collections_are_listed(arena: Arena) -> None:
    """Nobody is shown them, however wide their role is."""
    async with arena.attacker(wide=True) as attacker:
        sent = attacker.caller.seal("list-collections", {}, None)
        names = {info["name"] for info in (await exchange(attacker.connection, sent)).result}
    assert names
    assert not [name for name in names if name.startswith(("_", "mallku_"))]


async def test_a_principal_is_called_as_the_gateway(arena: Arena) -> None:
    """No policy has such a principal, and the broker lets nobody publish as one."""
    async with arena.attacker(wide=True) as attacker:
        for name in (GATEWAY, "_x", "mallku_x", "unknown"):
            await attacker.refused_to_publish(f"mallku.v1.cmd.{name}.mallku.scratch.count", b"{}")
    text = """
version: 1
roles: {r: {rules: [{id: a, collections: ["*"], operations: [read]}]}}
principals: {PRINCIPAL: {roles: [r]}}
"""
    for name in (GATEWAY, "_x", "a.b", "*"):
        with pytest.raises((ConfigurationError, ValueError)):
            read_policy(text.replace("PRINCIPAL", f'"{name}"'))


@pytest.mark.parametrize("glob", ["_*", "mallku_*", "mallku_ledger", "_users"])
async def test_a_rule_grants_the_gateways_own(arena: Arena, glob: str) -> None:
    """Such a policy does not validate, so no administrator signs one by mistake."""
    text = f"""
version: 1
roles: {{r: {{rules: [{{id: a, collections: ["{glob}"], operations: [read]}}]}}}}
principals: {{p: {{roles: [r]}}}}
"""
    with pytest.raises((ConfigurationError, ValueError), match="belong to the gateway"):
        read_policy(text)
