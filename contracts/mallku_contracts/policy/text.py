"""A policy's YAML text into values, with the file, line and column of whatever is wrong in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mallku_contracts.limits import MIB
from mallku_contracts.policy.model import Policy

MAX_POLICY_CHARS: Final = MIB
"""A policy document, characters."""


class PolicyError(ValueError):
    """The policy cannot be used; each line of the message is `source:line:column: what`."""


def read_policy(text: str, source: str = "policy") -> Policy:
    """Read and validate a policy document.

    Refused: what is not YAML, anchors and aliases, a key twice, and everything the model refuses.

    Raises:
        PolicyError: one line for each problem, with its place in `source`.
    """
    if len(text) > MAX_POLICY_CHARS:
        raise PolicyError(f"{source}: longer than {MAX_POLICY_CHARS} characters")
    root = _compose(text, source)
    _refuse_repeated_keys(root, source)
    values = yaml.SafeLoader("").construct_document(root)
    try:
        return Policy.model_validate(_tuples(values))
    except ValidationError as error:
        lines = [_describe(root, source, problem) for problem in _first_causes(error)]
        raise PolicyError("\n".join(lines)) from None


def _compose(text: str, source: str) -> yaml.Node:
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise PolicyError(f"{source}: anchors and aliases are not used in a policy")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise PolicyError(f"{_place(source, error.problem_mark)}: {error.problem}") from None
    except yaml.YAMLError as error:
        raise PolicyError(f"{source}: not YAML: {error}") from None
    if not isinstance(root, yaml.MappingNode):
        raise PolicyError(f"{source}:1:1: a policy is a map with version, roles and principals")
    return root


def _refuse_repeated_keys(node: yaml.Node, source: str) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise PolicyError(f"{_place(source, key.start_mark)}: {key.value!r} stands twice")
            seen.add(str(key.value))
            _refuse_repeated_keys(value, source)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated_keys(item, source)


def _tuples(value: Any) -> Any:
    """YAML's lists as the tuples that a strict, frozen model holds."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    return value


def _first_causes(error: ValidationError) -> list[ErrorDetails]:
    """The problems without those that a problem deeper inside has caused."""
    problems = error.errors(include_url=False, include_input=False)
    places = [problem["loc"] for problem in problems]

    def is_first(loc: tuple[int | str, ...]) -> bool:
        return not any(len(place) > len(loc) and place[: len(loc)] == loc for place in places)

    return [problem for problem in problems if is_first(problem["loc"])]


def _describe(root: yaml.Node, source: str, problem: ErrorDetails) -> str:
    location = problem.get("ctx", {}).get("path", problem["loc"])
    place = _place(source, _locate(root, location))
    path = ".".join(str(step) for step in location)
    return f"{place}: {path}: {problem['msg'].removeprefix('Value error, ')}"


def _locate(node: yaml.Node, location: Sequence[int | str]) -> Any:
    """The mark of the deepest part of the document that `location` still names."""
    for step in location:
        found = _child(node, step)
        if found is None:
            break
        node = found
    return node.start_mark


def _child(node: yaml.Node, step: int | str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return value if not isinstance(value, yaml.ScalarNode) else key
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        child: yaml.Node = node.value[step]
        return child
    return None


def _place(source: str, mark: Any) -> str:
    return source if mark is None else f"{source}:{mark.line + 1}:{mark.column + 1}"
