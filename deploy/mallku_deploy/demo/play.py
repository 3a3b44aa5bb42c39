"""The demo from beginning to end: a temporary house, the story, the trail, and nothing left."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Final

from mallku_broker.connection import ConnectionSettings
from mallku_broker.streams import StreamSettings
from mallku_broker.trust import load_trust
from mallku_client import SecuredDatabaseInterface
from mallku_client.nats_transport import NatsTransport
from mallku_client.settings import ClientSettings
from mallku_client.trail import AuditReader
from mallku_contracts.limits import MIB
from mallku_deploy.demo import load, story
from mallku_deploy.demo.promises import Promises
from mallku_deploy.demo.rebuild import rebuild_it
from mallku_deploy.demo.testimony import prove_receipt, tell_history, verify_all
from mallku_deploy.demo.trail import Trail, read_settled_trail
from mallku_deploy.demo.wire import CountingTransport
from mallku_deploy.furnish import Furnished, furnish
from mallku_deploy.gateway import LocalGateway
from mallku_deploy.house import House
from mallku_deploy.panel import announce
from mallku_deploy.terminal import out

WORKERS: Final = 2
"""Worker processes of the demo."""

SMALL: Final = StreamSettings(
    audit_bytes=64 * MIB,
    checkpoint_bytes=8 * MIB,
    job_bytes=8 * MIB,
    dead_bytes=8 * MIB,
    result_bytes=8 * MIB,
    bucket_bytes=MIB,
)
"""A demo sets aside little: it runs where the disk is nearly full too."""

TIME_LIMIT_S: Final = 55.0
"""The whole demo, seconds; what takes longer has failed."""

TRAIL_SETTLES_S: Final = 20.0
"""For the outcomes of the last reads, and of what a killed worker had begun, seconds at most."""

KILLED: Final = "worker-1"
"""The worker that is killed under load."""

QUICK: Final = {
    "MALLKU_WORKER_CLOCK_SKEW_MS": "1000",
    "MALLKU_WORKER_RECONCILE_RUNTIME_MS": "1000",
    "MALLKU_WORKER_RECONCILE_EVERY_S": "0.5",
    "MALLKU_WORKER_RECONCILE_UNTOUCHED_S": "0.5",
}
"""Settings with which workers find out within seconds what a killed one had done; by default they
are patient, because clocks of machines differ and stores take their time."""


async def play() -> int:
    """Play the story; 0 when every promise was kept, else 1."""
    begun = time.monotonic()
    promises = Promises()
    out.print("[bold]Mallku gateway[/]: one audited door to a database, for a minute")
    with tempfile.TemporaryDirectory(prefix="mallku-demo-") as folder:
        try:
            async with asyncio.timeout(TIME_LIMIT_S):
                with _environment(QUICK):
                    await _in_house(furnish(House(Path(folder)), WORKERS), promises)
        except TimeoutError:
            promises.keep(f"the story ends within {TIME_LIMIT_S:.0f} s", kept=False)
    return verdict(promises, time.monotonic() - begun)


async def _in_house(furnished: Furnished, promises: Promises) -> None:
    promises.chapter("A gateway starts")
    gateway = LocalGateway(furnished, port=0, announce=announce, streams=SMALL)
    async with gateway:
        pids = gateway.pids
        promises.keep(
            "a NATS server and two worker processes run",
            len(pids) == WORKERS + 1,
            ", ".join(f"{name} (pid {pid})" for name, pid in sorted(pids.items())),
        )
        await _tell_story(furnished, gateway, promises)
        pids |= {f"{name}, again": pid for name, pid in gateway.pids.items()}
    promises.chapter("The gateway stops")
    promises.keep("no process is left", not any(_runs(pid) for pid in pids.values()))


async def _tell_story(furnished: Furnished, gateway: LocalGateway, promises: Promises) -> None:
    url = gateway.url
    async with AsyncExitStack() as stack:
        db, wire, settings = await _enter(stack, furnished, "mallku", url)
        operator, operator_wire, _ = await _enter(stack, furnished, "operator", url)
        stage = story.Stage(db, operator, settings, wire, promises)
        await story.write_and_read(stage)
        await story.hold_a_fire_circle(stage)
        await story.ask(stage)
        await story.refuse(stage)
        await story.attack(stage)
        await _bear_load(stage, gateway)
        await _read_the_trail(
            furnished, url, promises, db, lambda: [*wire.sent, *operator_wire.sent]
        )


async def _enter(
    stack: AsyncExitStack, furnished: Furnished, principal: str, url: str
) -> tuple[SecuredDatabaseInterface, CountingTransport, ClientSettings]:
    """A client as services have it, on a wire that counts."""
    environment = furnished.house.environment(principal, url)
    settings = ClientSettings.from_environment(environment)
    connection = ConnectionSettings(url=url, credentials=settings.nats_credentials)
    wire = CountingTransport(await NatsTransport.open(connection, principal))
    db = await SecuredDatabaseInterface.connect(settings=settings, transport=wire)
    await stack.enter_async_context(db)
    return db, wire, settings


async def _bear_load(stage: story.Stage, gateway: LocalGateway) -> None:
    promises = stage.promises
    promises.chapter(f"{load.COMMANDS:,} commands, {load.IN_FLIGHT} at a time; a worker is killed")
    before = await stage.db.collection("memory_anchors").count()
    victim = gateway.pids[KILLED]
    measured = await load.run_load(stage.db, lambda: os.kill(victim, signal.SIGKILL))
    load.show(measured)
    promises.keep(
        f"{KILLED} (pid {victim}) was killed half way, and every one is answered and verified",
        measured.count == load.COMMANDS,
        f"{measured.count / measured.seconds:,.0f} commands a second",
    )
    after = await stage.db.collection("memory_anchors").count()
    promises.keep("every document is there", after - before == load.inserts())


async def _read_the_trail(
    furnished: Furnished,
    url: str,
    promises: Promises,
    db: SecuredDatabaseInterface,
    sent: Callable[[], list[str]],
) -> None:
    promises.chapter("The audit trail testifies")
    environment = furnished.house.environment("auditor", url)
    settings = ClientSettings.from_environment(environment)
    trust = load_trust(furnished.house.trust)
    async with await AuditReader.connect(settings=settings) as reader:
        await prove_receipt(db, reader, trust, promises)
        trail = await read_settled_trail(reader, TRAIL_SETTLES_S)
        count_against(trail, promises, sent(), unheard=load.IN_FLIGHT)
        await verify_all(reader, trust, promises)
        await tell_history(reader, promises)
        await rebuild_it(furnished.house, reader, promises)


def count_against(trail: Trail, promises: Promises, sent: list[str], *, unheard: int = 0) -> None:
    """Hold the trail against the ids of the transmissions that were sent.

    Args:
        unheard: How many of them at most a killed worker had in its hands and not yet intended;
            their commands were sent again, under other ids.
    """
    kinds, intents = trail.kinds, trail.ids("intent")
    outcomes, denied = trail.ends(), trail.ids("denied")
    counted = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
    promises.keep("every intent has its outcome, and only one", intents == outcomes, counted)
    promises.keep("no transmission was executed twice", max(intents.values(), default=0) == 1)
    recorded = sum(intents.values()) + sum(denied.values())
    missing = set(sent) - set(intents) - set(denied)
    killed = f", {len(missing)} died with the killed worker and were sent again" if missing else ""
    promises.keep(
        "every command that reached a worker is on it, and nothing else",
        recorded == len(sent) - len(missing)
        and len(missing) <= unheard
        and set(intents) | set(denied) <= set(sent),
        f"{len(sent):,} sent, {recorded:,} recorded{killed}",
    )


@contextmanager
def _environment(values: Mapping[str, str]) -> Generator[None]:
    """Set variables for the processes that are started meanwhile, where nobody else did."""
    own = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(own)
    try:
        yield
    finally:
        for name in own:
            os.environ.pop(name, None)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIG_DFL)
    except ProcessLookupError:
        return False
    return True


def verdict(promises: Promises, seconds: float) -> int:
    """Say how it ended; the exit code."""
    out.print()
    if promises.broken:
        out.print(f"[bold red]{len(promises.broken)} promises were broken[/] in {seconds:.0f} s:")
        for promise in promises.broken:
            out.print(f"  [red]✗[/] {promise}")
        return 1
    out.print(f"[bold green]All {promises.kept} promises were kept[/], in {seconds:.0f} s.")
    out.print("[dim]Next: mallku-gateway up[/]")
    return 0
