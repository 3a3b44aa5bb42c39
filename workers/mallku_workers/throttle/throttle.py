"""What each class of each principal's commands is held to, and the step itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mallku_broker.counters import counter_subject
from mallku_contracts.errors import MessageTooLarge, RateLimited
from mallku_contracts.operations import Access
from mallku_contracts.policy import Limits
from mallku_workers.message import Case
from mallku_workers.throttle.account import (
    FRESH_NS,
    NS,
    Terms,
    Verdict,
    byte_terms,
    command_cost,
    command_terms,
)
from mallku_workers.throttle.exchange import Counter, Exchange, Tab

PATIENCE_S: Final = 1.0
"""How long a command waits for the counters in all, seconds."""


@dataclass(slots=True)
class _Held:
    """What one class of one principal's commands is held to; `given` are the limits it is from."""

    principal: str
    given: Limits
    own: Limits
    cost: int
    commands: Tab
    bytes: Tab

    def byte_cost(self, size: int) -> int:
        return size * NS // self.own.bytes_per_s


class Throttle:
    """Holds every principal to its rates (GCRA, ITU-T I.371), over all workers together.

    In any `t` seconds at most `burst + rate * t` commands pass, and with several workers the credit
    of each more (`command_terms`: 50 to 100 ms of the rate, or one command), and 100 ms once.
    Classes of operations that have a rate of their own have an account of their own; the others
    share the principal's. Bytes are counted when a command has passed: a second's worth at once,
    then the debt is waited for.

    Args:
        clock: Unix nanoseconds, about the same on all workers.
        counters: None for a worker that is alone.
        workers: How many there are, about; counts only while the counters do not answer.
    """

    def __init__(
        self, clock: Callable[[], int], counters: Counter | None = None, *, workers: int = 1
    ) -> None:
        self._clock = clock
        self._exchange = Exchange(clock, counters, workers)
        self._held: dict[tuple[str, Access], _Held] = {}

    def refuse_early(self, principal: str, access: Access, limits: Limits | None) -> None:
        """Step 1: refuse what step 6 would refuse anyway, before it costs cryptography.

        `limits` are the widest that the principal may have. What is not certain passes.

        Raises:
            RateLimited
        """
        held = self._held.get((principal, access))
        if held is None or held.given is not limits:
            return
        now = self._clock()
        for tab in (held.commands, held.bytes):
            if self._exchange.look(tab, now, 0) is Verdict.REFUSE:
                raise _limited(held, now)

    async def take(self, principal: str, access: Access, limits: Limits, size: int) -> None:
        """Count one command of `size` bytes; waits only where the counters have to answer first.

        Raises:
            RateLimited: `retry_after` says after how many seconds it would have passed.
            MessageTooLarge: a command of this principal and class may not be so large.
        """
        held = self._held.get((principal, access))
        if held is None or held.given is not limits or not self._is_kept(held):
            held = self._hold(principal, access, limits)
        if size > held.own.payload_bytes:
            raise MessageTooLarge(
                f"such a command of {principal!r} has at most {held.own.payload_bytes} bytes"
            )
        if not self._passes(held, size):
            await self._insist(held, size)

    def charge(self, case: Case, reply_bytes: int) -> None:
        """Count, behind a command that passed, the bytes of its outcome's record and its reply."""
        if case.subject is None or case.operation is None or "throttle" not in case.steps:
            return
        held = self._held.get((case.subject.principal, case.operation.access))
        if held is not None:
            if not self._is_kept(held):
                # The command took so long that its account was forgotten: a new one pays.
                held = self._hold(held.principal, case.operation.access, held.given)
            cost = held.byte_cost(case.outcome_bytes + reply_bytes)
            self._exchange.pay(held.bytes, self._clock(), cost)

    async def close(self) -> None:
        """End what is under way."""
        await self._exchange.close()

    def _is_kept(self, held: _Held) -> bool:
        return self._exchange.is_kept(held.commands) and self._exchange.is_kept(held.bytes)

    def _passes(self, held: _Held, size: int) -> bool:
        now, exchange = self._clock(), self._exchange
        if exchange.look(held.commands, now, held.cost) is not Verdict.PASS:
            return False
        if exchange.look(held.bytes, now, 0) is not Verdict.PASS:
            return False
        exchange.pay(held.commands, now, held.cost)
        exchange.pay(held.bytes, now, held.byte_cost(size))
        return True

    async def _insist(self, held: _Held, size: int) -> None:
        """Refuse it, or ask the counters until it passes.

        Who paid ahead and is refused may have met others who did the same at that moment, and who
        take back what they paid, as we do: then the counters are asked once more.
        """
        ends, paid = self._clock() + int(PATIENCE_S * NS), False
        while not self._passes(held, size):
            now, exchange = self._clock(), self._exchange
            commands = exchange.look(held.commands, now, held.cost)
            volume = exchange.look(held.bytes, now, 0)
            refused = Verdict.REFUSE in {commands, volume}
            if (refused and not paid) or now > ends:
                raise _limited(held, now)
            if refused or commands is Verdict.PASS:
                await exchange.ask(held.commands if refused else held.bytes, 0)
                paid = False
            else:
                paid = commands is Verdict.UNPAID
                await exchange.ask(held.commands, held.cost if paid else 0)

    def _hold(self, principal: str, access: Access, limits: Limits) -> _Held:
        own = limits.of(access)
        same_rate = (own.rate_per_s, own.burst) == (limits.rate_per_s, limits.burst)
        same_bytes = own.bytes_per_s == limits.bytes_per_s
        held = _Held(
            principal,
            limits,
            own,
            command_cost(own),
            self._tab(principal, "commands", None if same_rate else access, command_terms(own)),
            self._tab(principal, "bytes", None if same_bytes else access, byte_terms()),
        )
        self._held[principal, access] = held
        return held

    def _tab(self, principal: str, what: str, access: Access | None, terms: Terms) -> Tab:
        account = what if access is None else f"{what}-{access.value}"
        return self._exchange.tab(counter_subject(principal, account), terms)


def _limited(held: _Held, now: int) -> RateLimited:
    waits = {
        f"{held.own.rate_per_s} commands": held.commands.account.wait(
            now, ahead=held.commands.ahead
        ),
        f"{held.own.bytes_per_s} bytes": held.bytes.account.wait(now),
    }
    rate = max(waits, key=lambda name: waits[name])
    # Where the counters were too slow to agree, waiting for them again is all there is to do.
    wait = max(waits[rate], 0) or FRESH_NS
    return RateLimited(
        f"{held.principal!r} is held to {rate} a second", retry_after=_seconds_up(wait)
    )


def _seconds_up(wait: int) -> float:
    """Whole microseconds, rounded up: who waits so long has waited long enough."""
    return -(-wait // 1_000) / 1_000_000
