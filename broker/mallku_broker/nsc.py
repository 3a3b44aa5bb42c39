"""The same accounts and users as commands of `nsc`, for brokers that are run by operator and JWT.

Source: https://nats-io.github.io/nsc. A subscription in a queue is written with a blank between
subject and queue. Accounts there have keys of their own, which imports name.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from typing import Final

from mallku_broker.configuration import AUDITOR_PREFIX, JOBS, Account, User, audit_calls

_HEAD: Final = """\
# Run once, in an nsc environment whose operator runs the broker. Accounts that are there already
# are left out by hand. These exports are public among the operator's accounts: where others have
# accounts too, make them --private and import them with activation tokens.
set -e
"""

_ACCOUNTS: Final = (Account.MALLKU, Account.RECORDS, Account.AUDITORS)


def nsc_commands(users: Iterable[User]) -> str:
    """A shell script that makes the accounts, what they share, and the users."""
    lines = [*_accounts(), "", *_shared(), "", *(_user(user) for user in users)]
    return _HEAD + "\n".join(lines) + "\n"


def _accounts() -> Iterator[str]:
    for account in _ACCOUNTS:
        yield f"nsc add account --name {account}"
    yield f"nsc edit account --name {Account.RECORDS} --js-disk-storage -1 --js-streams -1"
    yield (
        f'{Account.RECORDS}="$(nsc describe account --name {Account.RECORDS} --field sub'
        """ | tr -d '"')\""""
    )


def _shared() -> Iterator[str]:
    yield _export("jobs", JOBS)
    yield _import(Account.MALLKU, "jobs", JOBS, JOBS)
    for number, (call, response) in enumerate(audit_calls(), 1):
        remote = f"$JS.API.{call}"
        yield _export(f"audit-{number}", remote, response.get("response_type"))
        yield _import(Account.AUDITORS, f"audit-{number}", remote, f"{AUDITOR_PREFIX}.{call}")


def _export(name: str, subject: str, response: str | None = None) -> str:
    kind = f" --response-type {response}" if response else ""
    return (
        f"nsc add export --account {Account.RECORDS} --name {name}"
        f" --subject {shlex.quote(subject)} --service{kind}"
    )


def _import(account: Account, name: str, remote: str, local: str) -> str:
    return (
        f'nsc add import --account {account} --name {name} --src-account "${Account.RECORDS}"'
        f" --remote-subject {shlex.quote(remote)} --local-subject {shlex.quote(local)} --service"
    )


def _user(user: User) -> str:
    lists = (
        ("allow-pub", user.permissions.publish),
        ("deny-pub", () if user.permissions.publish else (">",)),
        ("allow-sub", user.permissions.subscribe),
        ("deny-sub", user.permissions.deny_subscribe if user.permissions.subscribe else (">",)),
    )
    flags = "".join(
        f" \\\n  --{flag} {shlex.quote(','.join(subjects))}" for flag, subjects in lists if subjects
    )
    return (
        f"nsc add user --account {user.account} --name {shlex.quote(user.name)}"
        f" --public-key {user.nkey}{flags}"
    )
