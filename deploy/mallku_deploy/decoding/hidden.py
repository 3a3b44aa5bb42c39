"""A message's description without the fields that a policy hides, whoever they are hidden from.

A message does not say which rule its reader would fall under, and a reply not even its collection:
what any rule of the policy hides anywhere is hidden here everywhere.

`decode` starts once for each message: the policy is read for its `hide` alone. Whoever pushed it
had it validated.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mallku_broker.files import read_text
from mallku_contracts.errors import ConfigurationError
from mallku_deploy.decoding.redact import hide_values
from mallku_deploy.decoding.veil import FieldPath, veiled, veiled_query

_QUERY = "aql"
_UNREAD = frozenset({"text", "unknown"})
"""Kinds of messages in which no field has a name."""


def read_hidden(path: Path) -> tuple[FieldPath, ...]:
    """Every field path that some rule of the policy in this file hides.

    Raises:
        ConfigurationError: the file cannot be read, or has no roles with rules.
    """
    import yaml

    text = read_text(path, "policy file")
    try:
        return tuple(dict.fromkeys(_paths(yaml.safe_load(text))))
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"policy file {path}: not a policy ({type(error).__name__});"
            " `mallku-gateway policy check` says where"
        ) from None


def veil(description: dict[str, Any], paths: tuple[FieldPath, ...]) -> dict[str, Any]:
    """The description of a message with these fields replaced by `<hidden>`.

    Where something is hidden, rows of queries, literals of queries and what cannot be read keep
    their type and size alone: they may hold a hidden value under another name.
    """
    if not paths:
        return description
    shown = dict(description)
    if "record" in shown:
        shown["record"] = _record(shown["record"], paths)
    if "body" in shown and shown["kind"] != "document":
        protected = shown.get("protected")
        operation = protected.get("op") if isinstance(protected, dict) else None
        shown["body"] = _body(shown["body"], operation, paths)
    if "content" in shown:
        unread = shown.get("kind") in _UNREAD
        content = shown["content"]
        shown["content"] = hide_values(content) if unread else veiled(content, paths)
    if "begins_with" in shown:
        shown["begins_with"] = hide_values(shown["begins_with"])
    return shown


def _paths(policy: Any) -> Iterator[FieldPath]:
    for role in policy["roles"].values():
        for rule in role["rules"]:
            for text in rule.get("hide") or ():
                yield tuple(step.strip("`") for step in text.split("."))


def _record(record: Any, paths: tuple[FieldPath, ...]) -> Any:
    shown = veiled(record, paths)
    command = shown.get("command")
    if isinstance(command, dict):
        operation = str(record.get("subject", "")).rpartition(".")[2]
        shown["command"] = {**command, "body": _body(command.get("body"), operation, paths)}
    return shown


def _body(body: Any, operation: str | None, paths: tuple[FieldPath, ...]) -> Any:
    if not isinstance(body, dict):
        return hide_values(body)
    if operation == _QUERY:
        return veiled_query(body)
    return _without_rows(veiled(body, paths))


def _without_rows(value: Any) -> Any:
    """Answers of queries without their rows, whose names are the query's to choose."""
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("result"), list) and "more" in value:
        return {**value, "result": hide_values(value["result"])}
    return {name: _without_rows(item) for name, item in value.items()}
