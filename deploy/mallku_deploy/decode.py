"""`mallku-gateway decode`: signed msgpack on standard input, readable JSON on standard output.

The exit code is 0 whatever the message is, or `nats --translate` would hide what was seen.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from mallku_contracts.errors import MallkuError
from mallku_contracts.limits import MAX_PAYLOAD_BYTES
from mallku_deploy.decoding.readable import Readable, read_message
from mallku_deploy.decoding.redact import redact


def main(arguments: list[str]) -> int:
    """Read one message, print what it says; 1 only when `--verify` has no usable trust file."""
    options = parser().parse_args(arguments)
    data = sys.stdin.buffer.read(MAX_PAYLOAD_BYTES + 1)
    try:
        description = describe(data, options)
    except MallkuError as error:
        print(f"{error.code} {error.number}  {error.message}", file=sys.stderr)  # noqa: T201 - the quick path draws nothing
        return 1
    _print(json.dumps(description, ensure_ascii=False, indent=None if options.json else 2))
    return 0


def parser() -> argparse.ArgumentParser:
    """The options of `decode`, the same ones that its help explains."""
    made = argparse.ArgumentParser("mallku-gateway decode", add_help=False)
    made.add_argument("--verify", action="store_true")
    made.add_argument("--redact", action="store_true")
    made.add_argument("--json", action="store_true")
    made.add_argument("--subject")
    made.add_argument("--trust-file", default=os.environ.get("MALLKU_TRUST_FILE"))
    return made


def describe(data: bytes, options: argparse.Namespace) -> dict[str, Any]:
    """What the message says, and with `--verify` whether it proves itself."""
    if len(data) > MAX_PAYLOAD_BYTES:
        return {"kind": "too large", "problem": f"more than {MAX_PAYLOAD_BYTES} bytes"}
    message = read_message(data)
    content = redact(message.content) if options.redact else message.content
    return {**content, **_proof(message, options)}


def _proof(message: Readable, options: argparse.Namespace) -> dict[str, Any]:
    if not options.verify:
        return {}
    from mallku_deploy.decoding.proof import prove
    from mallku_deploy.reading import read_trust

    return prove(message, read_trust(options.trust_file), options.subject)


def _print(text: str) -> None:
    """Write, and leave quietly when the reader has left."""
    try:
        # A lone surrogate out of a foreign JSON text must not end the program.
        sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace") + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
