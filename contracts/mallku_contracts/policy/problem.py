"""A part of a policy that cannot be used, and where in the document it stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic_core import PydanticCustomError

Place = tuple[int | str, ...]
"""Keys and positions that lead to a part of a document."""

T = TypeVar("T")


class PolicyProblem(ValueError):
    """Something that cannot be used; `place` leads to it from where reading began."""

    def __init__(self, message: str, place: Place = ()) -> None:
        super().__init__(message)
        self.message = message
        self.place = place


def field_reader(read: Callable[[Any], T]) -> Callable[[Any], T]:
    """`read` as pydantic wants it: its `PolicyProblem` becomes one of the model's own errors."""

    def validate(value: Any) -> T:
        try:
            return read(value)
        except PolicyProblem as problem:
            context = {"message": problem.message, "inside": problem.place}
            raise PydanticCustomError("policy", "{message}", context) from None

    return validate
