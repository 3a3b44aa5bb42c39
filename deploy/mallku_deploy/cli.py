"""The command line, put together from small command modules; each says what it does and how.

Exit codes: 0 it worked, 1 it was refused or failed (with a coded error), 2 it was asked wrongly.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mallku_contracts.errors import MallkuError
from mallku_deploy.commands import (
    aql,
    audit,
    bench,
    call,
    check_history,
    contract,
    decode,
    demo,
    doctor,
    flags,
    health,
    http,
    jobs,
    keys,
    migrate,
    policy,
    ps,
    sign,
    store,
    tail,
    token,
    trace,
    up,
    worker,
)
from mallku_deploy.examples import add_command
from mallku_deploy.terminal import REFUSED, out, show_error


class CodedErrors(TyperGroup):
    """Turns every coded error into one line and exit code 1, never into a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except MallkuError as error:
            show_error(error)
            raise typer.Exit(REFUSED) from None


app = typer.Typer(
    name="mallku-gateway",
    cls=CodedErrors,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,  # a rich traceback shows local variables, keys among them
    context_settings={"help_option_names": ["-h", "--help"]},
    help="One audited door to Mallku's database: signed commands over NATS, executed by workers.",
    epilog="Start with [bold]mallku-gateway demo[/], then [bold]mallku-gateway up[/].",
)


def _show_version(*, wanted: bool) -> None:
    if wanted:
        out.print(f"mallku-gateway {version('mallku-gateway')}", highlight=False)
        raise typer.Exit


@app.callback()
def gateway(
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=lambda wanted: _show_version(wanted=wanted),
            is_eager=True,
            help="Show the version and stop.",
        ),
    ] = False,
) -> None:
    """One audited door to Mallku's database: signed commands over NATS, executed by workers."""


_GATEWAY, _CALLER, _ADMIN = "Run a gateway", "Speak to a gateway", "Keys, tokens, policy"
_STORES = "Stores, offline"
_MOVING = "Moving in"
_TRAIL = "The trail"
add_command(app, "up", up.up, panel=_GATEWAY)
add_command(app, "demo", demo.demo, panel=_GATEWAY)
add_command(app, "worker", worker.worker, panel=_GATEWAY)
add_command(app, "ps", ps.ps, panel=_GATEWAY)
add_command(app, "health", health.health, panel=_GATEWAY)
add_command(app, "doctor", doctor.doctor, panel=_GATEWAY)
add_command(app, "http", http.http, panel=_GATEWAY)
add_command(app, "bench", bench.bench, panel=_CALLER)
add_command(app, "call", call.call, panel=_CALLER)
add_command(app, "aql", aql.aql, panel=_CALLER)
add_command(app, "sign", sign.sign, panel=_CALLER)
add_command(app, "decode", decode.decode, panel=_CALLER)
add_command(app, "contract", contract.contract, panel=_CALLER)
app.add_typer(keys.app, name="keys", rich_help_panel=_ADMIN)
app.add_typer(token.app, name="token", rich_help_panel=_ADMIN)
app.add_typer(policy.app, name="policy", rich_help_panel=_ADMIN)
app.add_typer(flags.app, name="flags", rich_help_panel=_ADMIN)
app.add_typer(jobs.app, name="jobs", rich_help_panel=_ADMIN)
app.add_typer(store.app, name="store", rich_help_panel=_STORES)
add_command(app, "tail", tail.tail, panel=_TRAIL)
add_command(app, "trace", trace.trace, panel=_TRAIL)
app.add_typer(audit.app, name="audit", rich_help_panel=_TRAIL)
add_command(app, "check-history", check_history.check_history, panel=_TRAIL)
app.add_typer(migrate.app, name="migrate", rich_help_panel=_MOVING)


def main() -> int:
    """Run the command line with the process's arguments; the result is the exit code."""
    try:
        app()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0
