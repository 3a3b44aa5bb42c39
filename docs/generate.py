"""Rewrites the generated parts of the documentation; `--check` only says whether they are current.

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`; a file of the
examples between `<!-- quote: PATH -->` and `<!-- end -->`.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from mallku_contracts.operations import OPERATIONS
from mallku_deploy.contract import FILES
from mallku_deploy.contract import render as render_contract
from mallku_deploy.migrating.rules import RULES
from mallku_workers.observing.definitions import METRICS
from mallku_workers.stores.arango import store as arango
from mallku_workers.stores.embedded import store as embedded
from mallku_workers.stores.embedded.aql.functions.listing import list_functions

BY_THE_WORKER: Final = frozenset(
    {"next", "outcome", "redrive", "describe-flags", "report-violation"}
)
"""Operations that the worker answers from cursors, ledger and flags, over either store."""

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGES: Final = (
    "contracts/mallku_contracts",
    "broker/mallku_broker",
    "client/mallku_client",
    "workers/mallku_workers",
    "deploy/mallku_deploy",
)
_QUOTE = re.compile(r"(<!-- quote: (?P<path>[\w./]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_PART = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def settings_table() -> str:
    """What can be set: every field of every settings class, with its default and what it means."""
    rows = []
    for name, kind in _settings_classes():
        rows += [_row(name, *field) for field in _fields(kind)]
    return _table(("setting", "default", "what it is"), rows)


def limits_table() -> str:
    """What is fixed: every bound that has a name in the code."""
    rows = []
    for path in _modules():
        for name, value, text in _constants(path):
            module = path.stem if path.stem != "__init__" else path.parent.name
            rows.append((f"`{module}.{name}`", _shown(value), text))
    return _table(("limit", "value", "what it bounds"), rows)


def functions_table() -> str:
    """AQL's functions on the embedded store, and those that are missing."""
    return list_functions()


def contract_table() -> str:
    """Which store carries out which operation, and where ArangoDB's part was seen."""
    exchanges = _exchanges()
    rows = [
        (
            f"`{name}`",
            _mark(name in embedded.WRITE_OPERATIONS | embedded.READ_OPERATIONS | {"aql"}),
            _mark(name in arango.WRITE_OPERATIONS | arango.READ_OPERATIONS | {"aql"}),
            ", ".join(f"{count} {source}" for source, count in sorted(exchanges[name].items())),
        )
        for name, operation in OPERATIONS.items()
        if name not in BY_THE_WORKER
    ]
    return _table(
        ("operation", "embedded", "ArangoDB, simulated server", "exchanges replayed"), rows
    )


def metrics_table() -> str:
    """Every metric of a worker, by what kind it is and what its series are told apart by."""
    rows = [
        (f"`{metric.name}`", str(metric.kind), f"{_told_apart(metric.labels)}{metric.text}")
        for metric in METRICS.values()
    ]
    return _table(("metric", "kind", "what it says"), rows)


def _told_apart(labels: tuple[str, ...]) -> str:
    return f"by {', '.join(f'`{name}`' for name in labels)}: " if labels else ""


def _mark(is_there: bool) -> str:  # noqa: FBT001 - it is all there is
    return "tests/stores" if is_there else "no"


def _exchanges() -> Mapping[str, Counter[str]]:
    """How many exchanges of each operation there are, by where they come from."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    recordings = ROOT / "tests/stores/recordings/operations.jsonl"
    for line in recordings.read_text().splitlines():
        exchange = json.loads(line)
        found[exchange["case"].rpartition(": ")[2]][exchange["source"]] += 1
    return found


def migrate_rules_table() -> str:
    """What `migrate check` looks for, and what takes its place."""
    return _table(
        ("rule", "finds", "write instead"),
        [
            (f"`{rule.code}` {rule.name}" + ("" if rule.breaks else " †"), rule.what, rule.instead)
            for rule in RULES.values()
        ],
    )


def quote(path: str) -> str:
    """A file of the examples, word for word."""
    file = ROOT / "docs/examples" / path
    language = {".py": "python", ".yaml": "yaml"}.get(file.suffix, "")
    return f"```{language}\n{file.read_text().rstrip()}\n```"


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "settings": settings_table,
    "limits": limits_table,
    "metrics": metrics_table,
    "aql-functions": functions_table,
    "contract": contract_table,
    "migrate-rules": migrate_rules_table,
}


def render(text: str) -> str:
    """The document with its generated parts made anew."""

    def part(match: re.Match[str]) -> str:
        make = PARTS.get(match["name"])
        return match[0] if make is None else f"{match[1]}{make()}\n{match[3]}"

    quoted = _QUOTE.sub(lambda match: f"{match[1]}{quote(match['path'])}\n{match[3]}", text)
    return _PART.sub(part, quoted)


def _settings_classes() -> Iterator[tuple[str, type]]:
    for path in _modules():
        if not re.search(r"^class \w+Settings\b", path.read_text(), re.MULTILINE):
            continue
        module = importlib.import_module(_module_name(path))
        for name, kind in vars(module).items():
            ours = isinstance(kind, type) and kind.__module__ == module.__name__
            if ours and name.endswith("Settings"):
                yield name, kind


def _fields(kind: type) -> Iterator[tuple[str, Any, str]]:
    if issubclass(kind, BaseModel):
        prefix = str(kind.model_config.get("env_prefix", ""))
        for name, field in kind.model_fields.items():
            shown = f"{prefix}{name}".upper() if prefix else name
            default = "required" if field.is_required() else field.get_default()
            yield shown, default, field.description or ""
    elif dataclasses.is_dataclass(kind):
        texts = _attribute_texts(kind.__doc__ or "")
        for entry in dataclasses.fields(kind):
            missing = entry.default is dataclasses.MISSING
            name = entry.metadata.get("variable", entry.name)
            unit = entry.metadata.get("unit")
            text = texts.get(entry.name, "") + (f" ({unit})" if unit else "")
            yield name, "required" if missing else entry.default, text


def _attribute_texts(doc: str) -> dict[str, str]:
    _, _, attributes = inspect.cleandoc(doc).partition("Attributes:")
    pairs = re.findall(r"^ {4}(\w+): (.+(?:\n {8,}.+)*)", attributes, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", text) for name, text in pairs}


def _constants(path: Path) -> Iterator[tuple[str, Any, str]]:
    """Numbers with a public name in capitals and a docstring behind them."""
    body = ast.parse(path.read_text()).body
    module: Any = None
    for node, following in pairwise(body):
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        documented = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        public = node.target.id.isupper() and not node.target.id.startswith("_")
        if not (public and documented):
            continue
        module = module or importlib.import_module(_module_name(path))
        value = getattr(module, node.target.id)
        if isinstance(value, int | float):
            yield node.target.id, value, re.sub(r"\s+", " ", str(following.value.value)).strip()  # type: ignore[attr-defined]


def _modules() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def _module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts[1:]
    return ".".join(parts).removesuffix(".__init__")


def _row(owner: str, name: str, default: Any, text: str) -> tuple[str, str, str]:
    shown = name if name.isupper() else f"{owner}.{name}"
    return f"`{shown}`", _shown(default), text


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:,}".replace(",", " ") if isinstance(value, int | float) else str(value)


def _table(head: tuple[str, ...], rows: list[tuple[str, str, str]]) -> str:
    lines = [" | ".join(head), " | ".join("---" for _ in head), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


def _whole_files() -> Iterator[tuple[Path, str]]:
    """Files of which every byte is generated."""
    for form, name in FILES.items():
        yield ROOT / "docs" / "contract" / name, render_contract(form)


def main() -> int:
    """Rewrite what is out of date; with `--check`, name it and return 1."""
    stale = []
    fresh_files = [(path, render(path.read_text())) for path in (ROOT / "docs").glob("*.md")]
    for path, fresh in sorted([*fresh_files, *_whole_files()]):
        if not path.exists() or path.read_text() != fresh:
            stale.append(path.relative_to(ROOT))
            if "--check" not in sys.argv:
                path.write_text(fresh)
    print("\n".join(f"{path}: out of date" for path in stale) or "all current")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
