"""Step 5 for queries: approved texts, and what a query of one's own may use."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mallku_contracts.arguments import Aql
from mallku_contracts.errors import (
    InvalidArguments,
    InvalidQuery,
    PermissionDenied,
    ReservedName,
    Unavailable,
)
from mallku_contracts.operations import OPERATIONS
from mallku_contracts.policy import CompiledPolicy, read_policy
from mallku_contracts.subjects import CommandSubject
from mallku_workers.queries import uses
from mallku_workers.queries.authorize import (
    QueryAsker,
    QueryAuthorizer,
    refuse_reserved_handles,
)
from mallku_workers.stores.base import QueryCollections, RunnableQuery

MINE = "FOR n IN notes FILTER n.owner == @me LIMIT @n RETURN n.text"
CLEAN = "FOR n IN notes FILTER n.old REMOVE n IN notes"
TOGETHER = "RETURN DOCUMENT(CONCAT(@c, '/', @k))"
STARTED = "FOR v IN 0..1 OUTBOUND CONCAT(@c, '/', @k) knows RETURN v"
GIVEN = "FOR n IN notes FILTER n._rev == @c RETURN DOCUMENT(@k)"
POLICY = f"""
version: 7
roles:
  service:
    rules:
      - {{id: documents, collections: [notes, knows, people], operations: [read, write]}}
      - {{id: own, collections: [diaries], operations: [read, write], where: {{owner: $principal}}}}
      - {{id: hidden, collections: [secrets], operations: [read], hide: [pin]}}
      - {{id: reads, collections: [journal], operations: [read]}}
      - {{id: adds, collections: [journal], operations: [insert]}}
      - {{id: blind, collections: [chest], operations: [get, insert, update]}}
    limits: {{rate_per_s: 100000, burst: 100000, rows: 50}}
  approved:
    rules: [{{id: ask, collections: ["@"], operations: [aql, next]}}]
    limits: {{rate_per_s: 100000, burst: 100000}}
  wanderer:
    rules:
      - {{id: all, collections: ["*"], operations: [read], grants: [DOCUMENT, ANONYMOUS_GRAPHS]}}
  few:
    rules: [{{id: all, collections: ["*"], operations: [read]}}]
    limits: {{rows: 50, read: {{rows: 5}}}}
principals:
  few: {{roles: [few]}}
  mallku: {{roles: [service]}}
  other: {{roles: [service]}}
  guest: {{roles: [approved]}}
  wanderer: {{roles: [wanderer]}}
queries:
  mine: {{text: "{MINE}", roles: [approved], parameters: [n], set: {{me: $principal}}}}
  clean: {{text: "{CLEAN}", roles: [approved]}}
  together: {{text: "{TOGETHER}", roles: [approved], parameters: [c, k]}}
  started: {{text: "{STARTED}", roles: [approved], parameters: [c, k]}}
  given: {{text: "{GIVEN}", roles: [approved], parameters: [c, k]}}
"""
COMPILED = CompiledPolicy(read_policy(POLICY))


async def ask(
    text: str,
    principal: str = "mallku",
    *,
    members: frozenset[str] = frozenset(),
    explain: bool = False,
    read_only: bool = False,
    binds: dict[str, Any] | None = None,
) -> RunnableQuery:
    """What is made of a query; `members` are the collections that the store adds to it."""
    subject = CommandSubject.build(principal, "mallku", None, "aql")
    roles = frozenset(COMPILED.policy.principals[principal].roles)
    grant = COMPILED.decide(subject, OPERATIONS["aql"], roles=roles, issuer="i")

    async def collections(_database: str, _query: RunnableQuery) -> QueryCollections:
        return QueryCollections(members, {})

    asker = QueryAsker(COMPILED, subject, roles, 1_700_000_000_000)
    arguments = Aql(query=text, bind_vars=binds or {}, explain=explain, read_only=read_only)
    return await QueryAuthorizer(collections).authorize(arguments, asker, grant)


@pytest.mark.parametrize(
    ("text", "binds"),
    [
        ("RETURN 1", {}),
        ("FOR n IN notes RETURN n", {}),
        ("FOR n IN @@c FILTER n.a == @a RETURN n", {"@c": "journal", "a": 1}),
        ("FOR v IN 1..2 OUTBOUND @s GRAPH 'g' RETURN v", {"s": "people/a"}),
        ("INSERT {} INTO journal", {}),
        ("FOR n IN notes UPDATE n WITH {a: 1} IN notes", {}),
        ("UPSERT {a: 1} INSERT {a: 1} UPDATE {a: 2} IN notes", {}),
    ],
)
async def test_what_the_rules_allow_may_be_asked(text: str, binds: dict[str, Any]) -> None:
    """A query of one's own, with the caller's values, the grant's rows, and its own eyes."""
    query = await ask(text, binds=binds)
    assert query.binds == binds
    assert query.max_rows == 50
    assert query.may_read is not None
    assert query.may_read("notes")
    assert not query.may_read("diaries")
    assert not query.may_read("chest")
    assert not query.may_read("mallku_ledger")


async def test_rows_are_those_of_reads() -> None:
    """A class's own limit holds in the place of the one for all classes."""
    assert (await ask("RETURN 1", "few")).max_rows == 5


async def test_a_store_that_does_not_say_what_a_query_uses_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing else bounds this step: the caller is told when the time for it is over."""

    async def silent(_database: str, _query: RunnableQuery) -> QueryCollections:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(uses, "COLLECTIONS_S", 0.01)
    subject = CommandSubject.build("mallku", "mallku", None, "aql")
    roles = frozenset({"service"})
    grant = COMPILED.decide(subject, OPERATIONS["aql"], roles=roles, issuer="i")
    asker = QueryAsker(COMPILED, subject, roles, 1_700_000_000_000)
    with pytest.raises(Unavailable):
        await QueryAuthorizer(silent).authorize(Aql(query="RETURN 1"), asker, grant)


@pytest.mark.parametrize(
    ("text", "principal"),
    [
        ("FOR n IN notes REMOVE n IN notes", "mallku"),
        ("FOR n IN notes\n  LET x = (INSERT {} INTO journal) RETURN x", "mallku"),
        ("UPSERT {a: 1} INSERT {a: 1} UPDATE {a: 2} IN notes", "mallku"),
        (CLEAN, "guest"),
    ],
)
async def test_what_was_sent_to_read_alone_changes_nothing(text: str, principal: str) -> None:
    """Whatever the rules allow, and whoever approved the text; the refusal says where."""
    with pytest.raises(PermissionDenied, match=r"read_only.* at \d+:\d+"):
        await ask(text, principal, read_only=True)


async def test_what_reads_may_be_sent_to_read_alone() -> None:
    """It changes nothing about a query that changes nothing."""
    assert not (await ask("FOR n IN notes RETURN n", read_only=True)).modifies


async def test_whether_it_modifies_is_read_off_the_text() -> None:
    """And an explanation modifies nothing, whatever it explains."""
    assert not (await ask("FOR n IN notes RETURN n")).modifies
    assert (await ask("FOR n IN notes REMOVE n IN notes")).modifies
    assert (await ask("RETURN (INSERT {} INTO notes RETURN NEW)")).modifies
    assert not (await ask("FOR n IN notes REMOVE n IN notes", explain=True)).modifies


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("RETURN DOCUMENT('people/a')", "DOCUMENT"),
        ("RETURN MINE::OWN(1)", "MINE::OWN"),
        ("FOR v IN 1..2 OUTBOUND 'people/a' knows RETURN v", "EdgeCollection"),
        ("FOR n IN notes REMOVE n IN notes OPTIONS {exclusive: true}", "exclusive"),
    ],
)
async def test_what_is_not_on_the_list_is_refused_by_name(text: str, named: str) -> None:
    """Functions that read, functions of users, anonymous graphs, options that lock others out."""
    with pytest.raises(PermissionDenied, match=named) as refused:
        await ask(text)
    assert any(named.casefold() in name.casefold() for name in refused.value.details["refused"])


@pytest.mark.parametrize(
    "text",
    ["RETURN DOCUMENT('people/a')", "FOR v IN 1..2 OUTBOUND 'people/a' knows RETURN v"],
)
async def test_grants_open_what_they_name(text: str) -> None:
    """For the role that has them; what it meets on the way is still held to its rules."""
    query = await ask(text, "wanderer")
    assert query.may_read is not None
    assert not query.may_read("mallku_ledger")


@pytest.mark.parametrize("name", ["mallku_ledger", "_users", "mallku_x"])
@pytest.mark.parametrize(
    "text",
    ["FOR d IN @@c RETURN d", "INSERT {} INTO @@c", "RETURN LENGTH((FOR d IN @@c RETURN 1))"],
)
async def test_no_query_reaches_the_gateways_own_names(text: str, name: str) -> None:
    """By bind value or in the text; a policy that approves one is refused itself."""
    with pytest.raises(ReservedName):
        await ask(text, binds={"@c": name})
    with pytest.raises(ReservedName):
        await ask(text.replace("@@c", name))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("FOR d IN unheard RETURN d", "no rule allows aql"),
        ("FOR n IN notes FOR d IN unheard RETURN d", "unheard"),
        ("FOR c IN chest RETURN c", "no rule allows aql"),
        ("INSERT {} INTO chest", "chest"),
        ("FOR d IN diaries RETURN d", "where"),
        ("INSERT {} INTO diaries", "where"),
        ("FOR s IN secrets RETURN s", "hide"),
        ("FOR s IN secrets RETURN s.other", "hide"),
        ("RETURN LENGTH(secrets)", "secrets"),
        ("FOR j IN journal UPDATE j WITH {a: 1} IN journal", "update"),
        ("FOR j IN journal REMOVE j IN journal", "delete"),
        ("FOR j IN journal REPLACE j WITH {} IN journal", "replace"),
        ("UPSERT {a: 1} INSERT {} UPDATE {} IN journal", "update"),
        ("INSERT {_key: 'a'} INTO journal OPTIONS {overwriteMode: 'update'}", "replace"),
        ("INSERT {_key: 'a'} INTO journal OPTIONS {overwrite: true}", "replace"),
    ],
)
async def test_each_collection_is_held_to_its_rules(text: str, why: str) -> None:
    """Reading needs `aql`, a change its write operation; document rules refuse the whole query."""
    with pytest.raises(PermissionDenied, match=why):
        await ask(text)


async def test_what_the_store_adds_is_held_to_the_rules_as_well() -> None:
    """The collections of a named graph are not in the text."""
    text = "FOR v IN 1..2 OUTBOUND 'people/a' GRAPH 'g' RETURN v"
    await ask(text, members=frozenset({"people", "knows"}))
    with pytest.raises(PermissionDenied, match="diaries"):
        await ask(text, members=frozenset({"people", "diaries"}))


async def test_an_approved_query_runs_whatever_the_rules_say() -> None:
    """With the caller's parameters and the policy's values, for whoever it is approved for."""
    query = await ask(MINE, "guest", binds={"n": 3})
    assert query.binds == {"n": 3, "me": "guest"}
    assert query.may_read is None
    assert (await ask(CLEAN, "guest")).modifies


@pytest.mark.parametrize(
    ("binds", "field"),
    [({}, "n: not given"), ({"n": 1, "me": "heart"}, "me: not a param"), ({"n": 1, "x": 1}, "x:")],
)
async def test_an_approved_query_takes_its_parameters_alone(
    binds: dict[str, Any], field: str
) -> None:
    """One too few, one of the policy's, one that is not there."""
    with pytest.raises(InvalidArguments, match=field):
        await ask(MINE, "guest", binds=binds)


@pytest.mark.parametrize(
    "value", ["mallku_ledger/abc", ["a", {"b": "_graphs/x"}], {"at": ["mallku_state/1"]}]
)
def test_an_approved_query_is_given_no_id_of_the_gateways_own(value: Any) -> None:
    """It may look documents up by what it is given; the ledger is not among them."""
    with pytest.raises(ReservedName):
        refuse_reserved_handles({"other": 1, "n": value}, puts_together=False)
    harmless = {"n": ["_a path/with blanks", "notes/_x", "mallku_ledger"]}
    refuse_reserved_handles(harmless, puts_together=False)


@pytest.mark.parametrize("text", [TOGETHER, STARTED])
@pytest.mark.parametrize("name", ["mallku_ledger", "_users", "_"])
async def test_an_approved_query_puts_no_id_of_the_gateways_own_together(
    text: str, name: str
) -> None:
    """Where ids come about in the text, no part that is given names a collection of that kind."""
    with pytest.raises(ReservedName):
        await ask(text, "guest", binds={"c": name, "k": "x"})
    await ask(text, "guest", binds={"c": "notes", "k": "x"})


async def test_a_revision_is_no_name_of_a_collection() -> None:
    """It begins with _ too, and is taken where every id is given whole."""
    await ask(GIVEN, "guest", binds={"c": "_kRevision--_", "k": "notes/x"})


@pytest.mark.parametrize("text", ["RETURN 1", MINE + " ", MINE.replace("text", "text /* */")])
async def test_another_text_is_not_approved(text: str) -> None:
    """Approval is for the exact text; who may ask approved ones alone is told so."""
    with pytest.raises(PermissionDenied, match="approved queries alone"):
        await ask(text, "guest", binds={"n": 1})


async def test_an_approval_takes_nothing_from_others() -> None:
    """Whoever it was not approved for may ask the text as a query of their own, or is refused."""
    query = await ask(MINE, binds={"n": 1, "me": "anybody"})
    assert query.may_read is not None
    with pytest.raises(PermissionDenied, match="aql"):
        await ask(CLEAN.replace("notes", "chest"))


@pytest.mark.parametrize(
    ("text", "binds", "number"),
    [
        ("FOR n IN", {}, 1501),
        ("RETURN @x", {}, 1551),
        ("RETURN 1", {"x": 1}, 1552),
        ("FOR n IN @@c RETURN n", {"@c": 5}, None),
        ("RETURN NOSUCH(1)", {}, 1540),
    ],
)
async def test_what_is_no_query_is_refused_with_arangodbs_number(
    text: str, binds: dict[str, Any], number: int | None
) -> None:
    """With line and column, before anybody asks what it may do."""
    with pytest.raises(InvalidQuery) as refused:
        await ask(text, binds=binds)
    assert number is None or refused.value.error_code == number
    assert refused.value.details["line"] == 1
