"""Accounts and the shared counters: what is owed goes there, what others have used comes back."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, Protocol

import structlog

from mallku_broker.counters import NotCounted
from mallku_workers.throttle.account import NS, SLACK_NS, Account, Terms, Verdict

ANSWER_S: Final = 0.25
"""How long a counter may take to answer, seconds; then this worker goes on alone."""

SETTLE_S: Final = 1.0
"""What is owed is told to the counter after this long at the latest, seconds."""

IDLE_S: Final = 10.0
"""An account that says no more than a new one would is forgotten after this long, seconds."""

_log = structlog.get_logger("mallku.throttle")


class Counter(Protocol):
    """What the throttle needs of the broker: numbers that all workers add to."""

    async def add(
        self, subject: str, amount: int, *, once: str | None = None, timeout_s: float
    ) -> int | None:
        """Add, and return the sum; None where `once` was seen. `NotCounted` without an answer."""
        ...


class _Waiting(NamedTuple):
    answered: asyncio.Future[None]
    cost: int


class Tab:
    """An account, where its counter stands, and who waits for the counter's answer.

    Attributes:
        line: Who waits, and what each will cost.
        ahead: What those in line will cost together.
        settling: The exchange with the counter that is under way.
    """

    __slots__ = ("account", "ahead", "line", "settling", "subject")

    def __init__(self, terms: Terms, subject: str) -> None:
        self.account = Account(terms)
        self.subject = subject
        self.ahead = 0
        self.line: deque[_Waiting] = deque()
        self.settling: asyncio.Task[None] | None = None

    def leave_line(self, most: int) -> tuple[list[_Waiting], int]:
        """The first in line, and more as long as they cost `most` together; and what they cost."""
        first: list[_Waiting] = []
        ahead = 0
        while self.line and (not first or ahead + self.line[0].cost <= most):
            first.append(self.line.popleft())
            ahead += first[-1].cost
        self.ahead -= ahead
        return first, ahead


class Exchange:
    """Keeps the accounts of one worker in step with the counters; one exchange each at a time.

    While the counters do not answer, everything that passes costs as if each of `workers` let it
    pass: the worker gives out its share alone. The first answer ends that.

    Args:
        clock: Unix nanoseconds.
        counters: None for a worker that is alone, and gives out everything.
    """

    def __init__(self, clock: Callable[[], int], counters: Counter | None, workers: int) -> None:
        self._clock = clock
        self._counters = counters
        self._shares = 1 if counters is None else workers
        self._tabs: dict[str, Tab] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self.alone = counters is None

    def tab(self, subject: str, terms: Terms) -> Tab:
        """The account whose counter stands at `subject`, held to these terms from now on."""
        tab = self._tabs.get(subject)
        if tab is None:
            tab = self._tabs[subject] = Tab(terms, subject)
        tab.account.terms = terms
        if self._sweeping is None and self._counters is not None:
            self._sweep_later()
        return tab

    def is_kept(self, tab: Tab) -> bool:
        """Whether the account was not forgotten: those that were idle are."""
        return self._tabs.get(tab.subject) is tab

    def look(self, tab: Tab, now: int, cost: int) -> Verdict:
        """Whether one more command of this cost passes; a cost not known yet is 0."""
        if not self.alone:
            return tab.account.look(now, cost, ahead=tab.ahead)
        return Verdict.REFUSE if tab.account.wait(now) > 0 else Verdict.PASS

    def pay(self, tab: Tab, now: int, cost: int) -> None:
        """Let something pass, and tell the counter when enough is owed."""
        if self.alone:
            tab.account.spend_alone(now, cost * self._shares)
            return
        tab.account.spend(now, cost)
        if tab.settling is None and tab.account.is_due:
            self._settle(tab)

    async def ask(self, tab: Tab, cost: int) -> None:
        """Stand in line, with `cost` paid ahead, until the counter has answered or has not."""
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        tab.line.append(_Waiting(answered, cost))
        tab.ahead += cost
        if tab.settling is None:
            self._settle(tab)
        await answered

    async def close(self) -> None:
        """End what is under way; what is owed is not told to the counters any more."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        tasks = [tab.settling for tab in self._tabs.values() if tab.settling is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _settle(self, tab: Tab) -> None:
        tab.settling = asyncio.ensure_future(self._settle_all(tab))

    async def _settle_all(self, tab: Tab) -> None:
        """Tell the counter what is owed, again while somebody waits or has paid for nothing."""
        try:
            while True:
                await self._report(tab)
                await asyncio.sleep(0)  # who waited passes first; what is left is given back
                settled = not tab.line and tab.account.owed >= 0 and not tab.account.is_due
                if settled or self.alone:
                    return
        finally:
            tab.settling = None
            _wake(tab.line)
            tab.line.clear()
            tab.ahead = 0

    async def _report(self, tab: Tab) -> None:
        account = tab.account
        line, ahead = tab.leave_line(account.most_ahead(self._clock()))
        try:
            value = await self._add(tab, account.report(ahead))
        except NotCounted as error:
            if error.sent:
                account.not_answered()
            else:
                account.not_sent()
            self._lose(error)
        else:
            if shift := account.shift(self._clock(), value):
                value = await self._move(tab, value, shift)
            account.heard(self._clock(), value)
        finally:
            _wake(line)

    async def _move(self, tab: Tab, value: int, shift: int) -> int:
        """Move a counter that does not stand where it should; where it then stood for us.

        Of the workers that move it in the same moment only one does, thanks to the message id. Two
        do where a moment ends between them: the second finds that it went twice as far as it
        should, and takes its own shift back.
        """
        once = f"{tab.subject}.{self._clock() // SLACK_NS}"
        try:
            moved = await self._add_once(tab, shift, once)
            if moved is None:
                return await self._add(tab, 0)
            others = moved - value - shift
            if others * 10 >= shift * 9 > 0:
                return await self._add(tab, -shift)
        except NotCounted as error:
            self._lose(error)
        return value + shift

    async def _add(self, tab: Tab, amount: int) -> int:
        value = await self._add_once(tab, amount, None)
        if value is None:
            raise NotCounted("the counter did not say where it stands", sent=True)
        return value

    async def _add_once(self, tab: Tab, amount: int, once: str | None) -> int | None:
        if self._counters is None:
            raise NotCounted("there are no counters", sent=False)
        value = await self._counters.add(tab.subject, amount, once=once, timeout_s=ANSWER_S)
        if self.alone:
            self.alone = False
            _log.info("counters_answer")
        return value

    def _lose(self, error: NotCounted) -> None:
        if not self.alone:
            self.alone = True
            _log.warning("counters_silent", reason=str(error), shares=self._shares)

    def _sweep_later(self) -> None:
        self._sweeping = asyncio.get_running_loop().call_later(SETTLE_S, self._sweep)

    def _sweep(self) -> None:
        """Settle what is owed, look whether silent counters answer, forget who is idle."""
        now, probed = self._clock(), False
        for subject, tab in list(self._tabs.items()):
            if tab.settling is not None:
                continue
            tab.account.forget_little()
            if self.alone:
                if not probed:
                    self._settle(tab)
                probed = True
            elif tab.account.owed:
                self._settle(tab)
            elif tab.account.idle_since(now) > IDLE_S * NS:
                del self._tabs[subject]
        self._sweeping = None
        if self._tabs:
            self._sweep_later()


def _wake(line: Iterable[_Waiting]) -> None:
    for answered, _ in line:
        if not answered.done():
            answered.set_result(None)
