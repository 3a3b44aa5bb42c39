"""YAML that people write, read into strict models, with file, line and column of what is wrong.

Refused: what is not YAML, anchors, aliases and tags, a key twice, and everything a model refuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from mallku_contracts.wording import Complaint, complaints, dotted

MAX_YAML_DEPTH: Final = 32
"""Lists and maps inside each other in a YAML document, levels."""

_TAGS: Final = {f"tag:yaml.org,2002:{kind}" for kind in ("bool", "float", "int", "null")}

M = TypeVar("M", bound=BaseModel)


class YamlError(ValueError):
    """The document cannot be used; each line of the message is `source:line:column: what`."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[M]):
    """A kind of document.

    Attributes:
        name: With its article, as in "a policy".
        shape: What has to be in it, for whoever wrote something else.
        max_chars: A longer one is not read, characters.
    """

    model: type[M]
    name: str
    shape: str
    max_chars: int


def read_yaml(kind: Kind[M], text: str, source: str) -> tuple[M, yaml.Node]:
    """Read and validate a document; the model, and the tree that knows the places.

    Raises:
        YamlError: one line for each problem, with its place in `source`.
    """
    if len(text) > kind.max_chars:
        raise YamlError(f"{source}: longer than {kind.max_chars} characters")
    try:
        root = _compose(text, kind)
        values = _Loader("").construct_document(root)
    except yaml.MarkedYAMLError as error:
        raise YamlError(f"{place_text(source, error.problem_mark)}: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise YamlError(f"{source}: not YAML: {' '.join(str(error).split())}") from None
    return _validate(kind.model, root, values, source), root


def locate(node: Any, location: Sequence[int | str]) -> Any:
    """The mark of the deepest key or item that `location` still names."""
    mark = node.start_mark
    for step in location:
        found = _child(node, step)
        if found is None:
            break
        place, node = found
        mark = place.start_mark
    return mark


def place_text(source: str, mark: Any) -> str:
    """A mark as `source:line:column`."""
    return source if mark is None else f"{source}:{mark.line + 1}:{mark.column + 1}"


class _Loader(yaml.SafeLoader):
    """Builds strings, numbers, booleans and null, and knows no dates, merges, tags or anchors."""

    depth = 0
    kind = ""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]  # left out of the stubs
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise _problem(f"anchors and aliases are not used in {self.kind}", event.start_mark)
        if getattr(event, "tag", None) is not None:
            raise _problem(f"tags are not used in {self.kind}", event.start_mark)
        if self.depth >= MAX_YAML_DEPTH:
            raise _problem(f"nested deeper than {MAX_YAML_DEPTH} levels", event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in _TAGS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _compose(text: str, kind: Kind[Any]) -> yaml.Node:
    loader = _Loader(text)
    loader.kind = kind.name
    root: Any = loader.get_single_node()
    if not isinstance(root, yaml.MappingNode):
        start = yaml.Mark(kind.name, 0, 0, 0, "", 0)
        raise _problem(f"{kind.name} is a map with {kind.shape}", start)
    _check_keys(root)
    return root


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


def _validate(model: type[M], root: yaml.Node, values: object, source: str) -> M:
    try:
        return model.model_validate(_tuples(values))
    except ValidationError as error:
        lines = [_describe(root, source, each) for each in complaints(error, model)]
        raise YamlError("\n".join(lines)) from None


def _tuples(value: Any) -> Any:
    """YAML's lists as the tuples that a strict, frozen model holds."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    return value


def _describe(root: yaml.Node, source: str, found: Complaint) -> str:
    mark = place_text(source, locate(root, found.place))
    return f"{mark}: {dotted(found.place)}: {found.message}"


def _child(node: Any, step: int | str) -> tuple[Any, Any] | None:
    if isinstance(node, yaml.MappingNode):
        return next((pair for pair in node.value if pair[0].value == str(step)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step]
    return None
