"""The order of things: one role after the other, and for each what it must not and where it cannot.

Connections that only watch stay open until the end; every role is tried on a fresh one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from mallku_broker.events import ConnectionLost
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable
from mallku_deploy.doctor.attempts import (
    Call,
    Diversion,
    Finding,
    Kind,
    Probe,
    Target,
    Verdict,
)
from mallku_deploy.doctor.diversions import diversions, own_call
from mallku_deploy.doctor.lists import Grounds, probes
from mallku_deploy.doctor.roles import Examined, Role
from mallku_deploy.doctor.tries import CannotTell, Line, ask, open_line, try_probe
from mallku_deploy.doctor.watches import FindLine, Watch, watch

REFUSED: Final = "refused"
NOWHERE: Final = "nowhere"
ANSWERED: Final = "answered"
SHUT_OUT: Final = "shut out"

_WORK: Final = "does its own work"
_CONNECT: Final = "connects"
_OPEN: Final = "the server's answers arrive elsewhere already; this one could not be taken back"


async def examine(examined: Examined, mark: str) -> AsyncGenerator[Finding]:
    """Try everything with everybody, and yield what was seen, role by role.

    Args:
        mark: A random name (`[a-z0-9-]`), for everything that is made up.
    """
    grounds = Grounds(examined.policy, mark)
    async with AsyncExitStack() as stack:
        find = _finder(examined.roles, stack)
        for role in examined.roles:
            async for finding in _examine_role(role, examined, grounds, find):
                yield finding
    for kind, name, why in examined.missing:
        yield Finding(kind, name, _CONNECT, (), ANSWERED, "", Verdict.UNTRIED, why)


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


@asynccontextmanager
async def _line(role: Role) -> AsyncGenerator[Line]:
    try:
        line = await open_line(role)
    except (ConfigurationError, GatewayUnreachable) as error:
        raise CannotTell(f"{role.name}: {error.message}") from None
    try:
        yield line
    finally:
        await line.connection.close()


async def _examine_role(
    role: Role, examined: Examined, grounds: Grounds, find: FindLine
) -> AsyncGenerator[Finding]:
    out = role.name in examined.policy.revoked and role.kind is not Kind.CALLER
    try:
        async with _line(role) as line:
            if out:
                why = "it is revoked, and connects"
                yield _finding(role, _CONNECT, (), (SHUT_OUT, "let in"), Verdict.HOLE, why)
            yield await _work(line, own_call(role.kind, role.name, grounds))
            for probe in probes(role.kind, role.name, grounds):
                yield await _probed(line, probe)
            present = {each.name for each in examined.roles if each.name in examined.policy.principals}
            wanted = diversions(role.kind, role.name, grounds, present)
            async for finding in _diverted(line, wanted, find):
                yield finding
    except CannotTell as error:
        verdict = Verdict.PROVEN if out else Verdict.UNTRIED
        seen = SHUT_OUT if out else ""
        yield _finding(role, _CONNECT, (), (SHUT_OUT if out else ANSWERED, seen), verdict, str(error))


async def _work(line: Line, call: Call | None) -> Finding:
    """Whether these credentials open anything: a refusal of everything would prove nothing."""
    if call is None:
        return _finding(line.role, _WORK, (), ("", ""), Verdict.PROVEN, "it asks nothing")
    try:
        await ask(line, call)
    except CannotTell as error:
        return _untried(line.role, _WORK, (call.subject,), ANSWERED, str(error))
    return _finding(line.role, _WORK, (call.subject,), (ANSWERED, ANSWERED), Verdict.PROVEN)


async def _probed(line: Line, probe: Probe) -> Finding:
    tried = tuple(map(str, probe.attempts))
    try:
        through = await try_probe(line, probe)
    except CannotTell as error:
        return _untried(line.role, probe.title, tried, REFUSED, str(error))
    if not through:
        return _finding(line.role, probe.title, tried, (REFUSED, REFUSED), Verdict.PROVEN)
    verdict = Verdict.WIDER if probe.accepted else Verdict.HOLE
    shown = f"{len(through)} of {len(tried)} let through"
    why = probe.accepted or f"let through: {', '.join(map(str, through))}"
    return _finding(line.role, probe.title, tried, (REFUSED, shown), verdict, why)


async def _diverted(
    line: Line, wanted: list[Diversion], find: FindLine
) -> AsyncGenerator[Finding]:
    """The grave ones last, and only where the others were proven: they could leave something."""
    hole = False
    for diversion in sorted(wanted, key=lambda each: each.grave):
        if diversion.grave and hole:
            tried = tuple(target.subject for target in diversion.targets)
            yield _untried(line.role, diversion.title, tried, NOWHERE, _OPEN)
            continue
        finding = await _divert(line, diversion, find)
        hole = hole or (finding.verdict is not Verdict.PROVEN and not diversion.accepted)
        yield finding


async def _divert(line: Line, diversion: Diversion, find: FindLine) -> Finding:
    tried = tuple(target.subject for target in diversion.targets)
    try:
        reached = await _reached(line, diversion, find)
    except CannotTell as error:
        return _untried(line.role, diversion.title, tried, NOWHERE, str(error))
    if not reached:
        return _finding(line.role, diversion.title, tried, (NOWHERE, NOWHERE), Verdict.PROVEN)
    verdict = Verdict.WIDER if diversion.accepted else Verdict.HOLE
    why = diversion.accepted or f"arrived: {', '.join(reached)}"
    shown = f"{len(reached)} of {len(tried)} arrived"
    return _finding(line.role, diversion.title, tried, (NOWHERE, shown), verdict, why)


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
    """Ask once for each target, and then for oneself: that answer comes after the others."""
    try:
        for target in targets:
            line.connection.post(call.subject, call.body, reply=target.subject, header=call.header)
    except ConnectionLost as error:
        raise CannotTell(error.message) from None
    await ask(line, call)


async def _quietly(end: Awaitable[None]) -> None:
    """What was made for a try is gone by itself soon; that it could not be removed proves nothing."""
    try:
        await end
    except (CannotTell, ConnectionLost):
        return


def _finding(
    role: Role,
    title: str,
    tried: tuple[str, ...],
    outcome: tuple[str, str],
    verdict: Verdict,
    why: str = "",
) -> Finding:
    expected, seen = outcome
    return Finding(role.kind, role.name, title, tried, expected, seen, verdict, why)


def _untried(role: Role, title: str, tried: tuple[str, ...], expected: str, why: str) -> Finding:
    return Finding(role.kind, role.name, title, tried, expected, "", Verdict.UNTRIED, why)
