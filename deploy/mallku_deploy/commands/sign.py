"""`sign`: the bytes of a signed command, for tools that speak NATS but not our wire."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from mallku_contracts.limits import MAX_COMMAND_LIFE_MS
from mallku_deploy.options import Arguments, As, Collection, Data, EnvFile, Operation

_MAX_LIFE_S: Final = MAX_COMMAND_LIFE_MS // 1_000


def sign(
    operation: Operation,
    collection: Collection = "@",
    arguments: Arguments = None,
    *,
    env_file: EnvFile = None,
    principal: As = None,
    data: Data = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the envelope there (0600).")
    ] = None,
    base64: Annotated[bool, typer.Option("--base64", help="As text instead of bytes.")] = False,
    life: Annotated[
        int, typer.Option(help="How long the command is valid, seconds.", min=1, max=_MAX_LIFE_S)
    ] = _MAX_LIFE_S,
) -> None:
    """Sign a command without sending it, and say how `nats req` sends it.

    The envelope goes to standard output (or `--out`), the ready command line to standard
    error. Each envelope works once and for a minute at most.
    """
    from mallku_deploy.asking import read_asked
    from mallku_deploy.envelopes import nats_request, seal
    from mallku_deploy.speaker import find_speaker
    from mallku_deploy.terminal import err

    speaker = find_speaker(env_file, principal, data)
    sealed = seal(speaker, read_asked(operation, collection, arguments), timeout_s=life)
    _write(sealed.payload, out, as_text=base64)
    err.out(nats_request(speaker, sealed, out, as_text=base64), highlight=False)


def _write(payload: bytes, out: Path | None, *, as_text: bool) -> None:
    import base64

    data = base64.b64encode(payload) + b"\n" if as_text else payload
    if out is None:
        if not as_text and sys.stdout.isatty():
            raise typer.BadParameter("bytes would garble the terminal: use --out or --base64")
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    from mallku_contracts.errors import ConfigurationError

    try:
        out.touch(mode=0o600)
        out.write_bytes(data)
    except OSError as error:
        raise ConfigurationError(f"cannot write {out}: {error.strerror}") from None
