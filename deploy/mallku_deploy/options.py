"""Options that several commands share, so that they mean the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

import typer

MAX_WORKERS: Final = 64
"""Worker processes of one gateway on one machine."""

StoreKind = Literal["embedded", "arango"]
"""The stores that workers can use."""

DurabilityKind = Literal["flush", "fsync"]
"""What acknowledged mutations can survive on one machine: a crash, or a loss of power too."""

Operation = Annotated[str, typer.Argument(help="The verb, such as insert, get, find, count.")]
Collection = Annotated[str, typer.Argument(help="The collection; @ where a verb has none.")]
Arguments = Annotated[
    str | None, typer.Argument(metavar="JSON", help="The verb's arguments; - reads them.")
]
EnvFile = Annotated[
    Path | None, typer.Option("--env-file", help="Speak with the values in this file.")
]
As = Annotated[
    str | None,
    typer.Option("--as", metavar="PRINCIPAL", help="Speak as this principal of a running `up`."),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="The data directory of `up`. Default: ~/.local/state/mallku-gateway",
        show_default=False,
    ),
]
Compact = Annotated[bool, typer.Option("--json", help="One line, for machines.")]
