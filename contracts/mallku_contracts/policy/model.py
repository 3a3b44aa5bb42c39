"""The policy document as values: roles with rules and limits, and the principals that have them.

Nothing is allowed that no rule allows. What this version does not enforce is not accepted either:
an unknown key is refused, so that nobody relies on a rule that is never looked at.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, PlainValidator, model_validator
from pydantic_core import PydanticCustomError

from mallku_contracts.aql.functions import GRANTED_ONLY
from mallku_contracts.limits import MAX_BATCH_DOCUMENTS
from mallku_contracts.operations import OPERATIONS, Access
from mallku_contracts.policy.closed import Closed, Glob, Name, as_json
from mallku_contracts.policy.collection import CollectionRules
from mallku_contracts.policy.condition import All, Comparison, Condition
from mallku_contracts.policy.contradiction import is_impossible
from mallku_contracts.policy.limiting import Limits
from mallku_contracts.policy.problem import Place, PolicyProblem, field_reader
from mallku_contracts.policy.query import NamedQuery
from mallku_contracts.policy.values import FieldPath
from mallku_contracts.policy.where import read_path, read_value, read_where
from mallku_contracts.wording import did_you_mean

MAX_FORCED_FIELDS: Final = 32
"""Fields that one rule may `set`."""

MAX_HIDDEN_FIELDS: Final = 64
"""Field paths that one rule may `hide`."""

ANONYMOUS_GRAPHS: Final = "ANONYMOUS_GRAPHS"
"""Grants traversals over edge collections that no named graph holds together."""

WHOLE_COLLECTION: Final = frozenset({"truncate", "drop-collection"})
"""Operations that touch all documents without looking at one."""

NEW_VERSIONS: Final = frozenset(
    name
    for name, operation in OPERATIONS.items()
    if operation.access is Access.WRITE and name.startswith(("insert", "up", "replace"))
)
"""Operations that write new versions of documents."""

_NKEY = re.compile(r"U[A-Z2-7]{55}")
_ORIGIN = re.compile(r"https?://[a-z0-9.\[\]:-]{1,255}")
_SYSTEM: Final = frozenset({"_key", "_id", "_rev"})


def _operation(text: str) -> str:
    known = [*OPERATIONS, *(access.value for access in Access)]
    if text in known:
        return text
    raise ValueError(f"unknown operation {text!r}{did_you_mean(text, known)}")


def _origin(text: str) -> str:
    if not _ORIGIN.fullmatch(text):
        raise ValueError("not an origin: http or https, a host in lower case, a port, no path")
    return text


def _nkey(text: str) -> str:
    if not _NKEY.fullmatch(text):
        raise ValueError("not the public nkey of a user (56 characters, beginning with U)")
    return text


def _read_where(value: object) -> Condition | None:
    if value is None or isinstance(value, Condition):
        return value
    condition = read_where(as_json(value))
    if is_impossible(condition):
        raise PolicyProblem("contradictory: no document can meet this")
    return condition


def _read_forced(value: object) -> dict[str, Any]:
    if not isinstance(value, dict) or len(value) > MAX_FORCED_FIELDS:
        raise PolicyProblem(f"set is a map of at most {MAX_FORCED_FIELDS} fields to their values")
    return {_forced_name(name): _forced_value(name, item) for name, item in value.items()}


def _forced_name(name: object) -> str:
    path = read_path(name, (str(name),))
    if len(path) != 1 or path[0].startswith("_"):
        raise PolicyProblem(
            f"{name!r}: set takes top-level fields whose names do not begin with _", (str(name),)
        )
    return path[0]


def _forced_value(name: str, item: object) -> Any:
    value = read_value(as_json(item), (name,))
    if isinstance(value, dict):
        raise PolicyProblem(
            "set takes no maps: an update that merges would leave other members in them", (name,)
        )
    return value


def _read_hidden(value: object) -> tuple[FieldPath, ...]:
    if not isinstance(value, list | tuple) or len(value) > MAX_HIDDEN_FIELDS:
        raise PolicyProblem(f"hide is a list of at most {MAX_HIDDEN_FIELDS} field paths")
    return tuple(_hidden(item, (at,)) for at, item in enumerate(value))


def _hidden(item: object, place: Place) -> FieldPath:
    path = item if isinstance(item, tuple) else read_path(item, place)
    if path[0] in _SYSTEM:
        raise PolicyProblem(f"{path[0]} is part of every answer and cannot be hidden", place)
    return path


def _granted_part(name: str) -> str:
    known = [*GRANTED_ONLY, ANONYMOUS_GRAPHS]
    if name not in known:
        raise ValueError(f"{name!r} is no part of AQL that is granted{did_you_mean(name, known)}")
    return name


GrantedPart = Annotated[str, AfterValidator(_granted_part)]
OperationName = Annotated[str, AfterValidator(_operation)]
Where = Annotated[Condition | None, PlainValidator(field_reader(_read_where))]
Forced = Annotated[dict[str, Any], PlainValidator(field_reader(_read_forced))]
Hidden = Annotated[tuple[FieldPath, ...], PlainValidator(field_reader(_read_hidden))]


Origin = Annotated[str, AfterValidator(_origin)]


class Rule(Closed):
    """Allows `operations` (names, or the classes read, write, admin) on matching collections.

    Operations that have no collection match whatever `collections` says.

    Attributes:
        where: What must hold for each document that is read, removed, or changed, and for what it
            becomes.
        set: Top-level fields that every new version gets, whatever the caller said.
        hide: Field paths that are never shown, nor filtered or sorted by.
        max_affected: Documents that one command may change or remove.
        grants: Parts of AQL that a query of one's own may use only by name: functions such as
            `DOCUMENT`, and `ANONYMOUS_GRAPHS`.
    """

    id: Name
    databases: tuple[Glob, ...] = Field(default=("*",), min_length=1)
    collections: tuple[Glob, ...] = Field(min_length=1)
    operations: tuple[OperationName, ...] = Field(min_length=1)
    where: Where = None
    set: Forced = Field(default_factory=dict)
    hide: Hidden = ()
    max_affected: int | None = Field(default=None, ge=1, le=MAX_BATCH_DOCUMENTS)
    grants: tuple[GrantedPart, ...] = ()

    @property
    def allowed(self) -> frozenset[str]:
        """The names of the operations, classes spelled out."""
        return frozenset(
            name
            for name, operation in OPERATIONS.items()
            if name in self.operations or operation.access in self.operations
        )

    @property
    def restricts(self) -> tuple[str, ...]:
        """The keys by which this rule restricts single documents."""
        given = {
            "where": self.where is not None,
            "set": bool(self.set),
            "hide": bool(self.hide),
            "max_affected": self.max_affected is not None,
        }
        return tuple(name for name, is_given in given.items() if is_given)

    @model_validator(mode="after")
    def _can_be_enforced(self) -> Self:
        blind = sorted(self.allowed & WHOLE_COLLECTION)
        unbounded = {"where", "max_affected"}.intersection(self.restricts)
        if blind and unbounded:
            raise _refusal(
                f"{min(unbounded)} cannot hold for {', '.join(blind)}, which look at no document;"
                " allow them by a rule of their own",
                ("operations",),
            )
        if self.where is not None and self.set and self.allowed & NEW_VERSIONS:
            self._refuse_forced_contradiction(self.where)
        return self

    def _refuse_forced_contradiction(self, where: Condition) -> None:
        forced = (Comparison((name,), "==", value) for name, value in self.set.items())
        if is_impossible(All((where, *forced))):
            message = "contradictory: where refuses what set puts into every document"
            raise _refusal(message, ("set",))


class Role(Closed):
    """A named set of rules with its limits; a principal with several gets the widest of each."""

    rules: tuple[Rule, ...] = ()
    limits: Limits = Limits()


class Principal(Closed):
    """Somebody who may connect: their roles, and where in the broker they stand.

    Attributes:
        kind: `caller` sends commands; `inspector` reads traffic; `auditor` reads the trail;
            `administrator` looks after streams and buckets; `door` carries commands of others,
            and has none of its own: its roles say what it may carry at all.
        nkey: The public key of their broker connection.
        issuers: Whose tokens speak for them; none named means any trusted issuer.
        acts_for: Callers whose commands a door carries, names or globs.
        origins: Where a door is reached (`https://host:port`), and the database behind it.
    """

    kind: Literal["caller", "inspector", "auditor", "administrator", "door"] = "caller"
    roles: tuple[Name, ...] = ()
    nkey: Annotated[str, AfterValidator(_nkey)] | None = None
    issuers: tuple[str, ...] = ()
    acts_for: tuple[Glob, ...] = ()
    origins: dict[Origin, Name] = Field(default_factory=dict)


class Policy(Closed):
    """The whole document. `version` only ever goes up.

    Attributes:
        collections: Rules by the name of a collection or a glob: the name's own rules hold, else
            those of the first glob that matches.
        queries: Approved AQL texts by name.
        revoked: Principals and key ids that are refused whatever their tokens say.
    """

    version: int = Field(ge=1)
    roles: dict[Name, Role]
    principals: dict[Name, Principal]
    collections: dict[Glob, CollectionRules] = Field(default_factory=dict)
    queries: dict[Name, NamedQuery] = Field(default_factory=dict)
    revoked: tuple[Name, ...] = ()

    @model_validator(mode="after")
    def _names_fit_together(self) -> Self:
        checks = (self._unknown_roles, self._twins, self._gateways_own, self._doors)
        for message, place in (problem for check in checks for problem in check()):
            raise _refusal(message, place, absolute=True)
        return self

    def _unknown_roles(self) -> Iterator[tuple[str, Place]]:
        named = [("principals", name, entry.roles) for name, entry in self.principals.items()]
        named += [("queries", name, query.roles) for name, query in self.queries.items()]
        for part, name, roles in named:
            for role in roles:
                if role not in self.roles:
                    hint = did_you_mean(role, self.roles)
                    yield f"there is no role {role!r}{hint}", (part, name, "roles")

    def _gateways_own(self) -> Iterator[tuple[str, Place]]:
        for name in self.principals:
            if name.startswith("_"):
                yield "principals that begin with _ are the gateway itself", ("principals", name)

    def _doors(self) -> Iterator[tuple[str, Place]]:
        for name, entry in self.principals.items():
            for key in ("acts_for", "origins"):
                if entry.kind != "door" and getattr(entry, key):
                    yield f"{key} belongs to principals of kind door", ("principals", name, key)
            held = entry.roles if entry.kind == "door" else ()
            for rule in (rule for role in held for rule in self._rules_of(role)):
                if rule.restricts:
                    text = f"{rule.restricts[0]} of rule {rule.id!r}: a door sees no documents"
                    yield text, ("principals", name, "roles")

    def _rules_of(self, role: str) -> tuple[Rule, ...]:
        return self.roles[role].rules if role in self.roles else ()

    def _twins(self) -> Iterator[tuple[str, Place]]:
        for name, role in self.roles.items():
            for rule_id, times in Counter(rule.id for rule in role.rules).items():
                if times > 1:
                    yield f"the id {rule_id!r} is used twice", ("roles", name, "rules")
        first: dict[str, str] = {}
        for name, query in self.queries.items():
            other = first.setdefault(query.digest, name)
            if other != name:
                yield f"the same text as {other!r}", ("queries", name, "text")
            for parameter in query.set.keys() & frozenset(query.parameters):
                yield f"{parameter!r} is also a parameter", ("queries", name, "set", parameter)


def _refusal(message: str, place: Place, *, absolute: bool = False) -> PydanticCustomError:
    """A model's error at `place`, from the model itself or from the top of the document."""
    context: dict[str, Any] = {"message": message, "path" if absolute else "inside": place}
    return PydanticCustomError("policy", "{message}", context)
