"""`doctor`: prove what nobody may do at the broker."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mallku_deploy.options import Compact, Data

if TYPE_CHECKING:  # imported when it is used
    from mallku_deploy.doctor.roles import Examined


def doctor(
    *,
    data: Data = None,
    url: Annotated[
        str | None, typer.Option(help="Another gateway, without a data directory here.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="With --url: the policy in force there, YAML.")
    ] = None,
    credentials: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE",
            help="Credentials of a principal, of worker:bus or of worker:records; repeatable.",
        ),
    ] = None,
    tls_ca: Annotated[Path | None, typer.Option(help="With --url: who is believed, PEM.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="With --url: what we show, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="With --url: the key of it.")] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show every row, and all that is wider.")
    ] = False,
    subjects: Annotated[
        bool, typer.Option("--subjects", help="The same with every subject that was tried.")
    ] = False,
    compact: Compact = False,
) -> None:
    """Connect as everybody who may, try what nobody should be able to, and show what happened.

    Commands, jobs and replies of others, the workers' queues, the JetStream API, records and
    settings, the end of a stream: the broker has to refuse each. Answers of the server that are
    asked for elsewhere must arrive nowhere. Nothing that is tried does harm where it is let
    through, and a running gateway goes on with its work. Shown are a line for each role, and
    whatever is not as it should be.

    Exit code 0: everything was proven; 1: there is a hole; 2: there is none, but something could
    not be tried, and the table says what. `wider` is let through and known: another lock holds.
    """
    from mallku_contracts.errors import MallkuError
    from mallku_deploy.doctor.report import UNTRIED, show_report
    from mallku_deploy.doctor.run import run
    from mallku_deploy.terminal import show_error

    if (url is None) is not (policy is None):
        raise typer.BadParameter("--url and --policy go together")
    if url is None and (tls_ca or tls_cert or tls_key):
        raise typer.BadParameter("--tls-ca, --tls-cert and --tls-key belong to --url")
    if url is not None and data is not None:
        raise typer.BadParameter("--data and --url both say which gateway; give one of them")
    try:
        examined = _find(data, url, policy, (tls_ca, tls_cert, tls_key), credentials or [])
        report = asyncio.run(run(examined))
    except MallkuError as error:
        show_error(error)
        raise typer.Exit(UNTRIED) from None
    show_report(report, subjects=subjects, verbose=verbose, compact=compact)
    raise typer.Exit(report.exit_code)


def _find(
    data: Path | None,
    url: str | None,
    policy: Path | None,
    tls: tuple[Path | None, Path | None, Path | None],
    credentials: list[str],
) -> Examined:
    from mallku_broker.tls import TlsFiles
    from mallku_deploy.doctor.roles import Given, examine_given, examine_house, read_given
    from mallku_deploy.house import House, default_house

    given = read_given(credentials)
    if url is not None and policy is not None:
        return examine_given(Given(url, policy, TlsFiles(*tls)), given)
    return examine_house(House(data.absolute()) if data else default_house(), given)
