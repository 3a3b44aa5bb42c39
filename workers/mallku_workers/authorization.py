"""Step 5, authorize: from a verified command to a request that may be carried out as it stands.

The policy decides about the operation, then about everything that the operation is made of: each
step of a transaction, each collection that a graph would make, each collection of a query.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from mallku_contracts import arguments as a
from mallku_contracts.arguments import Arguments, is_dry_run, read_arguments
from mallku_contracts.errors import (
    AuditUnavailable,
    InvalidArguments,
    InvalidSubject,
    MallkuError,
)
from mallku_contracts.operations import OPERATIONS, Access, Operation, Scope
from mallku_contracts.policy import CompiledPolicy, Grant
from mallku_contracts.subjects import CommandSubject
from mallku_contracts.tokens import Identity
from mallku_contracts.trail.digests import Digests
from mallku_workers.audit.detail import is_hidden
from mallku_workers.message import Case
from mallku_workers.queries.authorize import (
    QueryAsker,
    QueryAuthorizer,
    refuse_reserved_graphs,
)
from mallku_workers.request import Carrier, Request
from mallku_workers.restrictions import restrict, restrict_together
from mallku_workers.stores.base import Step

STEP_OPERATIONS: Final = frozenset(
    name
    for name, operation in OPERATIONS.items()
    if operation.access is Access.WRITE and operation.scope is Scope.COLLECTION
)
"""What the steps of a transaction may be."""

_CREATE: Final = OPERATIONS["create-collection"]


@dataclass(frozen=True, slots=True)
class Authorizer:
    """Decides by one version of the policy for each command.

    Attributes:
        digests: Hashes what records must not hold; without it such commands are refused.
    """

    queries: QueryAuthorizer
    digests: Digests | None = None

    async def authorize(
        self,
        case: Case,
        policy: CompiledPolicy,
        subject: CommandSubject,
        identity: Identity,
        body: dict[str, Any],
    ) -> Request:
        """The request that a command amounts to.

        Raises:
            PermissionDenied, ReservedName: naming what was missing.
            SecurityViolation: a secured collection, and no secured model that it lets in.
            InvalidArguments, InvalidQuery, ResultTooLarge
            AuditUnavailable: records must not hold it, and there is no key to hash it with.
        """
        now_ms = case.message.received_ms
        asking = _Asking(policy, subject, identity, now_ms, case.carrier)
        asking.refuse_door()
        case.grant = grant = asking.decide(subject)
        operation = OPERATIONS[subject.operation]
        rules = grant.bind(subject.principal, now_ms)
        values = read_arguments(operation.arguments, body)
        _refuse_direct(policy, subject.collection, operation, values)
        arguments = restrict(values, operation, grant, rules)
        case.request = request = Request(
            subject,
            operation,
            arguments,
            policy,
            identity,
            grant,
            now_ms,
            rules,
            carrier=case.carrier,
        )
        if operation.scope is Scope.DATABASE:
            case.request = request = await self._within(request, asking)
        if is_hidden(request):
            case.request = request = replace(request, digests=self._key_for_digests())
        return request

    def _key_for_digests(self) -> Digests:
        if self.digests is None:
            raise AuditUnavailable(
                "records of this collection may hold keyed hashes alone, and this worker has no key"
                " for them (MALLKU_WORKER_AUDIT_DIGEST_KEY_FILE); nothing was done",
                retryable=False,
            )
        return self.digests

    async def _within(self, request: Request, asking: _Asking) -> Request:
        """Decide about everything that an operation of the database as a whole is made of."""
        match request.arguments:
            case a.Transaction() as transaction:
                steps = tuple(asking.steps(transaction))
                restrict_together((step.arguments for step in steps), request.grant)
                return replace(request, steps=steps)
            case a.CreateGraph() as graph:
                refuse_reserved_graphs((graph.name,))
                asking.refuse_graph(graph)
            case a.DropGraph() as graph:
                refuse_reserved_graphs((graph.name,))
            case a.Aql() as aql:
                asker = QueryAsker(
                    request.policy, request.subject, request.identity.roles, request.now_ms
                )
                await self._refuse_query_beyond_door(aql, request, asking)
                query = await self.queries.authorize(aql, asker, request.grant)
                return replace(request, query=query)
            case _:
                pass
        return request

    async def _refuse_query_beyond_door(
        self, aql: a.Aql, request: Request, asking: _Asking
    ) -> None:
        """Refuse a query of which the door might not carry every part, whoever asks it."""
        if asking.carrier is None:
            return
        door = asking.carrier.identity
        subject = replace(request.subject, principal=door.principal)
        asker = QueryAsker(request.policy, subject, door.roles, request.now_ms)
        await self.queries.authorize(aql, asker, request.grant)


@dataclass(frozen=True, slots=True)
class _Asking:
    policy: CompiledPolicy
    subject: CommandSubject
    identity: Identity
    now_ms: int
    carrier: Carrier | None = None

    def refuse_door(self) -> None:
        """Refuse a door that may not act for the caller, where the caller's proof was made for."""
        if self.carrier is not None:
            door, origin = self.carrier.identity, self.carrier.proof.origin
            self.policy.refuse_door(door.principal, door.issuer, self.subject, origin)

    def decide(self, subject: CommandSubject) -> Grant:
        identity = self.identity
        operation = OPERATIONS[subject.operation]
        if self.carrier is not None:
            door = self.carrier.identity
            self.policy.refuse_beyond_door(door.principal, door.roles, subject, operation)
        return self.policy.decide(subject, operation, roles=identity.roles, issuer=identity.issuer)

    def steps(self, arguments: a.Transaction) -> Iterator[Step]:
        """Every step of a transaction as it may be carried out; errors name the step."""
        for place, step in enumerate(arguments.steps):
            try:
                yield self._step(step)
            except MallkuError as error:
                error.details["step"] = place
                raise

    def _step(self, step: a.TransactionStep) -> Step:
        if step.operation not in STEP_OPERATIONS:
            known = ", ".join(sorted(STEP_OPERATIONS))
            raise InvalidArguments(f"operation: {step.operation!r:.80} is none of {known}")
        operation = OPERATIONS[step.operation]
        grant = self.decide(self._on(step.collection, operation))
        rules = grant.bind(self.subject.principal, self.now_ms)
        values = read_arguments(operation.arguments, step.arguments)
        if is_dry_run(values):
            raise InvalidArguments("dry_run: a transaction is carried out as a whole, or not sent")
        _refuse_direct(self.policy, step.collection, operation, values)
        return Step(operation, step.collection, restrict(values, operation, grant, rules), rules)

    def refuse_graph(self, arguments: a.CreateGraph) -> None:
        """Refuse a graph unless all of its collections might be made by the caller."""
        for name in sorted(_members(arguments)):
            self.decide(self._on(name, _CREATE))

    def _on(self, collection: str, operation: Operation) -> CommandSubject:
        subject = self.subject
        try:
            return CommandSubject.build(
                subject.principal, subject.database, collection, operation.name
            )
        except InvalidSubject as error:
            raise InvalidArguments(error.message, details=error.details) from None


def _refuse_direct(
    policy: CompiledPolicy, collection: str, operation: Operation, values: Arguments
) -> None:
    """Refuse documents of a secured collection in the name of no model (`refuse_direct`)."""
    if "model" in type(values).model_fields:
        model: str | None = getattr(values, "model")  # noqa: B009 - of the models that have it
        policy.holding(collection).rules.refuse_direct(collection, operation.name, model)


def _members(arguments: a.CreateGraph) -> set[str]:
    members = set(arguments.orphan_collections)
    for one in arguments.edge_definitions:
        members |= {one.edge_collection, *one.from_vertex_collections, *one.to_vertex_collections}
    return members
