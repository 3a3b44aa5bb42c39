"""A JSON Schema of a policy, checked before anybody relies on it.

Beyond draft 2020-12's own rules: what would be ignored is refused, references stay inside the
schema and end, and formats are those that are really checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from mallku_contracts.policy.problem import Place, PolicyProblem
from mallku_contracts.wording import did_you_mean

MAX_SCHEMA_DEPTH: Final = 24
"""Schemas inside each other, levels."""

FORMATS: Final = ("date", "date-time", "email", "ipv4", "ipv6", "uuid")
"""The values of `format` that are checked."""

_SCHEMA: Final = frozenset(
    {"additionalProperties", "unevaluatedProperties", "items", "unevaluatedItems", "contains",
     "propertyNames", "not", "if", "then", "else"}
)  # fmt: skip
_LIST: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAP: Final = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs"})
_PLAIN: Final = frozenset(
    {"type", "enum", "const", "multipleOf", "maximum", "exclusiveMaximum", "minimum",
     "exclusiveMinimum", "maxLength", "minLength", "pattern", "maxItems", "minItems", "uniqueItems",
     "maxContains", "minContains", "maxProperties", "minProperties", "required",
     "dependentRequired", "format", "title", "description", "default", "examples", "deprecated",
     "readOnly", "writeOnly", "$comment", "$ref"}
)  # fmt: skip
_KEYWORDS: Final = _SCHEMA | _LIST | _MAP | _PLAIN
_SAME_VALUE: Final = frozenset(
    {"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"}
)


def check_schema(schema: object) -> dict[str, Any]:
    """A schema that can be used.

    Raises:
        PolicyProblem: with the place in the schema.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    if not isinstance(schema, dict) or not schema:
        raise PolicyProblem("a schema is a map of JSON Schema keywords")
    for part, place in _walk(schema, ()):
        _check_keywords(part, place)
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        message = f"{error.validator} {error.validator_value!r}"[:256]
        raise PolicyProblem(f"not a JSON Schema: {message}", tuple(error.absolute_path)) from None
    for part, place in _walk(schema, ()):
        _refuse_endless(schema, part, place, ())
    return schema


def _walk(schema: object, place: Place) -> Iterator[tuple[dict[str, Any], Place]]:
    """Every schema inside a schema, and itself."""
    if not isinstance(schema, dict):
        return
    if len(place) > 2 * MAX_SCHEMA_DEPTH:
        raise PolicyProblem(f"a schema nested deeper than {MAX_SCHEMA_DEPTH} levels", place)
    yield schema, place
    for keyword, value in schema.items():
        for part, at in _parts(keyword, value):
            yield from _walk(part, (*place, keyword, *at))


def _parts(keyword: Any, value: Any) -> Iterator[tuple[Any, Place]]:
    if keyword in _SCHEMA:
        yield value, ()
    elif keyword in _LIST and isinstance(value, list):
        yield from ((item, (at,)) for at, item in enumerate(value))
    elif keyword in _MAP and isinstance(value, dict):
        yield from ((item, (name,)) for name, item in value.items())


def _check_keywords(schema: dict[Any, Any], place: Place) -> None:
    for keyword, value in schema.items():
        at = (*place, keyword)
        if keyword not in _KEYWORDS:
            hint = did_you_mean(str(keyword), _KEYWORDS)
            raise PolicyProblem(f"unknown keyword {keyword!r} of JSON Schema{hint}", at)
        if keyword in _MAP and isinstance(value, dict):
            for name in value:
                _check_name(keyword, name, (*at, name))
        if keyword == "pattern" and isinstance(value, str):
            _check_pattern(value, at)
        if keyword == "format" and value not in FORMATS:
            raise PolicyProblem(f"format is one of {', '.join(FORMATS)}", at)


def _check_name(keyword: str, name: object, place: Place) -> None:
    if not isinstance(name, str):
        raise PolicyProblem(f"{name!r} is no name; put it between quotes", place)
    if keyword == "patternProperties":
        _check_pattern(name, place)


def _check_pattern(pattern: str, place: Place) -> None:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise PolicyProblem(f"not a pattern: {error}", place) from None


def _refuse_endless(root: dict[str, Any], schema: Any, place: Place, seen: tuple[int, ...]) -> None:
    """Refuse references that lead nowhere, or back to where they began on the same value."""
    if not isinstance(schema, dict):
        return
    if id(schema) in seen:
        raise PolicyProblem("the references go round in circles on the same value", place)
    seen = (*seen, id(schema))
    reference = schema.get("$ref")
    if isinstance(reference, str):
        _refuse_endless(root, _target(root, reference, (*place, "$ref")), place, seen)
    for keyword in schema.keys() & _SAME_VALUE:
        for part, _ in _parts(keyword, schema[keyword]):
            _refuse_endless(root, part, place, seen)


def _target(root: dict[str, Any], reference: str, place: Place) -> Any:
    before, slash, path = reference.partition("/")
    found: Any = root if before == "#" else None
    for step in path.split("/") if slash else ():
        name = step.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, dict | bool):
        raise PolicyProblem(f"{reference!r} leads to nothing in this schema", place)
    return found
