"""Keeps policy, revocations and flags of a worker the ones that administrators signed last.

What is in force stays in force until something that may follow it is there: a lost connection, an
emptied bucket or a forged document change nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from mallku_broker.connection import GatewayConnection
from mallku_contracts.documents import (
    read_flags_document,
    read_policy_document,
    read_revocations,
)
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable
from mallku_contracts.flags import Flags
from mallku_contracts.governed import Document, Kind
from mallku_contracts.policy import CompiledPolicy, Limits
from mallku_workers.governance.office import Office, Surroundings, Trail

START_S: Final = 10.0
"""How long buckets and trail may take to answer a worker that starts, seconds."""


class Governor:
    """What governs this worker now; `async with` reads it and raises when there is no policy.

    Args:
        instance: Names this worker among those who watch the buckets.
        trust_file: Names the administrators; read again for every change.
    """

    def __init__(
        self, connection: GatewayConnection, trail: Trail, instance: str, trust_file: Path
    ) -> None:
        around = Surroundings(connection, trail, instance, trust_file)
        self._policy = Office(Kind.POLICY, _read_policy, around)
        self._keys = Office(Kind.KEYS, read_revocations, around)
        self._flags = Office(Kind.FLAGS, read_flags_document, around)
        self._stack = AsyncExitStack()

    @property
    def policy(self) -> CompiledPolicy:
        """The policy in force; take it once for each command."""
        policy = self._policy.value
        if policy is None:
            raise ConfigurationError("no policy is in force")
        return policy

    def is_revoked(self, name: str) -> bool:
        """Whether the policy or the revocation list refuses this principal or key id."""
        return self.policy.is_revoked(name) or (
            self._keys.value is not None and name in self._keys.value
        )

    @property
    def flags(self) -> Flags | None:
        """The flags in force; None before the first document of them."""
        return self._flags.value

    def limits(self, principal: str) -> Limits | None:
        """The principal's limits in the policy in force; None when it is unknown."""
        return self.policy.limits(principal)

    async def __aenter__(self) -> Self:
        """Read the buckets.

        Raises:
            ConfigurationError: there is no policy, or one of the documents was rolled back.
            GatewayUnreachable: buckets or trail do not answer.
        """
        try:
            async with asyncio.timeout(START_S):
                for office in (self._policy, self._keys, self._flags):
                    await self._stack.enter_async_context(office)
        except TimeoutError:
            await self._stack.aclose()
            raise GatewayUnreachable(
                f"the buckets {', '.join(kind.bucket for kind in Kind)}, and the trail, did not"
                f" answer within {START_S} s"
            ) from None
        except BaseException:
            await self._stack.aclose()
            raise
        if self._policy.value is None:
            await self._stack.aclose()
            raise ConfigurationError(
                f"the bucket {Kind.POLICY.bucket} holds no policy that an administrator of the"
                " trust file signed; push one: mallku-gateway policy push FILE"
            )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def govern(self) -> None:
        """Follow every change until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._policy.keep())
            group.create_task(self._keys.keep())
            group.create_task(self._flags.keep())


def _read_policy(document: Document) -> CompiledPolicy:
    return CompiledPolicy(read_policy_document(document))
