"""`token`: issue tokens with an issuer's key, and look into tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mallku_contracts.limits import MAX_TOKEN_LIFE_S
from mallku_deploy.examples import add_command
from mallku_deploy.house import ISSUER, House, default_house
from mallku_deploy.options import Compact, Data

app = typer.Typer(no_args_is_help=True, help="Issue and inspect tokens.")


@app.callback()
def token() -> None:
    """Issue and inspect tokens."""


def issue(
    principal: Annotated[str, typer.Argument(help="Who the token is for: its sub.")],
    *,
    public_key: Annotated[
        Path,
        typer.Option("--public-key", help="Their public key, JWK or PEM: `keys new` prints it."),
    ],
    issuer_key: Annotated[
        Path | None,
        typer.Option(
            "--issuer-key",
            help="The issuer's signing key, PEM. Default: the one in the data directory of `up`.",
            show_default=False,
        ),
    ] = None,
    data: Data = None,
    issuer: Annotated[str, typer.Option(help="The issuer's name in trust files.")] = ISSUER,
    role: Annotated[
        list[str] | None, typer.Option("--role", help="A role; may be repeated.")
    ] = None,
    life: Annotated[
        int, typer.Option(help="How long it is valid, seconds.", min=1, max=MAX_TOKEN_LIFE_S)
    ] = 3_600,
    worker: Annotated[
        bool, typer.Option("--worker", help="For a worker's replies, not for commands.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Put it there (0600), whole at once."),
    ] = None,
) -> None:
    """Issue a token: who somebody is, for how long, and which key they must sign with.

    It is worth nothing without the key named in it. What a principal may do in the end are the
    token's roles that the policy gives them too.
    """
    import time

    from mallku_broker.files import load_signing_key, write_private_text
    from mallku_contracts.tokens import COMMAND_AUDIENCE, REPLY_AUDIENCE
    from mallku_deploy.issuer import Issuer
    from mallku_deploy.reading import read_public_key
    from mallku_deploy.terminal import out

    house = House(data.absolute()) if data else default_house()
    made = Issuer(issuer, load_signing_key(issuer_key or house.issuer)).issue(
        principal,
        read_public_key(public_key),
        roles=frozenset(role or ()),
        audience=REPLY_AUDIENCE if worker else COMMAND_AUDIENCE,
        now_s=int(time.time()),
        life_s=life,
    )
    if output is None:
        out.out(made, highlight=False)
    else:
        write_private_text(output, made + "\n")


def inspect(
    file: Annotated[
        Path | None,
        typer.Argument(envvar="MALLKU_TOKEN_FILE", help="The token file.", show_default=False),
    ] = None,
    trust_file: Annotated[
        Path | None,
        typer.Option(envvar="MALLKU_TRUST_FILE", help="Judge it by this trust file."),
    ] = None,
    compact: Compact = False,
) -> None:
    """Show a token's claims, and with a trust file whether it is believed now.

    `believed` is null without a trust file. When it is false, the error names the claim and the
    exit code is 1.
    """
    import time

    from mallku_broker.files import load_token
    from mallku_contracts.errors import ConfigurationError, MallkuError
    from mallku_deploy.inspection import believe, read_claims
    from mallku_deploy.reading import read_trust
    from mallku_deploy.terminal import show_json

    if file is None:
        raise ConfigurationError("which token is not said: name a file or set MALLKU_TOKEN_FILE")
    text = load_token(file)
    now_s = time.time()
    shown = read_claims(text, now_s)
    if trust_file is None:
        show_json(shown | {"believed": None}, compact=compact)
        return
    try:
        believe(text, read_trust(trust_file), now_s)
    except MallkuError as error:
        show_json(shown | {"believed": False}, compact=compact)
        raise type(error)(f"{file}, by {trust_file}: {error.message}") from None
    show_json(shown | {"believed": True}, compact=compact)


add_command(app, "issue", issue, of="token")
add_command(app, "inspect", inspect, of="token")
