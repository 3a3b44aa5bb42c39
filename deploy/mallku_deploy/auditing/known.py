"""What an auditor holds outside the streams, for the trail to be held against it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from mallku_broker.files import read_text
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.limits import KIB, MAX_CHECKPOINT_BYTES
from mallku_contracts.trail.checkpoint import Checkpoint, CheckpointOpener
from mallku_contracts.trail.findings import Kind
from mallku_contracts.trail.proof import (
    MAX_BUNDLE_CHARS,
    ProofError,
    Proven,
    ReceiptBundle,
    check_bundle,
)
from mallku_contracts.trail.statement import CheckpointError
from mallku_contracts.trail.verification import Verifier
from mallku_contracts.trust import Trust
from mallku_deploy.auditing.state import State

MAX_LINE_BYTES: Final = 2 * MAX_CHECKPOINT_BYTES + KIB
"""One line of a witness's file, bytes."""


def read_bundle(path: Path) -> ReceiptBundle:
    """The receipt in a file; `ConfigurationError` says what it is not."""
    try:
        return ReceiptBundle.from_json(read_text(path, "receipt", most=MAX_BUNDLE_CHARS))
    except ProofError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def expect_state(verifier: Verifier, state: State, path: Path) -> None:
    """The trail has to be the one that was seen before, and no shorter."""
    origin = f"state file {path}"
    verifier.expect_created(state.created, origin)
    verifier.expect_sequence(state.sequence, origin)
    for worker, head in state.heads.items():
        verifier.expect_checkpoint(worker, head.number, head.hash, origin)


def expect_receipts(verifier: Verifier, paths: Iterable[Path], trust: Trust, stream: str) -> None:
    """Each record that a receipt names has to stand where it says.

    Raises:
        ConfigurationError: a file is no receipt, or not one of a trusted worker.
    """
    for path in paths:
        try:
            proven = check_bundle(read_bundle(path), trust)
        except ProofError as error:
            raise ConfigurationError(f"{path}: {error}") from None
        receipt, origin = proven.receipt, f"receipt {path}"
        if receipt.stream == stream:
            verifier.expect_record(receipt.sequence, receipt.hash, origin)
            _expect_checkpoint_of(verifier, proven, origin)


def _expect_checkpoint_of(verifier: Verifier, proven: Proven, origin: str) -> None:
    if proven.checkpoint is not None:
        header = proven.checkpoint.header
        verifier.expect_checkpoint(header.worker, header.number, proven.checkpoint.hash, origin)


def expect_witness(verifier: Verifier, path: Path, trust: Trust, stream: str) -> None:
    """Each worker's newest checkpoint that a witness kept has to be in the stream.

    Those before it follow: every checkpoint holds the hash of its former one.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    origin = f"witness {path}"
    newest, unreadable = _read_witness(path)
    opener = CheckpointOpener(trust)
    for data in newest.values():
        try:
            checkpoint = opener.believe(data)
        except CheckpointError as error:
            verifier.findings.note(Kind.UNCHECKED, f"{origin}: {error}")
            continue
        if checkpoint.statement.stream == stream:
            _expect(verifier, checkpoint, origin)
    if unreadable:
        text = f"{origin}: {unreadable} lines are not readable: a line may be cut off"
        verifier.findings.note(Kind.UNCHECKED, text)


def _expect(verifier: Verifier, checkpoint: Checkpoint, origin: str) -> None:
    header = checkpoint.header
    verifier.expect_checkpoint(header.worker, header.number, checkpoint.hash, origin)
    verifier.expect_sequence(checkpoint.statement.sequence, origin)


def _read_witness(path: Path) -> tuple[dict[str, bytes], int]:
    """Each worker's newest checkpoint, and how many lines say nothing."""
    newest: dict[str, tuple[int, bytes]] = {}
    unreadable = 0
    for line in _lines(path):
        read = _read_line(line)
        if read is None:
            unreadable += 1
            continue
        worker, number, data = read
        if worker not in newest or number > newest[worker][0]:
            newest[worker] = (number, data)
    return {worker: data for worker, (_, data) in newest.items()}, unreadable


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while line := file.readline(MAX_LINE_BYTES):
                if line.strip():
                    yield line
    except OSError as error:
        raise ConfigurationError(f"witness {path}: {error.strerror}") from error


def _read_line(line: bytes) -> tuple[str, int, bytes] | None:
    try:
        said: Any = json.loads(line)
        worker, number = said["worker"], said["number"]
        data = base64.b64decode(said["checkpoint"], validate=True)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return (worker, number, data) if isinstance(worker, str) and type(number) is int else None
