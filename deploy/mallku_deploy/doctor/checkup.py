"""The order of things: one role after the other, and for each what it must not and where it cannot.

Connections that only watch stay open until the end; every role is tried on a fresh one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from mallku_broker.accounts import (
    AUDITED_STREAMS,
)
from mallku_broker.events import ConnectionLost
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable
from mallku_contracts.subjects import inbox_prefix
from mallku_deploy.doctor.attempts import (
    Call,
    Diversion,
    Finding,
    Heard,
    Kind,
    Outcome,
    Probe,
    Target,
    Verdict,
)
from mallku_deploy.doctor.diversions import diversions, own_call
from mallku_deploy.doctor.keeping import TITLE, keeping
from mallku_deploy.doctor.lists import Grounds, forbidden_replies, probes, questions
from mallku_deploy.doctor.roles import Examined, Role
from mallku_deploy.doctor.tries import (
    CannotTell,
    Line,
    ask,
    ask_in_vain,
    open_line,
    try_probe,
    try_responses,
)
from mallku_deploy.doctor.watches import FindLine, ListenerWatch, Watch, watch

REFUSED: Final = "refused"
NOWHERE: Final = "nowhere"
ANSWERED: Final = "answered"
TAKEN: Final = "taken"
SHUT_OUT: Final = "shut out"

REFUSES_US: Final = "the broker refuses us"
"""How a connection says that the server knows these credentials not, or not any more."""

_WORK: Final = "does its own work"
_CONNECT: Final = "connects"
_NO_WORK: Final = "it does not even do its own work, so nothing follows from silence"
_ALREADY: Final = "the server's answers arrive elsewhere already; this one could not be taken back"


async def examine(examined: Examined, mark: str) -> AsyncGenerator[Finding]:
    """Try everything with everybody, and yield what was seen, role by role.

    Args:
        mark: A random name (`[a-z0-9-]`), for everything that is made up.

    Raises:
        GatewayUnreachable: nobody answers at the gateway's URL.
    """
    grounds = Grounds(examined.policy, mark)
    await _reach(examined.roles)
    async with AsyncExitStack() as stack:
        find = _finder(tuple(role for role in examined.roles if not _out(role, examined)), stack)
        for role in examined.roles:
            async for finding in _examine_role(role, examined, grounds, find):
                yield finding
    for kind, name, why in examined.missing:
        yield Finding(kind, name, _CONNECT, (), ANSWERED, "", Verdict.UNTRIED, why)


async def _reach(roles: tuple[Role, ...]) -> None:
    """Say at once that nobody is there, and not once for each role."""
    for role in roles[:1]:
        with contextlib.suppress(ConfigurationError):
            await (await open_line(role)).connection.close()


def _finder(roles: tuple[Role, ...], stack: AsyncExitStack) -> FindLine:
    """Opens a connection to watch with when it is asked for first: by name, or by kind."""
    lines: dict[str, Line] = {}

    async def find(who: str) -> Line:
        role = next((role for role in roles if who in {role.name, role.kind}), None)
        if role is None:
            raise CannotTell(f"it takes credentials of {who} to see whether anything arrives")
        if role.name not in lines:
            lines[role.name] = await stack.enter_async_context(_line(role))
        return lines[role.name]

    return find


class ShutOut(CannotTell):
    """The server does not let somebody in."""


@asynccontextmanager
async def _line(role: Role) -> AsyncGenerator[Line]:
    try:
        line = await open_line(role)
    except (ConfigurationError, GatewayUnreachable) as error:
        refused = error.message.startswith(REFUSES_US)
        kind = ShutOut if refused else CannotTell
        raise kind(f"{role.name}: {error.message}") from None
    try:
        yield line
    finally:
        await line.connection.close()


async def _examine_role(
    role: Role, examined: Examined, grounds: Grounds, find: FindLine
) -> AsyncGenerator[Finding]:
    out = _out(role, examined)
    try:
        async with _line(role) as line:
            if out:
                why = "it is revoked, and connects"
                yield _finding(role, _CONNECT, (), _open(SHUT_OUT, "let in", why, ""))
            work = await _work(line, grounds, find)
            yield work
            for probe in probes(role.kind, role.name, grounds):
                yield await _probed(line, probe)
            if role.kind is Kind.AUDITOR:
                yield _finding(role, TITLE, tuple(AUDITED_STREAMS), await keeping(line))
            if role.kind is Kind.BUS:
                yield await _responded(line, grounds, find)
            wanted = diversions(role.kind, role.name, grounds, _present(examined))
            if work.verdict is Verdict.UNTRIED:
                for each in wanted:
                    yield _finding(role, each.title, each.tried, _untried(NOWHERE, _NO_WORK))
                return
            async for finding in _diverted(line, wanted, find):
                yield finding
    except CannotTell as error:
        shut = out and isinstance(error, ShutOut)
        why = str(error)
        yield _finding(
            role, _CONNECT, (), _proven(SHUT_OUT, why) if shut else _untried(ANSWERED, why)
        )


def _out(role: Role, examined: Examined) -> bool:
    """Whether the broker has to shut somebody out, because nobody else knows of them."""
    return role.name in examined.policy.revoked and role.kind is not Kind.CALLER


def _present(examined: Examined) -> set[str]:
    """The principals that we can listen as."""
    principals = examined.policy.principals
    return {
        role.name for role in examined.roles if role.name in principals and not _out(role, examined)
    }


async def _work(line: Line, grounds: Grounds, find: FindLine) -> Finding:
    """Whether these credentials open anything: a refusal of everything would prove nothing."""
    role = line.role
    call = own_call(role.kind, role.name, grounds)
    tried = (call.subject,) if call else ()
    try:
        if call is not None and call.silent:
            await ask_in_vain(line, call)
            return _finding(role, _WORK, tried, _proven(TAKEN))
        if call is not None:
            await ask(line, call)
        elif role.kind is Kind.BUS:
            tried = (await _reply(grounds, find),)
        else:
            return _finding(role, _WORK, (), _proven("", "its policy allows nothing"))
    except CannotTell as error:
        return _finding(role, _WORK, tried, _untried(ANSWERED, str(error)))
    return _finding(role, _WORK, tried, _proven(ANSWERED))


async def _reply(grounds: Grounds, find: FindLine) -> str:
    """Have a worker's bus reply to somebody; returns where, or raises `CannotTell`."""
    for who in (Kind.CALLER, Kind.INSPECTOR):
        with contextlib.suppress(CannotTell):
            name = (await find(who)).role.name
            break
    else:
        raise CannotTell("it takes credentials of a caller to see whether a reply arrives")
    listening = ListenerWatch(Heard(f"{inbox_prefix(name)}.{grounds.mark}.2", name), find)
    try:
        await listening.begin()
        await listening.arrived()
    finally:
        await _quietly(listening.end())
    return f"{inbox_prefix(name)}.>"


async def _responded(line: Line, grounds: Grounds, find: FindLine) -> Finding:
    """Whether being asked for an answer somewhere is a permission to send it there."""
    title, tried = "answer wherever it is asked", forbidden_replies(grounds)
    try:
        asker, subject = await _asker(grounds, find)
        through = await try_responses(line, asker, subject, tried)
    except CannotTell as error:
        return _finding(line.role, title, tried, _untried(REFUSED, str(error)))
    if not through:
        return _finding(line.role, title, tried, _proven(REFUSED))
    what = f"let through: {', '.join(through)}"
    return _finding(
        line.role, title, tried, _open(REFUSED, f"{len(through)} let through", what, "")
    )


async def _asker(grounds: Grounds, find: FindLine) -> tuple[Line, str]:
    for name, subject in questions(grounds):
        with contextlib.suppress(CannotTell):
            return await find(name), subject
    raise CannotTell("it takes credentials of a caller who may ask for pages")


async def _probed(line: Line, probe: Probe) -> Finding:
    tried = tuple(map(str, probe.attempts))
    try:
        through = await try_probe(line, probe)
    except CannotTell as error:
        return _finding(line.role, probe.title, tried, _untried(REFUSED, str(error)))
    if not through:
        return _finding(line.role, probe.title, tried, _proven(REFUSED))
    seen = f"{len(through)} let through"
    what = f"let through: {', '.join(map(str, through))}"
    return _finding(line.role, probe.title, tried, _open(REFUSED, seen, what, probe.accepted))


async def _diverted(line: Line, wanted: list[Diversion], find: FindLine) -> AsyncGenerator[Finding]:
    """The grave ones last, and only where the others were proven: they could leave something."""
    hole = False
    for diversion in sorted(wanted, key=lambda each: each.grave):
        if diversion.grave and hole:
            tried = diversion.tried
            yield _finding(line.role, diversion.title, tried, _untried(NOWHERE, _ALREADY))
            continue
        finding = await _divert(line, diversion, find)
        hole = hole or (finding.verdict is not Verdict.PROVEN and not diversion.accepted)
        yield finding


async def _divert(line: Line, diversion: Diversion, find: FindLine) -> Finding:
    tried = diversion.tried
    try:
        reached = await _reached(line, diversion, find)
    except CannotTell as error:
        return _finding(line.role, diversion.title, tried, _untried(NOWHERE, str(error)))
    if not reached:
        return _finding(line.role, diversion.title, tried, _proven(NOWHERE))
    seen, what = f"{len(reached)} arrived", f"arrived: {', '.join(reached)}"
    return _finding(
        line.role, diversion.title, tried, _open(NOWHERE, seen, what, diversion.accepted)
    )


async def _reached(line: Line, diversion: Diversion, find: FindLine) -> list[str]:
    """Where the answer arrived, of all places where it was asked for."""
    watches = [(target, watch(target, find)) for target in diversion.targets]
    begun: list[Watch] = []
    try:
        for _, each in watches:
            begun.append(each)
            await each.begin()
        if diversion.prepare is not None:
            await ask(line, diversion.prepare)
        await _send(line, diversion.call, diversion.targets)
        arrived = await asyncio.gather(*(each.arrived() for _, each in watches))
        return [target.subject for (target, _), came in zip(watches, arrived, strict=True) if came]
    finally:
        await asyncio.gather(*(_quietly(each.end()) for each in begun))


async def _send(line: Line, call: Call, targets: tuple[Target, ...]) -> None:
    """Ask once for each target, and then for oneself: that answer would come after the others."""
    try:
        for target in targets:
            line.connection.post(call.subject, call.body, reply=target.subject, header=call.header)
    except ConnectionLost as error:
        raise CannotTell(error.message) from None
    await (ask_in_vain if call.silent else ask)(line, call)


async def _quietly(end: Awaitable[None]) -> None:
    """What was made for a try is gone by itself soon; failing to remove it proves nothing."""
    try:
        await end
    except (CannotTell, ConnectionLost):
        return


def _finding(role: Role, title: str, tried: tuple[str, ...], outcome: Outcome) -> Finding:
    return Finding(role.kind, role.name, title, tried, *outcome)


def _untried(expected: str, why: str) -> Outcome:
    return Outcome(expected, "", Verdict.UNTRIED, why)


def _proven(expected: str, why: str = "") -> Outcome:
    return Outcome(expected, expected, Verdict.PROVEN, why)


def _open(expected: str, seen: str, what: str, accepted: str) -> Outcome:
    """It was let through: a hole, unless the gateway can live with it."""
    verdict = Verdict.WIDER if accepted else Verdict.HOLE
    return Outcome(expected, seen, verdict, accepted or what)
