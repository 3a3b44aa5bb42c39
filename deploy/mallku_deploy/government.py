"""What `up` does about policy, revocations, flags: seeds buckets, and has the broker follow them.

The bucket is where workers read; `policy.yaml` is where people write. What somebody puts into a
bucket without an administrator's signature, `up` replaces by what is in force.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from mallku_broker.adoptions import highest_adopted
from mallku_broker.buckets import Batch, Conflict, Watch, kept, place, put
from mallku_broker.connection import GatewayConnection
from mallku_broker.files import write_private_text
from mallku_broker.succession import Succession, Verdict
from mallku_contracts.documents import (
    read_flags_document,
    read_policy_document,
    read_revocations,
)
from mallku_contracts.errors import ConfigurationError, MallkuError
from mallku_contracts.flags import Flags
from mallku_contracts.governed import CURRENT, Document, DocumentError, Kind, sign_document
from mallku_contracts.policy import Policy
from mallku_contracts.revocation import RevocationList
from mallku_deploy.backoff import delay_s
from mallku_deploy.events import Announce, Governed, NotYet, OlderFile, Restored, Untaken
from mallku_deploy.furnish import Furnished, furnish_policy, same_version
from mallku_deploy.issuer import renew
from mallku_deploy.reading import read_policy_file

RESTORE_PAUSE_S: Final = 1.0
"""After a bucket was put right, before it is put right again, seconds."""

_MS_PER_S: Final = 1_000
_T = TypeVar("_T")

Reload = Callable[[Furnished, frozenset[str]], Awaitable[None]]
"""Gives the broker the users of a furnished house, without those that were revoked."""


class Government:
    """The policy and the revocations of a house, in the buckets and in the broker.

    Args:
        connection: The house's administrator's.
        reload: May raise `MallkuError`, or `RuntimeError` while the server is down.

    Attributes:
        furnished: The house under the policy in force.
    """

    def __init__(
        self, furnished: Furnished, connection: GatewayConnection, reload: Reload, say: Announce
    ) -> None:
        self.furnished = furnished
        self._connection, self._reload, self._say = connection, reload, say
        self._administrators = {furnished.administrator.kid: furnished.administrator.public}
        self._policy = Succession(Kind.POLICY, 0)
        self._keys = Succession(Kind.KEYS, 0)
        self._flags = Succession(Kind.FLAGS, 0)
        self._revoked: frozenset[str] = frozenset()
        self._wanted: tuple[str, Policy] | None = None
        self._changed = asyncio.Event()
        self._news: list[Governed] = []

    async def seed(self) -> None:
        """See to it that the house's policy, or a higher one, is in the bucket and in the broker.

        Raises:
            ConfigurationError: the policy file has the version in force and another text, or a
                version below what the trail has seen.
            GatewayUnreachable: the buckets do not answer.
        """
        for succession in (self._policy, self._keys, self._flags):
            succession.floor = await highest_adopted(self._connection, succession.kind)
        _, revocations = await self._first(self._keys, read_revocations)
        self._revoked = _names(revocations)
        await self._first(self._flags, read_flags_document)
        batch, policy = await self._first(self._policy, read_policy_document)
        found, mine = self._policy.current, self.furnished.policy.version
        if found is None or policy is None or found.version < mine:
            await self._push_own(batch)
        elif found.version > mine:
            self._wanted = found.text, policy
        elif found.text != self.furnished.text:
            raise ConfigurationError(same_version(self.furnished.house, mine))
        await self._enforce()
        self._tell_of_older_file()

    async def keep(self) -> None:
        """Follow both buckets until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_enforcing())
            group.create_task(self._follow(self._policy, read_policy_document, self._take_policy))
            group.create_task(self._follow(self._keys, read_revocations, self._take_revocations))
            group.create_task(self._follow(self._flags, read_flags_document, self._take_flags))

    async def _first(
        self, succession: Succession, read: Callable[[Document], _T]
    ) -> tuple[Batch, _T | None]:
        batch = await kept(self._connection, succession.kind.bucket, CURRENT)
        verdict = await succession.consider(batch, self._administrators, read)
        return batch, verdict.value

    async def _push_own(self, batch: Batch) -> None:
        """Sign the house's policy, which is higher than what the bucket holds, and put it there."""
        version, floor = self.furnished.policy.version, self._policy.floor
        if version < floor:
            raise ConfigurationError(
                f"{self.furnished.house.policy}: version {version} is below {floor}, which the"
                f" trail has seen in force; write `version: {floor + 1}` into it"
            )
        document = self._sign(version, self.furnished.text)
        last = batch[-1].revision if batch else 0
        await put(self._connection, Kind.POLICY.bucket, CURRENT, document.data, revision=last)
        self._policy.current = document

    def _sign(self, version: int, text: str) -> Document:
        key, now_ms = self.furnished.administrator, int(time.time() * _MS_PER_S)
        try:
            return sign_document(Kind.POLICY, version, text.encode(), key, issued_at=now_ms)
        except DocumentError as error:
            path = self.furnished.house.policy
            raise ConfigurationError(f"{path}: it cannot be signed: {error}") from None

    async def _enforce(self) -> None:
        """Write down what is in force, and have keys, tokens and the broker's lock follow it."""
        if self._wanted is not None:
            self.furnished = furnish_policy(self.furnished, *self._wanted)
            self._wanted = None
        furnished = self.furnished
        write_private_text(furnished.house.adopted, furnished.text)
        renew(furnished.tokens, furnished.issuer, time.time())
        await self._reload(furnished, self._revoked)

    async def _follow(
        self,
        succession: Succession,
        read: Callable[[Document], _T],
        take: Callable[[Document, _T], None],
    ) -> None:
        kind = succession.kind
        async with Watch(
            self._connection,
            *place(kind.bucket, CURRENT),
            name=f"up-{kind.value}",
            troubled=self._trouble,
        ) as watch:
            while True:
                batch = await watch.next()
                verdict = await succession.consider(batch, self._administrators, read)
                if verdict.document is not None and verdict.value is not None:
                    take(verdict.document, verdict.value)
                    self._news.append(Governed(kind.value, verdict.document.version))
                    self._changed.set()
                await self._restore(succession, batch, verdict)

    def _take_policy(self, document: Document, policy: Policy) -> None:
        self._wanted = document.text, policy

    def _take_revocations(self, _document: Document, revocations: RevocationList) -> None:
        self._revoked = _names(revocations)

    def _take_flags(self, _document: Document, _flags: Flags) -> None:
        """The broker has no part in them."""

    async def _keep_enforcing(self) -> None:
        """Enforce what changed as soon as it can be; the server may be about to start again."""
        failures = 0
        while True:
            await self._changed.wait()
            self._changed.clear()
            news, self._news = self._news, []
            try:
                await self._enforce()
            except (MallkuError, RuntimeError) as error:
                failures += 1
                delay = delay_s(failures)
                self._say(NotYet("giving the broker the new permissions", str(error), delay))
                self._news = news + self._news
                self._changed.set()
                await asyncio.sleep(delay)
            else:
                failures = 0
                for each in news:
                    self._say(each)

    async def _restore(self, succession: Succession, batch: Batch, verdict: Verdict[Any]) -> None:
        """Put back what is in force where the bucket's newest entry is something else."""
        for refusal in verdict.refusals:
            self._say(Untaken(succession.kind.value, refusal.reason))
        current, kind = succession.current, succession.kind
        if current is None or not batch or batch[-1].value == current.data:
            return
        try:
            await put(
                self._connection, kind.bucket, CURRENT, current.data, revision=batch[-1].revision
            )
        except Conflict:
            return  # somebody was quicker; the watch tells what came of it
        except MallkuError as error:
            self._trouble(error)
            return
        self._say(Restored(kind.value, current.version))
        await asyncio.sleep(RESTORE_PAUSE_S)

    def _tell_of_older_file(self) -> None:
        written = read_policy_file(self.furnished.house.policy).version
        if written < self.furnished.policy.version:
            self._say(OlderFile(written, self.furnished.policy.version))

    def _trouble(self, error: MallkuError) -> None:
        self._say(NotYet("following policy, revocations and flags", error.message, RESTORE_PAUSE_S))


def _names(revocations: RevocationList | None) -> frozenset[str]:
    return frozenset(revocations.revoked if revocations else ())
