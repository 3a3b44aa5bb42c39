"""`call`: send one command and print its result."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mallku_deploy.options import Arguments, As, Collection, Compact, Data, EnvFile, Operation

if TYPE_CHECKING:  # what a call needs is loaded when it is made
    from mallku_client.answers import Answer
    from mallku_client.settings import ClientSettings
    from mallku_deploy.asking import Asked


def call(
    operation: Operation,
    collection: Collection = "@",
    arguments: Arguments = None,
    *,
    env_file: EnvFile = None,
    principal: As = None,
    data: Data = None,
    receipt: Annotated[
        bool, typer.Option("--receipt", help="Show the receipt of the audit trail too.")
    ] = False,
    receipt_file: Annotated[
        Path | None,
        typer.Option(
            "--receipt-file",
            metavar="FILE",
            help="Keep the receipt in a new file, for audit prove and audit verify --receipt.",
        ),
    ] = None,
    compact: Compact = False,
) -> None:
    """Send one signed command, print the verified answer. JSON holds the verb's arguments.

    Who speaks comes from the environment, from `--env-file`, or from the gateway that runs
    here (`--as`). A refusal is one line with its code, and exit code 1.
    """
    from mallku_broker.files import write_private_text
    from mallku_deploy.asking import read_asked
    from mallku_deploy.speaker import find_speaker
    from mallku_deploy.terminal import show_json

    asked = read_asked(operation, collection, arguments)
    if receipt_file is not None:
        _check_keepable(asked, receipt_file)
    answer = asyncio.run(_send(find_speaker(env_file, principal, data), asked))
    shown: Any = answer.result
    if receipt:
        shown = {
            "result": answer.result,
            "receipt": answer.receipt,
            "replayed": answer.replayed,
            "id": answer.id,
        }
    show_json(shown, compact=compact)
    if receipt_file is not None:
        write_private_text(receipt_file, answer.receipt_bundle)


async def _send(speaker: ClientSettings, asked: Asked) -> Answer:
    from mallku_client import SecuredDatabaseInterface

    async with await SecuredDatabaseInterface.connect(settings=speaker) as db:
        return await db.command(asked.operation.name, asked.collection, asked.arguments)


def _check_keepable(asked: Asked, path: Path) -> None:
    """Refuse before anything is sent what could not be kept afterwards."""
    from mallku_contracts.errors import ConfigurationError, InvalidArguments

    if not asked.operation.may_mutate:
        raise InvalidArguments(f"{asked.operation.name} has no receipt: it changes nothing")
    if path.exists() or not path.parent.is_dir():
        raise ConfigurationError(f"{path}: there is a file already, or no such folder")
