"""The examples under each command's help: lines that work as they stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rich.markup import escape

EXAMPLES: Final[Mapping[str, tuple[str, ...]]] = {
    "up": (
        "mallku-gateway up",
        "mallku-gateway up --workers 4 --data ./gateway --port 0 --env-file gateway.env",
        "set -a; . ./gateway.env; set +a; python my_service.py",
    ),
    "demo": ("mallku-gateway demo",),
    "worker": ("set -a; . ./worker.env; set +a; mallku-gateway worker",),
    "call": (
        "mallku-gateway call create-collection memory_anchors --as mallku",
        """mallku-gateway call insert memory_anchors '{"document": {"kind": "khipu"}}'""",
        """mallku-gateway call find memory_anchors '{"filters": {"kind": "khipu"}}' --json""",
        "mallku-gateway call truncate memory_anchors --as operator",
    ),
    "sign": (
        """mallku-gateway sign get memory_anchors '{"document": "k1"}' -o get.bin --as mallku""",
        "mallku-gateway sign count memory_anchors | mallku-gateway decode --verify",
    ),
    "decode": (
        """nats sub 'mallku.v1.cmd.>' --translate "mallku-gateway decode --redact" """,
        "mallku-gateway decode --verify --trust-file trust.json < envelope.bin",
    ),
    "keys new": (
        "mallku-gateway keys new alice.pem > alice.jwk",
        "mallku-gateway keys new --nats alice.nk",
    ),
    "token issue": (
        "mallku-gateway token issue alice --role service --public-key alice.jwk --issuer-key i.pem",
    ),
    "token inspect": ("mallku-gateway token inspect alice.jwt --trust-file trust.json",),
    "policy check": ("mallku-gateway policy check policy.yaml",),
}


def epilog(command: str) -> str:
    """What stands below the help of `command`."""
    lines = (f"[cyan]{escape(line.strip())}[/]" for line in EXAMPLES[command])
    return "\n\n".join(("[bold]Examples[/]", *lines))
