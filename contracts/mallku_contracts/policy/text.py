"""A policy's YAML text into values, with the file, line and column of whatever is wrong in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mallku_contracts.limits import MIB
from mallku_contracts.policy.model import Policy
from mallku_contracts.policy.review import review

MAX_POLICY_CHARS: Final = MIB
"""A policy document, characters."""

MAX_POLICY_DEPTH: Final = 32
"""Lists and maps inside each other in a policy document, levels."""

_TAGS: Final = {f"tag:yaml.org,2002:{kind}" for kind in ("bool", "float", "int", "null")}


class PolicyError(ValueError):
    """The policy cannot be used; each line of the message is `source:line:column: what`."""


def read_policy(text: str, source: str = "policy") -> Policy:
    """Read and validate a policy document.

    Refused: what is not YAML, anchors, aliases and tags, a key twice, and everything the model
    refuses.

    Raises:
        PolicyError: one line for each problem, with its place in `source`.
    """
    return _read(text, source)[0]


def check_policy(text: str, source: str = "policy") -> tuple[Policy, list[str]]:
    """Read a policy as `read_policy` does, and say what in it is hardly meant.

    Each warning is `source:line:column: path: what`, in the order of the document.
    """
    policy, root = _read(text, source)
    marked = [(_locate(root, finding.place), finding) for finding in review(policy)]
    marked.sort(key=lambda pair: (pair[0].line, pair[0].column))
    return policy, [
        f"{_place(source, mark)}: {_dotted(finding.place)}: {finding.message}"
        for mark, finding in marked
    ]


def _read(text: str, source: str) -> tuple[Policy, yaml.Node]:
    if len(text) > MAX_POLICY_CHARS:
        raise PolicyError(f"{source}: longer than {MAX_POLICY_CHARS} characters")
    try:
        root = _compose(text)
        values = _Loader("").construct_document(root)
    except yaml.MarkedYAMLError as error:
        raise PolicyError(f"{_place(source, error.problem_mark)}: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise PolicyError(f"{source}: not YAML: {' '.join(str(error).split())}") from None
    return _validate(root, values, source), root


def _compose(text: str) -> yaml.Node:
    root = yaml.compose(text, Loader=_Loader)
    if not isinstance(root, yaml.MappingNode):
        start = yaml.Mark("policy", 0, 0, 0, "", 0)
        raise _problem("a policy is a map with version, roles and principals", start)
    _check_keys(root)
    return root


def _validate(root: yaml.Node, values: object, source: str) -> Policy:
    try:
        return Policy.model_validate(_tuples(values))
    except ValidationError as error:
        lines = [_describe(root, source, problem) for problem in _first_causes(error)]
        raise PolicyError("\n".join(lines)) from None


class _Loader(yaml.SafeLoader):
    """Builds strings, numbers, booleans and null, and knows no dates, merges, tags or anchors."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]  # left out of the stubs
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise _problem("anchors and aliases are not used in a policy", event.start_mark)
        if getattr(event, "tag", None) is not None:
            raise _problem("tags are not used in a policy", event.start_mark)
        if self.depth >= MAX_POLICY_DEPTH:
            raise _problem(f"nested deeper than {MAX_POLICY_DEPTH} levels", event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in _TAGS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _check_keys(node: yaml.Node) -> None:
    """Refuse a key that is no single value, and a key that stands twice in the same map."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(item)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _problem("a key is a single word", key.start_mark)
        if key.value in seen:
            raise _problem(f"{key.value!r} stands twice", key.start_mark)
        seen.add(key.value)
        _check_keys(value)


def _problem(message: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=message, problem_mark=mark)


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
    around = {place[:length] for place in places for length in range(len(place))}
    return [problem for problem in problems if problem["loc"] not in around]


def _describe(root: yaml.Node, source: str, problem: ErrorDetails) -> str:
    context = problem.get("ctx", {})
    location = context.get("path", (*problem["loc"], *context.get("inside", ())))
    place = _place(source, _locate(root, location))
    return f"{place}: {_dotted(location)}: {problem['msg'].removeprefix('Value error, ')}"


def _dotted(location: Sequence[int | str]) -> str:
    return ".".join(map(str, location))


def _locate(node: Any, location: Sequence[int | str]) -> Any:
    """The mark of the deepest key or item that `location` still names."""
    mark = node.start_mark
    for step in location:
        found = _child(node, step)
        if found is None:
            break
        place, node = found
        mark = place.start_mark
    return mark


def _child(node: Any, step: int | str) -> tuple[Any, Any] | None:
    if isinstance(node, yaml.MappingNode):
        return next((pair for pair in node.value if pair[0].value == str(step)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step]
    return None


def _place(source: str, mark: Any) -> str:
    return source if mark is None else f"{source}:{mark.line + 1}:{mark.column + 1}"
