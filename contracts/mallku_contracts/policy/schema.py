"""What every new version of a collection's documents must be, checked without any I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from mallku_contracts.errors import InvalidDocument
from mallku_contracts.policy.shape import FORMATS

MAX_MATCHED_CHARS: Final = 1_024
"""A text that a schema's `pattern` is tried on, characters; a longer one is refused."""

_MAX_SHOWN_STEPS: Final = 16
_MAX_SHOWN_CHARS: Final = 128
_FIRST: Final = ("type", "maxItems", "maxLength", "maxProperties", "required")
_TOLD: Final = frozenset(
    {"type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
     "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "pattern",
     "format", "required"}
)  # fmt: skip
_UUID = re.compile(r"[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}")


class DocumentSchema:
    """A description that documents are held to.

    Attributes:
        schema: JSON Schema, draft 2020-12, as `check_schema` lets it through; None asks nothing.
        plain_fields: With a set, documents are in secured form: the name of a field is a UUID, or
            is in the set. None leaves names as they are.
    """

    def __init__(
        self, schema: Mapping[str, Any] | None, plain_fields: frozenset[str] | None = None
    ) -> None:
        self.schema = schema
        self.plain_fields = plain_fields
        self._errors = _nothing_wrong if schema is None else _errors_of(schema)

    def check(self, document: Mapping[str, Any]) -> None:
        """Refuse a document that is not as described.

        The store's own attributes, whose names begin with `_`, are not looked at.

        Raises:
            InvalidDocument: `details["field"]` is the path of the field; no value is repeated.
        """
        own = {name: value for name, value in document.items() if not name.startswith("_")}
        if self.plain_fields is not None:
            _refuse_plain(own, self.plain_fields)
        for error in self._errors(own):
            steps = [*error.absolute_path, *_missing(error)]
            raise _refusal(steps, str(error.validator), f"the collection's schema: {_why(error)}")


def _refuse_plain(document: Mapping[str, Any], allowed: frozenset[str]) -> None:
    for name in document:
        if name not in allowed and not _UUID.fullmatch(name):
            raise _refusal(
                [name],
                "requires_security",
                "the collection takes secured documents alone, whose fields are named by UUIDs",
            )


def _refusal(steps: Iterable[int | str], keyword: str, why: str) -> InvalidDocument:
    shown = [str(step)[:_MAX_SHOWN_CHARS] for step in steps][:_MAX_SHOWN_STEPS]
    field = ".".join(shown)
    return InvalidDocument(
        f"{field or 'the document'}: {why}", details={"field": field, "keyword": keyword}
    )


def _errors_of(schema: Mapping[str, Any]) -> Callable[[Any], Iterable[Any]]:
    """What is wrong with a document, one after the other.

    Nothing is fetched. Keywords that bound a value come first, so that what is too large is not
    looked at in detail, and those are replaced whose cost a caller could raise at will.
    """
    from jsonschema import Draft202012Validator, FormatChecker
    from jsonschema.validators import extend
    from referencing import Registry

    formats = FormatChecker(formats=[name for name in FORMATS if name != "date-time"])
    formats.checks("date-time", raises=ValueError)(_is_date_time)
    own = {"pattern": _match_pattern, "uniqueItems": _find_twins}
    bounded: Any = extend(Draft202012Validator, own)  # type: ignore[no-untyped-call]  # as its stubs say
    validator = bounded(_cheap_first(schema), registry=Registry(), format_checker=formats)
    return validator.iter_errors  # type: ignore[no-any-return]  # the library's classes are made at run time


def _cheap_first(value: Any) -> Any:
    if isinstance(value, Mapping):
        names = [*(name for name in _FIRST if name in value), *value]
        return {name: _cheap_first(value[name]) for name in dict.fromkeys(names)}
    return [_cheap_first(item) for item in value] if isinstance(value, list) else value


def _is_date_time(text: object) -> bool:
    """Whether a text is a time with its offset (RFC 3339)."""
    if not isinstance(text, str):
        return True
    return "T" in text.upper() and datetime.fromisoformat(text).tzinfo is not None


def _match_pattern(_v: Any, pattern: str, text: Any, _schema: Any) -> Iterator[Exception]:
    from jsonschema.exceptions import ValidationError

    if not isinstance(text, str):
        return
    if len(text) > MAX_MATCHED_CHARS or not re.search(pattern, text):
        yield ValidationError("no match, or too long to be tried")


def _find_twins(_v: Any, wanted: Any, items: Any, _schema: Any) -> Iterator[Exception]:
    from jsonschema.exceptions import ValidationError

    if wanted and isinstance(items, list) and len({_hashable(item) for item in items}) < len(items):
        yield ValidationError("not unique")


def _hashable(value: Any) -> Any:
    """A value that equals another's exactly when JSON Schema calls the two equal."""
    if isinstance(value, dict):
        return dict, frozenset((name, _hashable(item)) for name, item in value.items())
    if isinstance(value, list):
        return list, tuple(map(_hashable, value))
    return (bool, value) if isinstance(value, bool) else value


def _why(error: Any) -> str:
    """The keyword that refused, with what it asks for; never the value that was refused."""
    keyword = str(error.validator)
    told = f"{keyword} {error.validator_value!r}" if keyword in _TOLD else keyword
    return told[:256]


def _missing(error: Any) -> list[str]:
    if error.validator != "required" or not isinstance(error.instance, Mapping):
        return []
    return [name for name in error.validator_value if name not in error.instance][:1]


def _nothing_wrong(_document: Any) -> Iterable[Any]:
    return ()
