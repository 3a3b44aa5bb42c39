"""Somebody whom document rules hold, and how to write such rules down."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from mallku_contracts.arguments import Document
from mallku_contracts.operations import OPERATIONS
from mallku_contracts.policy import DocumentRules, DocumentSchema
from mallku_contracts.policy.where import read_where
from mallku_workers.restrictions import refuse_unfit
from mallku_workers.revealing import conceal
from mallku_workers.stores.base import Done
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


async def everything(caller: Caller) -> dict[str, Document]:
    """All documents by key, as nobody's rules show them."""
    found = (await caller("find"))["documents"]
    return {document["_key"]: document for document in found}
