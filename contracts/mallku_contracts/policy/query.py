"""Approved queries: AQL texts that stand in the policy, and who may run them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, Field, PlainValidator, model_validator
from pydantic_core import PydanticCustomError

from mallku_contracts.aql.allow import undetermined
from mallku_contracts.aql.analysis import analyse
from mallku_contracts.aql.lookups import beyond_names
from mallku_contracts.aql.parsing import parse
from mallku_contracts.arguments import MAX_QUERY_CHARS
from mallku_contracts.errors import InvalidArguments, MallkuError
from mallku_contracts.policy.closed import Closed, Name, is_reserved
from mallku_contracts.policy.problem import Place, PolicyProblem, field_reader
from mallku_contracts.policy.values import Caller, resolve
from mallku_contracts.policy.where import read_value

MAX_PARAMETERS: Final = 64
"""Bind parameters of one approved query."""


def _parameter(name: str) -> str:
    if name.startswith("@"):
        raise ValueError(f"{name!r}: an approved query names its collections itself")
    if not name.replace("_", "a").isalnum() or not name.isascii():
        raise ValueError(f"{name!r} is not the name of a bind parameter, A-Z a-z 0-9 _")
    return name


Parameter = Annotated[str, AfterValidator(_parameter)]


def _read_values(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise PolicyProblem("set is a map of bind parameters to their values")
    return {str(name): read_value(item, (name,)) for name, item in value.items()}


class NamedQuery(Closed):
    """An AQL text that was approved as it stands; document rules do not apply to what it does.

    Attributes:
        roles: Who may run it.
        parameters: What the caller gives, all of it and nothing else.
        set: What the worker puts in, whatever the caller says; `$principal` and `$now` may be used.
    """

    text: str = Field(min_length=1, max_length=MAX_QUERY_CHARS)
    roles: tuple[Name, ...] = Field(min_length=1)
    parameters: tuple[Parameter, ...] = Field(default=(), max_length=MAX_PARAMETERS)
    set: Annotated[dict[str, Any], PlainValidator(field_reader(_read_values))] = Field(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _can_run(self) -> Self:
        for message, place in self._problems():
            raise PydanticCustomError("policy", "{message}", {"message": message, "inside": place})
        return self

    def _problems(self) -> Iterator[tuple[str, Place]]:
        """What would keep the query from ever running."""
        try:
            tree = parse(self.text)
        except MallkuError as error:
            yield error.message, ("text",)
            return
        analysis = analyse(tree)
        for refused in undetermined(tree):
            yield f"it changes documents and would not come to the same again: {refused}", ("text",)
        values = {name for name in analysis.binds if not name.startswith("@")}
        for name in sorted(analysis.binds - values):
            yield f"@{name}: an approved query names its collections itself", ("text",)
        for problem in beyond_names(tree):
            yield problem, ("text",)
        for name in sorted(values - {*self.parameters, *self.set}):
            yield f"the text asks for @{name}, which is no parameter and not set", ("text",)
        for name in sorted({*self.parameters, *self.set} - values):
            where = "parameters" if name in self.parameters else "set"
            yield f"the text does not ask for @{name}", (where,)
        named = analysis.read_names({}) | frozenset(analysis.write_names({}))
        for name in sorted(filter(is_reserved, named)):
            yield f"{name!r}: names that begin with _ or mallku_ belong to the gateway", ("text",)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the text in UTF-8, hexadecimal: what the query is known by."""
        return query_digest(self.text)

    def bind(self, given: Mapping[str, Any], principal: str, now_ms: int) -> dict[str, Any]:
        """All bind values: the caller's, and those that the policy sets.

        Raises:
            InvalidArguments: a parameter is missing, unknown, or not the caller's to give.
        """
        wanted = frozenset(self.parameters)
        fields = dict.fromkeys(wanted - given.keys(), "not given")
        unknown = (str(name)[:64] for name in given.keys() - wanted)
        fields |= dict.fromkeys(unknown, "not a parameter of this query")
        if fields:
            named = dict(sorted(fields.items())[:16])
            listed = "; ".join(f"bind_vars.{name}: {why}" for name, why in named.items())
            raise InvalidArguments(listed, details={"fields": named})
        return {**given, **resolve(self.set, Caller(principal, now_ms))}


def query_digest(text: str) -> str:
    """SHA-256 of a query's text in UTF-8, hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
