"""The policy document as values: roles with rules and limits, and the principals that have them.

Nothing is allowed that no rule allows. What this version does not enforce is not accepted either:
an unknown key is refused, so that nobody relies on a rule that is never looked at.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from mallku_contracts.limits import MAX_NAME_CHARS
from mallku_contracts.operations import OPERATIONS, Access
from mallku_contracts.subjects import is_name

MAX_RATE_PER_S: Final = 1_000_000
"""The highest rate a limit may name, commands a second."""

_GLOB = re.compile(rf"@|[A-Za-z0-9_*-]{{1,{MAX_NAME_CHARS}}}")
_NKEY = re.compile(r"U[A-Z2-7]{55}")
_RESERVED: Final = ("_", "mallku_")


def is_reserved(name: str) -> bool:
    """Whether a collection or database name belongs to the gateway: no rule can grant it."""
    return name.startswith(_RESERVED)


def _glob(text: str) -> str:
    if not _GLOB.fullmatch(text):
        raise ValueError(f"{text!r} is not a name or a glob of A-Z a-z 0-9 _ - *")
    if is_reserved(text):
        raise ValueError(f"{text!r}: names that begin with _ or mallku_ belong to the gateway")
    return text


def _operation(text: str) -> str:
    known = [*OPERATIONS, *(access.value for access in Access)]
    if text in known:
        return text
    close = difflib.get_close_matches(text, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"unknown operation {text!r}{hint}")


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError(f"{text!r} is not a name of A-Z a-z 0-9 _ -")
    return text


def _nkey(text: str) -> str:
    if not _NKEY.fullmatch(text):
        raise ValueError("not the public nkey of a user (56 characters, beginning with U)")
    return text


Glob = Annotated[str, AfterValidator(_glob)]
Name = Annotated[str, AfterValidator(_name)]
OperationName = Annotated[str, AfterValidator(_operation)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class Rule(_Closed):
    """Allows `operations` (names, or the classes read, write, admin) on matching collections.

    Operations that have no collection match whatever `collections` says.
    """

    id: Name
    databases: tuple[Glob, ...] = Field(default=("*",), min_length=1)
    collections: tuple[Glob, ...] = Field(min_length=1)
    operations: tuple[OperationName, ...] = Field(min_length=1)

    @property
    def allowed(self) -> frozenset[str]:
        """The names of the operations, classes spelled out."""
        return frozenset(
            name
            for name, operation in OPERATIONS.items()
            if name in self.operations or operation.access in self.operations
        )


class Limits(_Closed):
    """How much a principal may ask of one worker at a time.

    Attributes:
        rate_per_s: Commands a second, sustained.
        burst: Commands at once on top of the rate.
        in_flight: Commands under way.
    """

    rate_per_s: int = Field(default=5_000, ge=1, le=MAX_RATE_PER_S)
    burst: int = Field(default=1_000, ge=1, le=MAX_RATE_PER_S)
    in_flight: int = Field(default=256, ge=1, le=100_000)


class Role(_Closed):
    """A named set of rules with its limits; a principal with several gets the widest of each."""

    rules: tuple[Rule, ...] = ()
    limits: Limits = Limits()


class Principal(_Closed):
    """Somebody who may connect: their roles, and where in the broker they stand.

    Attributes:
        kind: `caller` sends commands; `inspector` reads traffic; `auditor` reads the trail;
            `administrator` looks after streams and buckets.
        nkey: The public key of their broker connection.
        issuers: Whose tokens speak for them; none named means any trusted issuer.
    """

    kind: Literal["caller", "inspector", "auditor", "administrator"] = "caller"
    roles: tuple[Name, ...] = ()
    nkey: Annotated[str, AfterValidator(_nkey)] | None = None
    issuers: tuple[str, ...] = ()


class Policy(_Closed):
    """The whole document. `version` only ever goes up.

    `revoked` lists principals and key ids that are refused whatever their tokens say.
    """

    version: int = Field(ge=1)
    roles: dict[Name, Role]
    principals: dict[Name, Principal]
    revoked: tuple[Name, ...] = ()

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        for name, principal in self.principals.items():
            for role in principal.roles:
                if role not in self.roles:
                    raise PydanticCustomError(
                        "policy",
                        "there is no role '{role}'",
                        {"path": ("principals", name, "roles"), "role": role},
                    )
        for name, role_ in self.roles.items():
            for rule_id, times in Counter(rule.id for rule in role_.rules).items():
                if times > 1:
                    raise PydanticCustomError(
                        "policy",
                        "the id '{rule_id}' is used twice",
                        {"path": ("roles", name, "rules"), "rule_id": rule_id},
                    )
        return self
