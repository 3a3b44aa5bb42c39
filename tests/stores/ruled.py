"""Somebody whom document rules hold, and how to write such rules down."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from mallku_contracts.arguments import Document, read_arguments
from mallku_contracts.errors import MallkuError
from mallku_contracts.operations import OPERATIONS
from mallku_contracts.policy import DocumentRules, DocumentSchema
from mallku_contracts.policy.where import read_where
from mallku_workers.restrictions import refuse_unfit
from mallku_workers.revealing import conceal
from mallku_workers.stores.base import Done, Step
from tests.stores.calling import Caller, make_claim, make_work

RULE = "clerk/own"


def make_rules(
    where: dict[str, Any] | None = None, schema: dict[str, Any] | None = None, **more: Any
) -> DocumentRules:
    """Rules as a policy would say them; `hidden` takes dotted paths."""
    hidden = tuple(tuple(path.split(".")) for path in more.pop("hidden", ()))
    return DocumentRules(
        RULE,
        where=None if where is None else read_where(where),
        hidden=hidden,
        schema=None if schema is None else DocumentSchema(schema),
        **more,
    )


@dataclass(frozen=True)
class Held(Caller):
    """Calls that pass what the worker's steps 5, 9 and 11 do about document rules."""

    rules: DocumentRules = field(default_factory=make_rules)

    async def done(self, operation: str, **arguments: Any) -> Done:
        """Everything that the store says, and the result as it is shown."""
        known = OPERATIONS[operation]
        claim = make_claim() if known.mutates else None
        work = make_work(operation, self.collection, arguments, claim=claim)
        refuse_unfit(known, work.arguments, self.rules)
        done = await self.store.execute(replace(work, rules=self.rules))
        return replace(done, result=conceal(done.result, known, self.rules))


def held(caller: Caller, rules: DocumentRules) -> Held:
    """The same calls under rules."""
    return Held(caller.store, caller.collection, rules)


async def told(held: Caller, operation: str, **arguments: Any) -> MallkuError:
    """The refusal of a call."""
    with pytest.raises(MallkuError) as refused:
        await held(operation, **arguments)
    return refused.value


async def everything(caller: Caller) -> dict[str, Document]:
    """All documents by key, as nobody's rules show them."""
    found = (await caller("find"))["documents"]
    return {document["_key"]: document for document in found}


async def transact(
    caller: Caller, *steps: tuple[str, str, dict[str, Any], DocumentRules | None], **more: Any
) -> list[Any]:
    """A transaction of steps (operation, collection, arguments, rules), its results concealed."""
    made = []
    for operation, collection, arguments, rules in steps:
        known = OPERATIONS[operation]
        values = read_arguments(known.arguments, arguments)
        if rules is not None:
            refuse_unfit(known, values, rules)
        made.append(Step(known, collection, values, rules))
    plain_steps = [
        {"operation": operation, "collection": collection, "arguments": arguments}
        for operation, collection, arguments, _ in steps
    ]
    work = make_work("transaction", "@", {"steps": plain_steps}, claim=make_claim())
    done = await caller.store.execute(replace(work, steps=tuple(made), **more))
    pairs = zip(done.result, made, strict=True)
    return [conceal(result, step.operation, step.rules) for result, step in pairs]
