"""How much a principal may ask for: of the gateway in a second, and with one command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final

from pydantic import Field

from mallku_contracts.limits import KIB, MAX_COMMAND_BYTES, MAX_COMMAND_LIFE_MS, MIB
from mallku_contracts.operations import Access
from mallku_contracts.policy.closed import Closed

MAX_RATE_PER_S: Final = 1_000_000
"""The highest rate a limit may name, commands a second."""

MAX_BYTES_PER_S: Final = 64 * KIB * MIB
"""The highest rate of bytes a limit may name, bytes a second."""

MAX_ROWS: Final = 1_000_000_000
"""The most rows that a limit may let one query have."""


class ClassLimits(Closed):
    """Limits for one class of operations; what is not given is as for all classes."""

    rate_per_s: int | None = Field(default=None, ge=1, le=MAX_RATE_PER_S)
    burst: int | None = Field(default=None, ge=1, le=MAX_RATE_PER_S)
    in_flight: int | None = Field(default=None, ge=1, le=100_000)
    payload_bytes: int | None = Field(default=None, ge=KIB, le=MAX_COMMAND_BYTES)
    bytes_per_s: int | None = Field(default=None, ge=KIB, le=MAX_BYTES_PER_S)
    rows: int | None = Field(default=None, ge=1, le=MAX_ROWS)
    runtime_ms: int | None = Field(default=None, ge=1, le=MAX_COMMAND_LIFE_MS)


class Limits(Closed):
    """How much a principal may ask for; `read`, `write` and `admin` say it for one class.

    Attributes:
        rate_per_s: Commands a second, sustained.
        burst: Commands at once on top of the rate.
        in_flight: Commands under way in each worker.
        payload_bytes: One command's whole message.
        bytes_per_s: All commands' messages, their outcomes' records and their replies together.
        rows: Rows or documents that one command may return.
        runtime_ms: How long the store may work for one command.
    """

    rate_per_s: int = Field(default=5_000, ge=1, le=MAX_RATE_PER_S)
    burst: int = Field(default=1_000, ge=1, le=MAX_RATE_PER_S)
    in_flight: int = Field(default=256, ge=1, le=100_000)
    payload_bytes: int = Field(default=MAX_COMMAND_BYTES, ge=KIB, le=MAX_COMMAND_BYTES)
    bytes_per_s: int = Field(default=256 * MIB, ge=KIB, le=MAX_BYTES_PER_S)
    rows: int = Field(default=10_000_000, ge=1, le=MAX_ROWS)
    runtime_ms: int = Field(default=MAX_COMMAND_LIFE_MS, ge=1, le=MAX_COMMAND_LIFE_MS)
    read: ClassLimits | None = None
    write: ClassLimits | None = None
    admin: ClassLimits | None = None

    def of(self, access: Access) -> Limits:
        """The limits of one class of operations, its own in the place of the common ones."""
        return self.by_class[access]

    @cached_property
    def by_class(self) -> Mapping[Access, Limits]:
        """What `of` answers, made once."""
        own = {Access.READ: self.read, Access.WRITE: self.write, Access.ADMIN: self.admin}
        return {access: self._with(given) for access, given in own.items()}

    def _with(self, own: ClassLimits | None) -> Limits:
        if own is None:
            return self
        return Limits.model_validate(self.common() | own.model_dump(exclude_none=True))

    def common(self) -> dict[str, int]:
        """The limits that hold for every class without limits of its own."""
        return {name: getattr(self, name) for name in ClassLimits.model_fields}


LEAST: Final = Limits(rate_per_s=1, burst=1, in_flight=1)
"""What somebody without any role has."""


def widest(several: Sequence[Limits]) -> Limits:
    """The largest of each limit, for every class of operations; `LEAST` for none."""
    if not several:
        return LEAST
    combined: dict[str, object] = dict(_largest([limits.common() for limits in several]))
    for access in Access:
        if any(limits.of(access) is not limits for limits in several):
            combined[access.value] = _largest([limits.of(access).common() for limits in several])
    return Limits.model_validate(combined)


def _largest(several: list[dict[str, int]]) -> dict[str, int]:
    return {name: max(values[name] for values in several) for name in several[0]}
