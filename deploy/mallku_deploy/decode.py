"""`mallku-gateway decode`: signed msgpack on standard input, readable JSON on standard output.

The exit code is 0 whatever the message is, or `nats --translate` would hide what was seen.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from mallku_contracts.errors import MallkuError
from mallku_contracts.limits import KIB, MAX_PAYLOAD_BYTES
from mallku_deploy.decoding.readable import Readable, read_message
from mallku_deploy.decoding.redact import redact

CHUNK_BYTES: Final = 64 * KIB
"""What is read at once of a stream of messages, bytes."""

Show = Callable[[dict[str, Any]], dict[str, Any]]
"""Leaves out of a description what is not to be shown."""

Prove = Callable[[Readable], dict[str, Any]]
"""Says whether a message proves itself."""


def main(arguments: list[str]) -> int:
    """Read messages, print what they say; 1 only when a file that was named is of no use."""
    options = parser().parse_args(arguments)
    try:
        show, prove = _shower(options), _prover(options)
    except MallkuError as error:
        print(f"{error.code} {error.number}  {error.message}", file=sys.stderr)  # noqa: T201 - the quick path draws nothing
        return 1
    indent = None if options.json else 2
    try:
        for data in _messages(stream=options.stream):
            description = describe(data, show, prove)
            if not _print(json.dumps(description, ensure_ascii=False, indent=indent)):
                break
    except KeyboardInterrupt:
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    """The options of `decode`, the same ones that its help explains."""
    made = argparse.ArgumentParser("mallku-gateway decode", add_help=False)
    made.add_argument("--verify", action="store_true")
    made.add_argument("--redact", action="store_true")
    made.add_argument("--policy", type=Path)
    made.add_argument("--stream", action="store_true")
    made.add_argument("--json", action="store_true")
    made.add_argument("--subject")
    made.add_argument("--trust-file", default=os.environ.get("MALLKU_TRUST_FILE"))
    return made


def describe(data: bytes, show: Show, prove: Prove) -> dict[str, Any]:
    """What the message says, as far as it is shown, and whether it proves itself."""
    if len(data) > MAX_PAYLOAD_BYTES:
        return {"kind": "too large", "problem": f"more than {MAX_PAYLOAD_BYTES} bytes"}
    message = read_message(data)
    return {**show(message.content), **prove(message)}


def _messages(*, stream: bool) -> Iterator[bytes]:
    if not stream:
        yield sys.stdin.buffer.read(MAX_PAYLOAD_BYTES + 1)
        return
    from mallku_deploy.decoding.splitting import split_messages

    descriptor = sys.stdin.fileno()
    yield from split_messages(iter(lambda: os.read(descriptor, CHUNK_BYTES), b""))


def _shower(options: argparse.Namespace) -> Show:
    if options.redact:
        return redact
    if options.policy is None:
        return lambda description: description
    from mallku_deploy.decoding.hidden import read_hidden, veil

    paths = read_hidden(options.policy)
    return lambda description: veil(description, paths)


def _prover(options: argparse.Namespace) -> Prove:
    if not options.verify:
        return lambda _message: {}
    from mallku_broker.administrators import load_administrators
    from mallku_deploy.decoding.proof import prove
    from mallku_deploy.reading import read_trust

    trust = read_trust(options.trust_file)
    administrators = load_administrators(Path(options.trust_file))
    return lambda message: prove(message, trust, options.subject, administrators)


def _print(text: str) -> bool:
    """Write, and say whether the reader is still there."""
    try:
        # A lone surrogate out of a foreign JSON text must not end the program.
        sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace") + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True
