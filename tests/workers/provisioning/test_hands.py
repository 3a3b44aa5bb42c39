"""A plan carried out on the embedded store and on a simulated ArangoDB."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mallku_contracts.errors import ConfigurationError, MallkuError, NotSupported
from mallku_workers.stores.arango import ArangoSettings
from mallku_workers.stores.provisioning import (
    ArangoHands,
    EmbeddedHands,
    Hands,
    Plan,
    make_plan,
    read_declaration,
    read_drop,
)
from mallku_workers.stores.provisioning.plan import GRANTS
from tests.support.simulated_arango import SimulatedArango
from tests.support.simulated_arango_users import Users

DECLARED = """\
databases:
  mallku:
    collections:
      people:
        indexes:
          - {name: by_email, fields: [email, name.last], unique: true, sparse: true}
          - {fields: [age]}
      knows: {type: edge}
      places:
    graphs:
      friends:
        edges: {knows: {from: [people], to: [people]}}
        orphans: [places]
  shop:
"""
USERS = """\
users:
  mine: {access: write, password_file: secrets/mine}
  looking: {access: read, password_file: secrets/looking, databases: [shop]}
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SimulatedArango]:
    """A server with nothing but `_system`."""
    (tmp_path / "server").mkdir()
    simulated = SimulatedArango(tmp_path / "server", databases=("_system",))
    yield simulated
    simulated.close()


@pytest.fixture
def users(server: SimulatedArango) -> Users:
    """The users of that server."""
    known = Users(server)
    server.before = known
    return known


def settings(server: SimulatedArango) -> ArangoSettings:
    """The administrator's, there."""
    return ArangoSettings(url=server.url, connections=4)


@pytest.fixture(params=["embedded", "arango"])
async def hands(
    request: pytest.FixtureRequest, tmp_path: Path, server: SimulatedArango, users: Users
) -> AsyncIterator[Hands]:
    """Hands on an empty store of every kind there is."""
    made: Hands
    if request.param == "embedded":
        made = EmbeddedHands(tmp_path / "store")
    else:
        made = ArangoHands(settings(server), tmp_path)
    yield made
    await made.close()


async def plan(hands: Hands, text: str, *drops: str) -> Plan:
    """What would have to be done."""
    declaration = read_declaration(text)
    return make_plan(declaration, await hands.look(declaration), map(read_drop, drops))


async def apply(hands: Hands, text: str, *drops: str) -> Plan:
    """Carry out what the plan says; the plan afterwards."""
    for step in (await plan(hands, text, *drops)).steps:
        await hands.carry_out(step, read_declaration(text))
    return await plan(hands, text, *drops)


async def test_looking_changes_nothing(
    hands: Hands, tmp_path: Path, server: SimulatedArango
) -> None:
    """A plan makes neither files nor databases, and sends nothing but reads."""
    assert (await plan(hands, DECLARED)).pending
    assert not (tmp_path / "store").exists()
    assert {asked.method for asked in server.asked} <= {"GET", "POST"}
    assert {asked.path for asked in server.asked if asked.method == "POST"} <= {"/_open/auth"}


async def test_applied_twice_it_does_nothing(hands: Hands) -> None:
    """Everything declared is there after one run; there is nothing left to do."""
    after = await apply(hands, DECLARED)
    assert not after.pending
    assert after.left == ()


async def test_changes_need_their_names(hands: Hands) -> None:
    """A changed index stays as it is until it is named; so does what is no longer declared."""
    await apply(hands, DECLARED)
    changed = DECLARED.replace("fields: [age]", "fields: [age, name]").replace(
        "sparse: true}", "sparse: false}"
    )
    changed = changed.replace("      places:\n", "").replace("        orphans: [places]\n", "")
    after = await apply(hands, changed)
    assert [one.name for one in after.blocked] == [
        "index:mallku/people/by_email",
        "graph:mallku/friends",
    ]
    left = [one.name for one in after.left]
    assert "collection:mallku/places" in left
    assert len(left) == 2
    names = [*left, *(one.name for one in after.blocked)]
    final = await apply(hands, changed, *names)
    assert not final.pending
    assert final.left == ()


async def test_a_step_that_fails_leaves_the_rest_to_do(hands: Hands) -> None:
    """What somebody else did meanwhile makes a step fail; the next plan knows what was done."""
    text = DECLARED.replace("by_email, fields: [email, name.last]", "by_x, fields: [x]")
    stale = await plan(hands, text)
    await apply(hands, text.replace("fields: [x]", "fields: [other]"))
    step = next(step for step in stale.steps if step.name == "index:mallku/people/by_x")
    with pytest.raises(MallkuError, match="by_x"):
        await hands.carry_out(step, read_declaration(text))
    after = await plan(hands, text)
    assert [one.name for one in after.blocked] == [step.name]
    assert after.steps == ()


async def test_users_are_made_with_passwords_in_private_files(
    server: SimulatedArango, users: Users, tmp_path: Path
) -> None:
    """Each access class has its levels; the password is in the file and the server alone."""
    hands = ArangoHands(settings(server), tmp_path)
    after = await apply(hands, DECLARED + USERS)
    assert not after.pending
    assert users.levels == {
        "mine": {"mallku": dict(GRANTS["write"]), "shop": dict(GRANTS["write"])},
        "looking": {"shop": dict(GRANTS["read"])},
    }
    for name in ("mine", "looking"):
        file = tmp_path / "secrets" / name
        assert file.stat().st_mode & 0o777 == 0o600
        password = file.read_text().strip()
        assert len(password) >= 40
        assert server.users[name] == password
        assert password not in repr(after)
    await hands.close()


async def test_a_user_is_set_right_without_being_dropped(
    server: SimulatedArango, users: Users, tmp_path: Path
) -> None:
    """A password changed in its file and levels changed by hand are put in force again."""
    hands = ArangoHands(settings(server), tmp_path)
    await apply(hands, DECLARED + USERS)
    (tmp_path / "secrets" / "mine").write_text("chosen by hand\n")
    users.levels["looking"]["shop"]["*"] = "rw"
    found = await plan(hands, DECLARED + USERS)
    assert [(step.name, step.detail) for step in found.steps] == [
        ("user:mine", "password of secrets/mine"),
        ("user:looking", "read in shop"),
    ]
    assert not (await apply(hands, DECLARED + USERS)).pending
    assert server.users["mine"] == "chosen by hand"
    await hands.close()


async def test_a_lost_password_is_replaced_only_by_name(
    server: SimulatedArango, users: Users, tmp_path: Path
) -> None:
    """Without the file nobody's password changes, until the user may be dropped and made anew."""
    hands = ArangoHands(settings(server), tmp_path)
    await apply(hands, DECLARED + USERS)
    before = server.users["mine"]
    (tmp_path / "secrets" / "mine").unlink()
    after = await apply(hands, DECLARED + USERS)
    assert [one.name for one in after.blocked] == ["user:mine"]
    assert server.users["mine"] == before
    assert not (await apply(hands, DECLARED + USERS, "user:mine")).pending
    assert server.users["mine"] != before
    await hands.close()


async def test_a_password_that_others_may_read_is_refused(
    server: SimulatedArango, users: Users, tmp_path: Path
) -> None:
    """The file's mode is looked at before anybody gets the password; it is not repeated."""
    (tmp_path / "mine.txt").write_text("open to all")
    (tmp_path / "mine.txt").chmod(0o644)
    hands = ArangoHands(settings(server), tmp_path)
    text = DECLARED + "users: {mine: {access: read, password_file: mine.txt}}\n"
    with pytest.raises(ConfigurationError, match="others may use it") as refused:
        await apply(hands, text)
    assert "open to all" not in str(refused.value)
    assert "mine" not in server.users
    await hands.close()


async def test_users_are_looked_at_only_where_some_are_named(
    server: SimulatedArango, users: Users, tmp_path: Path
) -> None:
    """A declaration without users needs no right to see them; one under drop is dropped."""
    hands = ArangoHands(settings(server), tmp_path)
    assert not (await apply(hands, DECLARED)).pending
    assert users.asked == []
    server.users["former"] = "x"
    await apply(hands, DECLARED + "drop: ['user:former']\n", "user:former")
    assert "former" not in server.users
    made = [asked.body for asked in server.asked if asked.path == "/_api/database" and asked.body]
    assert [one["options"] for one in made] == [{"sharding": "single"}] * 2
    await hands.close()


async def test_nobody_declares_themselves(
    server: SimulatedArango, users: Users, tmp_path: Path
) -> None:
    """Who applies the file cannot take their own rights away by it."""
    hands = ArangoHands(settings(server), tmp_path)
    with pytest.raises(ConfigurationError, match="root is who applies this"):
        await plan(hands, DECLARED + "users: {root: {access: read, password_file: x}}\n")
    await hands.close()


async def test_databases_are_dropped_by_name(
    server: SimulatedArango, users: Users, tmp_path: Path
) -> None:
    """ArangoDB drops a database that is named; files of the embedded store are for hands."""
    hands = ArangoHands(settings(server), tmp_path)
    await apply(hands, DECLARED)
    less = DECLARED.replace("  shop:\n", "")
    assert [one.name for one in (await apply(hands, less)).left] == ["database:shop"]
    assert (await apply(hands, less, "database:shop")).left == ()
    assert "shop" not in server.databases
    await hands.close()
    files = EmbeddedHands(tmp_path / "store")
    await apply(files, DECLARED)
    with pytest.raises(NotSupported, match="by hand"):
        await apply(files, less, "database:shop")
    assert (tmp_path / "store" / "shop.sqlite").exists()
    await files.close()


async def test_wrong_credentials_are_told_as_such(
    server: SimulatedArango, users: Users, tmp_path: Path
) -> None:
    """A password that ArangoDB does not believe is a matter of configuration."""
    server.users["root"] = "another"
    hands = ArangoHands(settings(server), tmp_path)
    with pytest.raises(ConfigurationError, match="does not believe"):
        await plan(hands, DECLARED)
    await hands.close()
