"""How each command's help is put together: its docstring as prose, then lines that work."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Final

import typer
from rich.markup import escape

from mallku_contracts.operations import OPERATIONS

EXAMPLES: Final[Mapping[str, tuple[str, ...]]] = {
    "up": (
        "mallku-gateway up",
        "mallku-gateway up --tls --encrypt-store --env-file gateway.env",
        "mallku-gateway up --workers 4 --data ./gateway --port 0 --env-file gateway.env",
        "set -a; . ./gateway.env; set +a; python my_service.py",
    ),
    "demo": ("mallku-gateway demo",),
    "worker": ("set -a; . ./worker.env; set +a; mallku-gateway worker",),
    "doctor": (
        "mallku-gateway doctor",
        "mallku-gateway doctor --data ./gateway --subjects",
        "mallku-gateway doctor --url nats://localhost --policy p.yaml --credentials alice=a.nk",
    ),
    "ps": (
        "mallku-gateway ps",
        "mallku-gateway ps --once --data ./gateway",
        "mallku-gateway ps --json --every 5",
    ),
    "health": (
        "mallku-gateway health",
        "mallku-gateway health --workers 4 --json --data ./gateway",
        "mallku-gateway health --http 127.0.0.1:9464",
    ),
    "http": (
        "mallku-gateway http --env-file door.env",
        "mallku-gateway http --host 0.0.0.0 --origin https://data.example --services services.json",
    ),
    "bench": (
        "mallku-gateway bench",
        "mallku-gateway bench insert --in-flight 256 --workers 2 --json",
        "mallku-gateway bench mixed --as mallku",
    ),
    "check-history": (
        "MALLKU_HISTORY_FILE=calls.jsonl python my_service.py",
        "mallku-gateway check-history calls.jsonl",
        "mallku-gateway check-history histories/ --skew 0.5 --settle 60 --json",
        "mallku-gateway check-history calls.jsonl --store arango:http://localhost:8529#mallku",
    ),
    "call": (
        "mallku-gateway call create-collection memory_anchors --as mallku",
        """mallku-gateway call insert memory_anchors '{"document": {"kind": "khipu"}}'""",
        """mallku-gateway call get memory_anchors '{"document": "k1"}'""",
        """mallku-gateway call find memory_anchors '{"filters": {"kind": "khipu"}}' --json""",
        "mallku-gateway call truncate memory_anchors --as operator",
        """mallku-gateway call insert khipu '{"document": {}}' --receipt-file receipt.json""",
    ),
    "aql": (
        """mallku-gateway aql 'FOR a IN memory_anchors LIMIT 5 RETURN a'""",
        """mallku-gateway aql 'FOR a IN @@c RETURN a.kind' --bind '{"@c": "khipu"}'""",
        "mallku-gateway aql --explain - < query.aql",
    ),
    "sign": (
        """mallku-gateway sign get memory_anchors '{"document": "k1"}' -o get.bin --as mallku""",
        "mallku-gateway sign count memory_anchors | mallku-gateway decode --verify",
    ),
    "decode": (
        """nats sub 'mallku.v1.cmd.>' --translate "mallku-gateway decode --redact" """,
        "mallku-gateway decode --verify --trust-file trust.json < envelope.bin",
        "nats sub 'mallku.v1.cmd.>' --raw | mallku-gateway decode --stream --policy policy.yaml",
    ),
    "contract": (
        "mallku-gateway contract > asyncapi.json",
        "mallku-gateway contract --format schemas -o schemas.json",
        "mallku-gateway contract --format html -o contract.html",
    ),
    "keys new": (
        "mallku-gateway keys new alice.pem > alice.jwk",
        "mallku-gateway keys new issuer-2.pem --pem > keys.d/issuer-2.pem",
        "mallku-gateway keys new --nats alice.nk",
        "mallku-gateway keys new --nats-context inspector --data ./gateway",
        "mallku-gateway keys new bob.nk --nats-context bob --kind auditor --url nats://broker:4222",
    ),
    "token issue": (
        "mallku-gateway token issue alice --role service --public-key alice.jwk -o alice.jwt",
        "mallku-gateway token issue alice --role service --public-key alice.jwk --issuer-key i.pem",
    ),
    "token inspect": ("mallku-gateway token inspect alice.jwt --trust-file trust.json",),
    "keys revoke": (
        """mallku-gateway keys revoke mallory --reason "left on Friday" --data ./gateway""",
        "mallku-gateway keys revoke mallory --restore --data ./gateway",
    ),
    "policy check": ("mallku-gateway policy check policy.yaml",),
    "policy push": ("mallku-gateway policy push policy.yaml --data ./gateway",),
    "policy diff": (
        "mallku-gateway policy diff candidate.yaml --since 7d --data ./gateway",
        "mallku-gateway policy diff candidate.yaml --last 100000 --json",
    ),
    "flags check": ("mallku-gateway flags check flags.yaml",),
    "flags push": ("mallku-gateway flags push flags.yaml --data ./gateway",),
    "flags show": (
        "mallku-gateway flags show --data ./gateway",
        "mallku-gateway flags show --json",
    ),
    "migrate check": (
        "mallku-gateway migrate check src",
        "mallku-gateway migrate check --exclude 'src/legacy/*' --strict",
        "mallku-gateway migrate check --format github src",
    ),
    "policy permissions": (
        "mallku-gateway policy permissions --data ./gateway",
        "mallku-gateway policy permissions policy.yaml --format nsc > accounts.sh",
    ),
    "tail": (
        "mallku-gateway tail",
        "mallku-gateway tail --outcome denied --outcome failed --since 1h",
        "mallku-gateway tail --principal mallku --collection memory_anchors --all",
    ),
    "trace": (
        "mallku-gateway trace 01a20b97-3108-77b7-b25a-0b54f041c875",
        "mallku-gateway trace 01a20b97-3108-77b7-b25a-0b54f041c875 --json --data ./gateway",
    ),
    "audit replay": (
        "mallku-gateway audit replay --since 10m",
        "mallku-gateway audit replay --outcome denied --principal mallory --follow",
        "mallku-gateway audit replay --since 2026-01-31T12:00:00Z --speed 10 --table",
        "mallku-gateway audit replay --from 1000 --to 2000 --json",
    ),
    "audit history": (
        "mallku-gateway audit history memory_anchors/k1",
        "mallku-gateway audit history memory_anchors/k1 --at 2h",
    ),
    "audit export": (
        "mallku-gateway audit export --to ./trail",
        "mallku-gateway audit export --to ./trail-parquet --format parquet",
    ),
    "audit verify": (
        "mallku-gateway audit verify --data ./gateway",
        "mallku-gateway audit verify --state trail.state --witness checkpoints.jsonl --json",
        "mallku-gateway audit verify --receipt receipt.json --trust-file trust.json",
    ),
    "audit reconcile": (
        "mallku-gateway audit reconcile",
        "mallku-gateway audit reconcile --data ./gateway --json",
    ),
    "audit custody": (
        "mallku-gateway audit custody",
        "mallku-gateway audit custody --data ./gateway --json",
    ),
    "audit rotate": ("mallku-gateway audit rotate --data ./gateway",),
    "audit rebuild": (
        "mallku-gateway audit rebuild --into embedded:./again",
        "mallku-gateway audit rebuild --into embedded:./again --compare-with embedded:./data/store",
        "mallku-gateway audit rebuild --into arango:http://localhost:8529#again --until 2h",
        "mallku-gateway audit rebuild --into embedded:./again --export ./trail --resume",
    ),
    "jobs list": ("mallku-gateway jobs list", "mallku-gateway jobs list --limit 500 --json"),
    "jobs show": ("mallku-gateway jobs show 17", "mallku-gateway jobs show 3 --dead --json"),
    "jobs dead": ("mallku-gateway jobs dead", "mallku-gateway jobs dead --from 100 --json"),
    "jobs redrive": ("mallku-gateway jobs redrive 3 --as operator",),
    "audit hash": (
        "mallku-gateway audit hash alice@example.org",
        "mallku-gateway audit hash 42 --key-file digest.key",
    ),
    "audit prove": (
        "mallku-gateway audit prove receipt.json --data ./gateway",
        "mallku-gateway audit prove receipt.json --with-record -o proof.json",
    ),
    "store plan": (
        "mallku-gateway store plan mallku.yaml --directory ./gateway/store",
        "mallku-gateway store plan mallku.yaml --store arango --json",
    ),
    "store apply": (
        "mallku-gateway store apply mallku.yaml --store arango",
        "mallku-gateway store apply mallku.yaml --yes --drop index:mallku/people/by_age",
    ),
    "store copy": (
        "mallku-gateway store copy --from embedded:./gateway/store --to arango:http://db:8529",
        "mallku-gateway store copy --from arango:http://db:8529#mallku --to embedded:./copy",
    ),
}

NOTES: Final[Mapping[str, tuple[str, ...]]] = {
    "call": (
        f"[bold]Verbs[/] {', '.join(OPERATIONS)}",
        "Each verb's arguments are in docs/wire.md; a wrong one is named before anything is sent.",
    ),
}


def add_command(
    app: typer.Typer, name: str, function: Callable[..., None], *, of: str = "", panel: str = ""
) -> None:
    """Add a command with its help; `of` is the group that it belongs to, `panel` its heading."""
    app.command(
        name,
        help=prose(function),
        epilog=epilog(f"{of} {name}".strip()),
        rich_help_panel=panel or None,
    )(function)


def prose(function: Callable[..., None]) -> str:
    """The docstring with its paragraphs as one line each: the terminal breaks lines itself."""
    paragraphs = (inspect.getdoc(function) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def epilog(command: str) -> str:
    """What stands below the help of `command`."""
    lines = (f"[cyan]{escape(line.strip())}[/]" for line in EXAMPLES[command])
    return "\n\n".join(("[bold]Examples[/]", *lines, *NOTES.get(command, ())))
