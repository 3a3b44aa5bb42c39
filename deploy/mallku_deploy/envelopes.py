"""Commands sealed for somebody else to send, and how `nats req` sends them."""

from __future__ import annotations

import shlex
from pathlib import Path

from mallku_client.clock import Clock
from mallku_client.commands import pack_arguments
from mallku_client.composition import load_identity
from mallku_client.settings import ClientSettings
from mallku_client.signer import Command, SealedCommand, Signer
from mallku_contracts.subjects import CommandSubject, inbox_prefix
from mallku_deploy.asking import Asked


def seal(speaker: ClientSettings, asked: Asked, *, timeout_s: float) -> SealedCommand:
    """Sign what was asked in the speaker's name, valid for `timeout_s` seconds.

    Raises:
        ConfigurationError: naming the file that cannot be used.
        TokenExpired: naming the token file.
        InvalidArguments: a value cannot be sent; names its path.
    """
    clock = Clock()
    identity = load_identity(speaker, clock)
    signer = Signer(identity, clock)
    first = signer.new_id()
    command = Command(
        subject=asked.subject(identity.principal, speaker.database),
        body=pack_arguments(asked.arguments),
        first_id=first,
        idempotency_key=first,
        mutates=asked.operation.mutates,
    )
    return signer.seal(command, attempt=1, timeout_s=timeout_s)


def nats_request(
    speaker: ClientSettings, sealed: SealedCommand, file: Path | None, *, as_text: bool
) -> str:
    """The command line that sends an envelope from `file`, or from a file to be named."""
    principal = CommandSubject.parse(sealed.subject).principal
    words = [
        "nats",
        "req",
        f"--server={speaker.url or 'nats://127.0.0.1:4222'}",
        f"--nkey={speaker.nats_credentials or 'SEED_FILE'}",
        f"--inbox-prefix={inbox_prefix(principal)}",
        "--no-templates",  # an envelope may hold braces by chance
        "--raw",
        "--translate=mallku-gateway decode",
        sealed.subject,
    ]
    line = shlex.join(words)
    name = "ENVELOPE" if file is None else shlex.quote(str(file))
    return f"base64 -d {name} | {line}" if as_text else f"{line} < {name}"
