from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mallku_broker.accounts import (
    JOBS,
    TOLD_TO_CALLERS,
    Account,
    Permissions,
    User,
)
from mallku_broker.configuration import (
    ServerConfiguration,
    ServerTls,
)
from mallku_broker.nkeys import new_nkey
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.limits import MAX_PAYLOAD_BYTES
from tests.support.nats import nats_house

KEY, OTHER_KEY = new_nkey()[1], new_nkey()[1]


def _document(*users: User, **changes: Any) -> dict[str, Any]:
    configuration = ServerConfiguration(Path("/data/streams"), users, **changes)
    document: dict[str, Any] = json.loads(configuration.to_text())
    return document


def _user(account: Account = Account.MALLKU, **permissions: tuple[str, ...]) -> User:
    return User("somebody", KEY, account, Permissions(**permissions))


def test_only_the_records_have_jetstream() -> None:
    """Callers and auditors stand outside of the account that holds the streams."""
    accounts = _document()["accounts"]
    assert [name for name, account in accounts.items() if "jetstream" in account] == ["RECORDS"]


def test_what_crosses_between_accounts_is_this_and_no_more() -> None:
    """Jobs go in; which are kept comes out; four calls about the trail go to auditors.

    Of the system account workers see one report: how JetStream is configured.
    """
    accounts = _document()["accounts"]
    imports = {
        (name, told["subject"], each.get("to"))
        for name, account in accounts.items()
        for each in account.get("imports", [])
        for told in (each.get("service") or each["stream"],)
    }
    generations = ("MALLKU_AUDIT", *(f"MALLKU_AUDIT_{number}" for number in range(2, 17)))
    trail = {
        ("AUDITORS", f"$JS.API.{call}", f"AUD.API.{call}")
        for stream in (*generations, "MALLKU_CHECKPOINTS")
        for call in (
            f"STREAM.INFO.{stream}",
            f"CONSUMER.CREATE.{stream}.>",
            f"CONSUMER.INFO.{stream}.*",
            f"CONSUMER.MSG.NEXT.{stream}.*",
        )
    }
    jobs = {("MALLKU", subject, None) for subject in (JOBS, *TOLD_TO_CALLERS)}
    report = ("RECORDS", "$SYS.REQ.SERVER.PING.JSZ", None)
    assert imports == jobs | trail | {report}
    assert [name for name, each in accounts.items() if "exports" in each] == ["RECORDS", "SYS"]
    assert accounts["SYS"]["exports"] == [{"service": report[1], "accounts": ["RECORDS"]}]
    for export in accounts["RECORDS"]["exports"]:
        for_jobs = export.get("service") == JOBS or export.get("stream") in TOLD_TO_CALLERS
        assert export["accounts"] == (["MALLKU"] if for_jobs else ["AUDITORS"])


@pytest.mark.parametrize("account", list(Account))
def test_a_user_stands_in_its_account_with_its_lists(account: Account) -> None:
    """The lists arrive as they are, and nothing allows responses."""
    user = _user(account, publish=("a.b",), subscribe=("c.* q",), deny_subscribe=("> >",))
    document = _document(user)
    assert document["accounts"][account]["users"] == [
        {
            "nkey": KEY,
            "allowed_connection_types": ["STANDARD"],
            "permissions": {
                "publish": {"allow": ["a.b"]},
                "subscribe": {"allow": ["c.* q"], "deny": ["> >"]},
            },
        }
    ]
    assert "allow_responses" not in json.dumps(document)


def test_an_empty_list_is_a_refusal() -> None:
    """Nobody is allowed everything because a list was empty."""
    (user,) = _document(_user())["accounts"]["MALLKU"]["users"]
    assert user["permissions"] == {"publish": {"deny": [">"]}, "subscribe": {"deny": [">"]}}


def test_a_shared_nkey_is_refused_with_both_names() -> None:
    """Two users with one key would be one to the server, in whichever account comes last."""
    users = [
        User("a", KEY, Account.MALLKU, Permissions()),
        User("b", OTHER_KEY, Account.MALLKU, Permissions()),
        User("c", KEY, Account.RECORDS, Permissions()),
    ]
    with pytest.raises(ConfigurationError, match="'a' and 'c' have the same nkey"):
        _document(*users)


@settings(deadline=None)
@given(st.text(min_size=1, max_size=30))
def test_no_name_becomes_syntax(text: str) -> None:
    """Any text in a subject, path or name stays one string, or the whole is refused."""
    user = _user(publish=(text,))
    try:
        document = _document(user, log=Path("/x") / text, server_name=text)
    except (ConfigurationError, UnicodeEncodeError):
        return
    (written,) = document["accounts"]["MALLKU"]["users"]
    assert written["permissions"]["publish"] == {"allow": [text]}
    assert document["server_name"] == text


def test_a_control_character_is_refused() -> None:
    """The server's format cannot say it, so it is not said."""
    with pytest.raises(ConfigurationError, match="control character"):
        _document(server_name="a\0b")


def test_durability_tls_and_limits_are_written_down() -> None:
    """Options appear where they were asked for, and nowhere else."""
    plain = _document()
    assert plain["max_payload"] == MAX_PAYLOAD_BYTES
    assert "sync_interval" not in plain["jetstream"]
    assert not {"tls", "http", "logfile"} & plain.keys()
    tls = ServerTls(Path("/c"), Path("/k"), Path("/ca"))
    full = _document(tls=tls, sync_every_write=True, monitoring_port=0, max_store_bytes=7)
    assert full["jetstream"]["sync_interval"] == "always"
    assert full["jetstream"]["max_file_store"] == 7
    assert full["http"] == "127.0.0.1:-1"
    assert full["tls"] == {
        "cert_file": "/c",
        "key_file": "/k",
        "ca_file": "/ca",
        "min_version": "1.3",
        "timeout": 2,
        "verify": True,
    }


async def test_the_server_takes_everything_that_can_be_said(tmp_path: Path) -> None:
    """A real server starts with every option at once, and with odd characters in its paths."""
    folder = tmp_path / 'a "quoted" $folder {with} #signs, ñ'
    async with nats_house(
        folder,
        monitoring_port=0,
        sync_every_write=True,
        max_store_bytes=1 << 30,
        server_name="one-1",
    ) as house:
        assert house.server.monitoring_port
        assert (folder / "streams" / "jetstream").is_dir()
