"""`check-history`: the order, what is asked of whom, and what is said in the end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.markup import escape

from mallku_broker.trust import load_trust
from mallku_deploy.auditing.auditor import find_auditor, open_trail
from mallku_deploy.auditing.verify import Order, verify_trail
from mallku_deploy.checking.checker import check
from mallku_deploy.checking.findings import Kind, Verdict
from mallku_deploy.checking.gathering import Holder, Wish, gather, open_holder
from mallku_deploy.extras import require_workers
from mallku_deploy.speaker import find_speaker
from mallku_deploy.terminal import out, say_aside, show_json

if TYPE_CHECKING:
    from mallku_client.trail import TrailSource
    from mallku_contracts.trust import Trust

CLEAN: Final = 0
ANOMALIES: Final = 1
UNDECIDED: Final = 2
"""Exit codes: everything holds, something does not, something could not be judged."""

_SAID_BY_US: Final = frozenset({"open", "pending", "under-way", "no-intent"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line asks for; `store` as in `open_holder`.

    Attributes:
        env_file: Of an auditor, or of a caller of an `up` that runs here.
        caller_env_file: Of the caller through whom store and ledger are looked at.
    """

    wish: Wish
    store: str | None
    look: bool
    verify: bool
    env_file: Path | None
    caller_env_file: Path | None
    principal: str | None
    data: Path | None


async def run(asked: Asked, *, compact: bool) -> int:
    """Check and say what was found; the exit code.

    Raises:
        MallkuError: something that is needed cannot be read.
    """
    require_workers()
    auditor = find_auditor(asked.env_file, asked.data)
    speaker = None
    if asked.look and asked.store is None:
        named = asked.caller_env_file or asked.env_file
        speaker = find_speaker(named, asked.principal, asked.data)
    trust = load_trust(auditor.require("trust_file", "whose workers are believed"))
    async with await open_trail(auditor) as trail, open_holder(speaker, asked.store) as holder:
        verdict = await judge_all(trail, holder, asked.wish, trust if asked.verify else None)
    if compact:
        show_json(verdict.plain(), compact=True)
    else:
        show(verdict)
    return exit_code(verdict)


async def judge_all(
    trail: TrailSource, holder: Holder | None, wish: Wish, trust: Trust | None
) -> Verdict:
    """Gather and judge; with `trust` the trail is verified by itself as well."""
    verdict = check(await gather(trail, holder, wish))
    if trust is not None:
        await verify_into(verdict, trail, trust)
    return verdict


async def verify_into(verdict: Verdict, trail: TrailSource, trust: Trust) -> None:
    """Add what a verification of the trail by itself finds, but for what was said already."""
    report = await verify_trail(trail, Order(trust=trust, quiet=True))
    for finding in report.findings.accusations:
        if finding.kind.value not in _SAID_BY_US:
            verdict.add(Kind.TRAIL, finding.kind.value, finding.text)


def exit_code(verdict: Verdict) -> int:
    """What the shell is told."""
    if verdict.anomalies:
        return ANOMALIES
    return UNDECIDED if verdict.undecided else CLEAN


def show(verdict: Verdict) -> None:
    """The verdict for people: what was looked at, what was found, and one line in the end."""
    calls = ", ".join(f"{count:,} {what}" for what, count in sorted(verdict.calls.items()))
    out.print(f"calls      {sum(verdict.calls.values()):,} ({calls})")
    out.print(f"trail      {verdict.intents:,} intents, {verdict.commits:,} commits")
    out.print(f"documents  {verdict.documents:,} with {verdict.operations:,} operations")
    out.print(f"store      {verdict.compared:,} of {verdict.looked:,} documents compared")
    for finding in verdict.findings:
        colour = "red" if finding.accuses else "yellow"
        about = f" {finding.about}" if finding.about else ""
        out.print(f"[{colour}]{finding.kind}[/]{escape(about)}: {escape(finding.text)}")
    hidden = sum(verdict.counts.values()) - len(verdict.findings)
    if hidden:
        say_aside(f"and {hidden:,} more")
    if verdict.anomalies:
        out.print(f"[bold red]{verdict.anomalies:,} anomalies[/]")
    elif verdict.undecided:
        out.print(f"[yellow]no anomaly; {verdict.undecided:,} could not be judged[/]")
    else:
        out.print("[bold green]no anomaly[/]")
