"""`audit verify` and `audit prove`: whether the trail, or one receipt, proves itself."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mallku_contracts.errors import MallkuError
from mallku_deploy.options import Compact, Data, EnvFile

if TYPE_CHECKING:  # what a verification needs is loaded when there is one
    from mallku_client.settings import ClientSettings
    from mallku_contracts.trail.proof import ReceiptBundle
    from mallku_contracts.trail.verification import Report
    from mallku_contracts.trust import Keys, Trust
    from mallku_deploy.auditing.verify import Order

ACCUSED: Final = 1
"""Exit code when something is not as it has to be."""

UNREADABLE: Final = 2
"""Exit code when nothing could be judged."""

WAIT_S: Final = 10.0
"""How long `audit prove` waits for a checkpoint by default, seconds."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which receipt is to be proven, where the proof goes, and how."""

    path: Path
    target: Path
    with_record: bool
    wait_s: float


TrustFile = Annotated[
    Path | None,
    typer.Option(
        "--trust-file",
        metavar="FILE",
        help="Whose workers are believed. Default: MALLKU_TRUST_FILE, or that of `up`.",
        show_default=False,
    ),
]


def verify(
    *,
    receipt: Annotated[
        Path | None,
        typer.Option("--receipt", metavar="FILE", help="Check this receipt alone, offline."),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option("--export", metavar="DIR", help="Verify an export, offline."),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state",
            metavar="FILE",
            help="Remember what was seen, and go on from there: nothing can be cut off since.",
        ),
    ] = None,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Read everything again in spite of --state.")
    ] = False,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            "--against", metavar="RECEIPT", help="Hold the trail against this receipt; repeatable."
        ),
    ] = None,
    witness: Annotated[
        list[Path] | None,
        typer.Option(
            "--witness", metavar="FILE", help="Hold it against a witness's file; repeatable."
        ),
    ] = None,
    signatures: Annotated[
        bool, typer.Option("--signatures/--no-signatures", help="Check callers' signatures.")
    ] = True,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=256,
            help="Processes that read records. Default: as it pays.",
            show_default=False,
        ),
    ] = None,
    trust_file: TrustFile = None,
    env_file: EnvFile = None,
    data: Data = None,
    compact: Compact = False,
) -> None:
    """Read the whole trail, or an export of it, and report what is not as it has to be.

    With `--receipt` one receipt is checked alone, offline.

    Found are edits, gaps, reorderings, truncation, recreation, unknown keys, checkpoints that do
    not hold, intents without outcome, outcomes without intent, and signatures that do not hold;
    docs/audit.md explains each.

    Exit code 0: the trail verifies; 1: it does not; 2: it could not be read.
    """
    from mallku_deploy.auditing.verify import Order

    with _unreadable():
        if receipt is not None:
            raise typer.Exit(_check_receipt(receipt, _trust(trust_file, env_file, data), compact))
        source = export or _auditor(env_file, data)
        named = None if isinstance(source, Path) else source.trust_file
        order = Order(
            trust=_trust(trust_file or named, env_file, data),
            signatures=signatures,
            jobs=jobs,
            state=state,
            from_start=from_start,
            receipts=tuple(against or ()),
            witnesses=tuple(witness or ()),
            administrators=_administrators(trust_file or named, env_file, data),
            quiet=compact,
        )
        raise typer.Exit(_verify(source, order, compact))


def prove(
    receipt: Annotated[
        Path, typer.Argument(help="A receipt, as `call --receipt-file` or a client keeps it.")
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Default: into RECEIPT itself."),
    ] = None,
    with_record: Annotated[
        bool, typer.Option("--with-record", help="Put the record in: who asked for what.")
    ] = False,
    wait: Annotated[
        float, typer.Option(min=0, max=3_600, help="Wait so long for its checkpoint, seconds.")
    ] = WAIT_S,
    trust_file: TrustFile = None,
    env_file: EnvFile = None,
    data: Data = None,
    compact: Compact = False,
) -> None:
    """Fetch the proof that the record of a receipt stands in the trail.

    With it, the receipt can be checked by anybody who has a trust file, without any gateway:
    `audit verify --receipt`.

    Exit code 0: proven; 1: the trail does not hold what the receipt says; 2: it cannot be read.
    """
    with _unreadable():
        settings = _auditor(env_file, data)
        trust = _trust(trust_file or settings.trust_file, env_file, data)
        asked = _Asked(receipt, out or receipt, with_record, wait)
        raise typer.Exit(_prove(settings, trust, asked, compact))


@contextmanager
def _unreadable() -> Generator[None]:
    from mallku_deploy.terminal import show_error

    try:
        yield
    except MallkuError as error:
        show_error(error)
        raise typer.Exit(UNREADABLE) from None


def _auditor(env_file: Path | None, data: Path | None) -> ClientSettings:
    from mallku_deploy.auditing.auditor import find_auditor

    return find_auditor(env_file, data)


def _trust(path: Path | None, env_file: Path | None, data: Path | None) -> Trust:
    """The issuers to believe: the named file's, an environment's, or those of a house."""
    from mallku_deploy.reading import read_trust

    return read_trust(_trust_file(path, env_file, data))


def _administrators(path: Path | None, env_file: Path | None, data: Path | None) -> Keys | None:
    """Whose documents may govern, by the same file; None where it names nobody."""
    from mallku_broker.administrators import load_administrators

    file = _trust_file(path, env_file, data)
    return (load_administrators(file) or None) if file is not None else None


def _trust_file(path: Path | None, env_file: Path | None, data: Path | None) -> Path | None:
    from mallku_deploy.environment import read_env_file
    from mallku_deploy.house import House, default_house

    if path is not None:
        return path
    if data is not None:
        return House(data.absolute()).trust
    environment = os.environ if env_file is None else read_env_file(env_file)
    named = environment.get("MALLKU_TRUST_FILE")
    house = default_house().trust
    return Path(named) if named else (house if house.exists() else None)


def _verify(source: ClientSettings | Path, order: Order, compact: bool) -> int:
    from mallku_deploy.auditing.showing import show_report

    begun = time.monotonic()
    report = asyncio.run(_verify_with(source, order))
    show_report(report, seconds=time.monotonic() - begun, compact=compact)
    return 0 if report.clean else ACCUSED


async def _verify_with(source: ClientSettings | Path, order: Order) -> Report:
    from mallku_deploy.auditing.auditor import open_trail
    from mallku_deploy.auditing.exported import ExportedTrail
    from mallku_deploy.auditing.verify import verify_trail

    if isinstance(source, Path):
        return await verify_trail(ExportedTrail(source), order)
    async with await open_trail(source) as trail:
        return await verify_trail(trail, order)


def _check_receipt(path: Path, trust: Trust, compact: bool) -> int:
    from mallku_contracts.trail.proof import ProofError, check_bundle
    from mallku_deploy.auditing.known import read_bundle
    from mallku_deploy.auditing.showing import show_proven

    try:
        proven = check_bundle(read_bundle(path), trust)
    except ProofError as error:
        return _refute(path, error, compact)
    show_proven(proven, compact=compact)
    return 0


def _prove(settings: ClientSettings, trust: Trust, asked: _Asked, compact: bool) -> int:
    from mallku_broker.files import write_private_text
    from mallku_contracts.trail.proof import ProofError, check_bundle
    from mallku_deploy.auditing.known import read_bundle
    from mallku_deploy.auditing.showing import show_proven

    bundle = read_bundle(asked.path)
    try:
        proven = asyncio.run(_prove_with(settings, trust, bundle, asked))
    except ProofError as error:
        return _refute(asked.path, error, compact)
    write_private_text(asked.target, proven.to_json())
    show_proven(check_bundle(proven, trust), compact=compact)
    return 0


async def _prove_with(
    settings: ClientSettings, trust: Trust, bundle: ReceiptBundle, asked: _Asked
) -> ReceiptBundle:
    from mallku_deploy.auditing.auditor import open_trail
    from mallku_deploy.auditing.prove import prove as fetch_proof

    async with await open_trail(settings) as trail:
        return await fetch_proof(
            trail, bundle, trust, wait_s=asked.wait_s, with_record=asked.with_record
        )


def _refute(path: Path, error: ValueError, compact: bool) -> int:
    from rich.markup import escape

    from mallku_deploy.terminal import err, show_json

    if compact:
        show_json({"verified": False, "reason": str(error)}, compact=True)
    else:
        err.print(f"[bold red]✗[/] {escape(f'{path}: {error}')}", soft_wrap=True)
    return ACCUSED
