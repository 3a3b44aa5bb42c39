"""`call`: send one command and print its result."""

from __future__ import annotations

import asyncio
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
    compact: Compact = False,
) -> None:
    """Send one signed command, print the verified answer. JSON holds the verb's arguments.

    Who speaks comes from the environment, from `--env-file`, or from the gateway that runs
    here (`--as`). A refusal is one line with its code, and exit code 1.
    """
    from mallku_deploy.asking import read_asked
    from mallku_deploy.speaker import find_speaker
    from mallku_deploy.terminal import show_json

    asked = read_asked(operation, collection, arguments)
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


async def _send(speaker: ClientSettings, asked: Asked) -> Answer:
    from mallku_client import SecuredDatabaseInterface

    async with await SecuredDatabaseInterface.connect(settings=speaker) as db:
        return await db.command(asked.operation.name, asked.collection, asked.arguments)
