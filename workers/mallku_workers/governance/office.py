"""One kind of administrative document: the one in force, and how the next one takes its place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Generic, Protocol, Self, TypeVar

import structlog

from mallku_broker.administrators import load_administrators
from mallku_broker.adoptions import WATCHING_WORKER, highest_adopted
from mallku_broker.buckets import Batch, Watch, place
from mallku_broker.connection import GatewayConnection
from mallku_broker.succession import Refusal, Succession
from mallku_contracts.errors import ConfigurationError, MallkuError
from mallku_contracts.governed import CURRENT, Document, Kind, adopted, refused
from mallku_contracts.subjects import CommandSubject
from mallku_contracts.trust import Keys

CATCH_UP_S: Final = 2.0
"""How long a bucket may lag behind the trail when a worker starts, seconds."""

_T = TypeVar("_T")
_log = structlog.get_logger("mallku.governance")


class Trail(Protocol):
    """Where adoptions and refusals are written down."""

    def administrative(self, subject: CommandSubject, kind: str, **fields: Any) -> None:
        """Put a record on the trail; nobody waits for it."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the offices of one worker share.

    Attributes:
        instance: Names the worker among those who watch the buckets.
        trust_file: Names the administrators; read again for every change.
    """

    connection: GatewayConnection
    trail: Trail
    instance: str
    trust_file: Path


class Office(Generic[_T]):
    """The document of one kind in force; `async with` reads what the bucket keeps.

    Args:
        read: The body into a value; `DocumentError` when it cannot be. Runs in a thread.

    Attributes:
        value: What the document in force says; None before there is one.
    """

    def __init__(
        self, kind: Kind, read: Callable[[Document], _T], surroundings: Surroundings
    ) -> None:
        self.value: _T | None = None
        self._kind, self._read, self._around = kind, read, surroundings
        self._administrators: Keys = {}
        self._succession = Succession(kind, 0)
        self._watch = Watch(
            surroundings.connection,
            *place(kind.bucket, CURRENT),
            name=f"{WATCHING_WORKER}-{surroundings.instance}",
            troubled=self._trouble,
        )

    async def __aenter__(self) -> Self:
        """Put the best document of the bucket in force; there may be none where none ever was.

        Raises:
            ConfigurationError: the trail has seen a document, and the bucket holds none as high.
            GatewayUnreachable: the trail does not answer.
        """
        floor = await highest_adopted(self._around.connection, self._kind)
        self._succession = Succession(self._kind, floor)
        await self._watch.__aenter__()
        try:
            await self._consider(await self._watch.next())
            await self._catch_up(floor)
        except BaseException:
            await self._watch.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._watch.__aexit__(kind, error, trace)

    async def keep(self) -> None:
        """Follow every change until cancelled, whatever it is."""
        while True:
            batch = await self._watch.next()
            try:
                await self._consider(batch)
            except Exception as error:  # noqa: BLE001 - whatever is in a bucket, the next may be good
                _log.error("document_not_considered", kind=self._kind.value, exc_info=error)

    async def _consider(self, batch: Batch) -> None:
        administrators = await asyncio.to_thread(self._load_administrators)
        verdict = await self._succession.consider(batch, administrators, self._read)
        if verdict.document is not None:
            self.value = verdict.value
            self._record(verdict.document)
        for refusal in verdict.refusals:
            self._refuse(refusal)

    def _record(self, document: Document) -> None:
        _log.info("adopted", kind=self._kind.value, version=document.version)
        self._around.trail.administrative(
            adopted(self._kind, document.version),
            "done",
            kid=document.key.kid,
            command=document.parts,
            policy=document.version if self._kind is Kind.POLICY else None,
        )

    def _refuse(self, refusal: Refusal) -> None:
        _log.warning(
            "refused", kind=self._kind.value, revision=refusal.revision, reason=refusal.reason
        )
        self._around.trail.administrative(
            refused(self._kind),
            "denied",
            code=f"{self._kind.value}_refused",
            position=refusal.revision,
            reason=refusal.reason,
        )

    async def _catch_up(self, floor: int) -> None:
        """A server of a cluster may show a bucket that lags behind the trail: wait for it a while.

        Raises:
            ConfigurationError: after `CATCH_UP_S` it still holds nothing as high as `floor`.
        """
        try:
            async with asyncio.timeout(CATCH_UP_S):
                while floor and self._succession.current is None:
                    await self._consider(await self._watch.next())
        except TimeoutError:
            raise ConfigurationError(
                f"the bucket {self._kind.bucket} holds no document of version {floor} or higher,"
                " which the trail has seen in force, signed by an administrator of the trust file;"
                " sign and push one with a higher version"
            ) from None

    def _load_administrators(self) -> Keys:
        try:
            self._administrators = load_administrators(self._around.trust_file)
        except ConfigurationError as error:
            _log.warning("administrators_not_read", reason=error.message)
        return self._administrators

    def _trouble(self, error: MallkuError) -> None:
        _log.warning("bucket_not_watched", bucket=self._kind.bucket, reason=error.message)
