"""`keys`: make the keys that sign commands and open NATS connections."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mallku_contracts.errors import ConfigurationError
from mallku_deploy.examples import add_command
from mallku_deploy.options import Compact

app = typer.Typer(no_args_is_help=True, help="Make keys.")


@app.callback()
def keys() -> None:
    """Make keys."""


def new(
    file: Annotated[Path, typer.Argument(help="Where the secret half goes (mode 0600).")],
    nats: Annotated[
        bool, typer.Option("--nats", help="An nkey seed for a NATS connection, not a signing key.")
    ] = False,
    compact: Compact = False,
) -> None:
    """Make a key: the secret half into a file, the public half on standard output.

    A signing key is Ed25519 in PKCS#8 PEM, its public half a JWK for `token issue`. With
    `--nats` it is an nkey seed, its public half belongs under `nkey` in the policy.
    A file that is there is never overwritten.
    """
    from mallku_deploy.terminal import show_json

    public = _new_nkey(file) if nats else _new_signing_key(file)
    show_json(public, compact=compact)


def _new_signing_key(file: Path) -> dict[str, str]:
    import secrets

    from mallku_contracts.keys import SEED_BYTES, SigningKey

    key = SigningKey(secrets.token_bytes(SEED_BYTES))
    _write_new(file, key.to_pem())
    return key.public.jwk()


def _new_nkey(file: Path) -> dict[str, str]:
    from mallku_broker.nkeys import new_nkey

    seed, public = new_nkey()
    _write_new(file, seed + "\n")
    return {"nkey": public}


def _write_new(file: Path, text: str) -> None:
    from mallku_broker.files import write_private_text

    if file.exists():
        raise ConfigurationError(f"{file} is there already, and a key is never overwritten")
    write_private_text(file, text)


add_command(app, "new", new, of="keys")
