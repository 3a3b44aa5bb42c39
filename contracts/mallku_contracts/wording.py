"""What a model refuses, in our words: one line for each problem, with the path that leads to it.

Whoever wrote the document or the arguments reads these lines, and knows nothing of the library that
checked them. No value is repeated.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Final, NamedTuple, Union

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mallku_contracts.limits import MAX_NAME_CHARS

Place = tuple[int | str, ...]
"""Keys and positions that lead to a part of a document."""

_UNIONS: Final = (Union, types.UnionType)
_LISTS: Final = (tuple, list, set, frozenset)


class Complaint(NamedTuple):
    """One thing that is wrong, and where; the place is empty for the whole."""

    place: Place
    message: str


def complaints(
    error: ValidationError, model: type[BaseModel], *, most: int | None = None
) -> list[Complaint]:
    """What a model refused, without what is only the consequence of something deeper inside.

    Args:
        model: What was to be made; it knows the names that are likely meant.
        most: No more than so many are worded.
    """
    problems = first_causes(error)[:most]
    return [Complaint(_place(each), _message(each, model)) for each in problems]


def first_causes(error: ValidationError) -> list[ErrorDetails]:
    """The problems without those that a problem deeper inside has caused."""
    problems = error.errors(include_url=False, include_input=False)
    places = [problem["loc"] for problem in problems]
    around = {place[:length] for place in places for length in range(len(place))}
    return [problem for problem in problems if problem["loc"] not in around]


def dotted(place: Iterable[int | str]) -> str:
    """Keys and positions as they are shown."""
    return ".".join(map(str, place))


def settings_complaints(error: ValidationError, model: type[BaseModel], prefix: str) -> str:
    """Each variable of the environment that is missing or wrong, by its name, on one line."""
    return "; ".join(
        f"{prefix}{'_'.join(map(str, each.place)).upper()}: {each.message}"
        for each in complaints(error, model)
    )


def did_you_mean(text: str, known: Iterable[str]) -> str:
    """The end of a message that names the closest known word, or nothing."""
    if len(text) > MAX_NAME_CHARS:
        return ""
    close = difflib.get_close_matches(text, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _place(problem: ErrorDetails) -> Place:
    """Where it is; an error of our own may say so from the top, or from inside of its field."""
    context = problem.get("ctx", {})
    place: Place = context.get("path", (*problem["loc"], *context.get("inside", ())))
    return place


def _message(problem: ErrorDetails, model: type[BaseModel]) -> str:
    kind = problem["type"]
    if kind == "extra_forbidden":
        *above, name = problem["loc"]
        return f"there is no such key{did_you_mean(str(name), _names(model, above))}"
    if kind == "missing":
        return "it is missing"
    context = problem.get("ctx", {})
    if kind in _WITH_BOUND:
        return _WITH_BOUND[kind](context)
    if kind in _EXPECTED:
        return f"{_EXPECTED[kind]} is expected"
    return problem["msg"].removeprefix("Value error, ")


def _names(model: object, place: Iterable[int | str]) -> Iterator[str]:
    """The keys that a map at this place may have; none where that cannot be said."""
    for found in _models_at(model, tuple(place)):
        for name, entry in found.model_fields.items():
            yield entry.alias or name


def _models_at(annotation: Any, place: Place) -> Iterator[type[BaseModel]]:
    """The models that stand at a place inside of what an annotation describes."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        yield from _models_at(arguments[0], place)
    elif origin in _UNIONS:
        for each in arguments:
            yield from _models_at(each, place)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not place:
            yield annotation
            return
        entry = annotation.model_fields.get(str(place[0]))
        if entry is not None:
            yield from _models_at(entry.annotation, place[1:])
    elif place and origin in _LISTS and arguments:
        yield from _models_at(arguments[0], place[1:])
    elif place and origin in (dict, Mapping) and len(arguments) > 1:
        yield from _models_at(arguments[1], place[1:])


def _counted(context: Mapping[str, Any], key: str, what: str) -> str:
    number = context.get(key)
    return f"{number} {what}" if number == 1 else f"{number} {what.replace('entry', 'entries')}"


_WITH_BOUND: Final[dict[str, Callable[[Mapping[str, Any]], str]]] = {
    "greater_than_equal": lambda context: f"at least {context['ge']} is expected",
    "greater_than": lambda context: f"more than {context['gt']} is expected",
    "less_than_equal": lambda context: f"at most {context['le']} is expected",
    "less_than": lambda context: f"less than {context['lt']} is expected",
    "too_short": lambda context: f"at least {_counted(context, 'min_length', 'entry')} needed",
    "too_long": lambda context: f"at most {_counted(context, 'max_length', 'entry')} allowed",
    "string_too_short": lambda context: (
        f"at least {_counted(context, 'min_length', 'characters')} needed"
    ),
    "string_too_long": lambda context: (
        f"at most {_counted(context, 'max_length', 'characters')} allowed"
    ),
    "literal_error": lambda context: f"{context['expected']} is expected",
    "enum": lambda context: f"{context['expected']} is expected",
}
"""What to say of a value beyond a bound that the model sets."""

_EXPECTED: Final = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a map",
    "model_type": "a map",
    "model_attributes_type": "a map",
    "none_required": "null",
    "path_type": "a path",
    "path_not_file": "a file that exists",
    "url_parsing": "a URL",
}
"""What to say of a value of another type than the model's, by the library's name for it."""
