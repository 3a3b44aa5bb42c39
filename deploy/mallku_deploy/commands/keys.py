"""`keys`: make the keys that sign commands and open NATS connections, and revoke them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mallku_deploy.examples import add_command
from mallku_deploy.options import Compact, Data, EnvFile

if TYPE_CHECKING:  # imported when it is used
    from mallku_contracts.keys import PublicKey

Kind = Literal["caller", "inspector", "auditor", "administrator"]

app = typer.Typer(no_args_is_help=True, help="Make and revoke keys.")


@app.callback()
def keys() -> None:
    """Make and revoke keys."""


def new(
    file: Annotated[
        Path | None,
        typer.Argument(help="Where the secret half goes (mode 0600).", show_default=False),
    ] = None,
    *,
    nats: Annotated[
        bool, typer.Option("--nats", help="An nkey seed for a NATS connection, not a signing key.")
    ] = False,
    pem: Annotated[
        bool, typer.Option("--pem", help="The public half as PEM, for a folder of issuer keys.")
    ] = False,
    nats_context: Annotated[
        str | None,
        typer.Option(metavar="PRINCIPAL", help="A context mallku-PRINCIPAL for `nats --context`."),
    ] = None,
    kind: Annotated[
        Kind | None,
        typer.Option(help="With --nats-context: what the policy says of this principal."),
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="With --nats-context and FILE: where the broker is.")
    ] = None,
    data: Data = None,
    env_file: EnvFile = None,
    compact: Compact = False,
) -> None:
    """Make a key: the secret half into a file, the public half on standard output.

    A signing key is Ed25519 in PKCS#8 PEM, its public half a JWK for `token issue`. With
    `--nats` it is an nkey seed, its public half belongs under `nkey` in the policy.
    A file that is there is never overwritten.

    With `--nats-context` the `nats` command line gets a context to connect as that principal: with
    a new nkey in FILE, or without FILE with the one that a running `up` made for it.
    """
    from mallku_deploy.terminal import out, show_json

    if nats and pem:
        raise typer.BadParameter("an nkey has no PEM: --nats or --pem, not both")
    if nats_context is not None:
        where = (env_file, data)
        show_json(_context(nats_context, kind, file, url, where), compact=compact)
        return
    if file is None:
        raise typer.BadParameter("name the FILE that the secret half goes to")
    if nats:
        show_json(_new_nkey(file), compact=compact)
        return
    public = _new_signing_key(file)
    if pem:
        out.out(public.to_pem(), end="", highlight=False)
    else:
        show_json(public.jwk(), compact=compact)


def _context(
    principal: str,
    kind: Kind | None,
    file: Path | None,
    url: str | None,
    where: tuple[Path | None, Path | None],
) -> dict[str, str]:
    from mallku_deploy.contexts import context_of_key, find_context, write_context

    made: dict[str, str] = {}
    if file is None:
        context = find_context(principal, kind, *where)
    else:
        context = context_of_key(principal, kind or "caller", url, file)
        made = _new_nkey(file)
    return {"context": context.name, "file": str(write_context(context)), **made}


def _new_signing_key(file: Path) -> PublicKey:
    import secrets

    from mallku_broker.files import create_private_text
    from mallku_contracts.keys import SEED_BYTES, SigningKey

    key = SigningKey(secrets.token_bytes(SEED_BYTES))
    create_private_text(file, key.to_pem())
    return key.public


def _new_nkey(file: Path) -> dict[str, str]:
    from mallku_broker.files import create_private_text
    from mallku_broker.nkeys import new_nkey

    seed, public = new_nkey()
    create_private_text(file, seed + "\n")
    return {"nkey": public}


def revoke(
    names: Annotated[list[str], typer.Argument(help="Principals and key ids.", metavar="NAME…")],
    *,
    reason: Annotated[
        str | None, typer.Option(help="Why; it stands in the list and on the trail.")
    ] = None,
    restore: Annotated[
        bool, typer.Option("--restore", help="Take the names off the list again.")
    ] = False,
    data: Data = None,
    env_file: EnvFile = None,
    compact: Compact = False,
) -> None:
    """Refuse keys or principals on every worker, within a second, whatever their tokens say.

    The list of all that are revoked is signed anew, with the next version, and pushed. With
    `--data` the administrator of that running `up` signs; otherwise the environment or `--env-file`
    says who does: MALLKU_KEY_FILE names the administrator's key.
    """
    from mallku_deploy.administration import find_administrator
    from mallku_deploy.governing import revoke_names
    from mallku_deploy.outcomes import show_outcome

    if (reason is None) is not restore:
        raise typer.BadParameter("say why with --reason TEXT, or --restore the names")
    administrator = find_administrator(env_file, data)
    outcome = asyncio.run(revoke_names(names, reason, administrator))
    raise typer.Exit(show_outcome(outcome, compact=compact))


add_command(app, "new", new, of="keys")
add_command(app, "revoke", revoke, of="keys")
