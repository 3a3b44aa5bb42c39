"""The same accounts and users as commands of `nsc`, for brokers that are run by operator and JWT.

Source: https://nats-io.github.io/nsc. A subscription in a queue is written with a blank between
subject and queue. Accounts there have keys of their own, which imports name.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from typing import Final

from mallku_broker.accounts import (
    AUDITOR_PREFIX,
    JOBS,
    JOBS_ANSWER_WITHIN,
    MAX_AUDITORS_CONNECTIONS,
    MAX_CALLERS_CONNECTIONS,
    MIRRORED,
    SERVER_REPORT,
    TOLD_TO_CALLERS,
    TRAIL_STREAMS,
    Account,
    User,
    audit_calls,
    mirror_calls,
)

_HEAD: Final = """\
# Run once, in an nsc environment whose operator runs the broker. Accounts that are there already
# are left out by hand. These exports are public among the operator's accounts: where others have
# accounts too, make them --private and import them with activation tokens.
set -e
"""

_ACCOUNTS: Final = (Account.MALLKU, Account.RECORDS, Account.AUDITORS)


def nsc_commands(users: Iterable[User]) -> str:
    """A shell script that makes the accounts, what they share, and the users."""
    listed = tuple(users)
    kept = any(user.account is Account.KEEPERS for user in listed)
    mirrors = (*_mirrors(), "") if kept else ()
    lines = [*_accounts(), "", *_shared(), "", *mirrors, *(_user(user) for user in listed)]
    return _HEAD + "\n".join(lines) + "\n"


def _accounts() -> Iterator[str]:
    for account in _ACCOUNTS:
        yield f"nsc add account --name {account}"
    yield f"nsc edit account --name {Account.RECORDS} --js-disk-storage -1 --js-streams -1"
    yield f"nsc edit account --name {Account.MALLKU} --conns {MAX_CALLERS_CONNECTIONS}"
    yield f"nsc edit account --name {Account.AUDITORS} --conns {MAX_AUDITORS_CONNECTIONS}"
    for account in (Account.RECORDS, Account.SYS):
        yield (
            f'{account}="$(nsc describe account --name {account} --field sub'
            """ | tr -d '"')\""""
        )


def _shared() -> Iterator[str]:
    yield f"{_export('jobs', JOBS)} --service --response-threshold {JOBS_ANSWER_WITHIN}"
    yield f"{_import(Account.MALLKU, 'jobs', JOBS, JOBS)} --service"
    for name, told in zip(("stored", "flags"), TOLD_TO_CALLERS, strict=True):
        yield _export(name, told)
        yield _import(Account.MALLKU, name, told, told)
    for number, (call, response) in enumerate(audit_calls(), 1):
        remote = f"$JS.API.{call}"
        kind = f" --response-type {response['response_type']}" if response else ""
        local = f"{AUDITOR_PREFIX}.{call}"
        yield f"{_export(f'audit-{number}', remote)} --service{kind}"
        yield f"{_import(Account.AUDITORS, f'audit-{number}', remote, local)} --service --share"

    yield f"{_export('server-report', SERVER_REPORT, Account.SYS)} --service"
    report = _import(Account.RECORDS, "server-report", SERVER_REPORT, SERVER_REPORT, Account.SYS)
    yield f"{report} --service"


def _mirrors() -> Iterator[str]:
    """The account of those who keep mirrors, and what these are made of."""
    yield f"nsc add account --name {Account.KEEPERS}"
    yield f"nsc edit account --name {Account.KEEPERS} --js-disk-storage -1 --js-streams -1"
    for number, (remote, local) in enumerate(mirror_calls(), 1):
        yield f"{_export(f'mirror-{number}', remote)} --service"
        yield f"{_import(Account.KEEPERS, f'mirror-{number}', remote, local)} --service --share"
    for stream in TRAIL_STREAMS:
        name, handed_over = f"mirrored-{stream}", f"{MIRRORED}.{stream}.>"
        yield _export(name, handed_over)
        yield _import(Account.KEEPERS, name, handed_over, handed_over)


def _export(name: str, subject: str, account: Account = Account.RECORDS) -> str:
    return f"nsc add export --account {account} --name {name} --subject {shlex.quote(subject)}"


def _import(
    account: Account, name: str, remote: str, local: str, source: Account = Account.RECORDS
) -> str:
    return (
        f'nsc add import --account {account} --name {name} --src-account "${source}"'
        f" --remote-subject {shlex.quote(remote)} --local-subject {shlex.quote(local)}"
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
