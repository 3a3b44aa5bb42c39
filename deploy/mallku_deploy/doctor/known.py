"""Where the broker's lock cannot be as narrow as the worker's, for those that no policy describes.

What a policy makes wider is `mallku_broker.widening`'s to say.
"""

from __future__ import annotations

from collections.abc import Iterator

from mallku_broker.accounts import (
    AUDITOR_PREFIX,
)
from mallku_broker.permissions import Widening
from mallku_broker.streams import AUDIT
from mallku_broker.widening import widenings
from mallku_contracts.policy import Policy
from mallku_contracts.subjects import INBOX_ROOT, PREFIX
from mallku_deploy.doctor.attempts import Kind

_ANSWERS = (
    "the server's answers to whoever may use JetStream go to any subject of its account;"
    " workers refuse what is not signed, and checkpoints do not vouch for it"
)


def every_widening(policy: Policy) -> list[Widening]:
    """Where the broker lets through what a worker refuses, or nobody can, and why."""
    return [*widenings(policy), *_of_principals(policy), *_of_workers()]


def _of_principals(policy: Policy) -> Iterator[Widening]:
    for name, principal in sorted(policy.principals.items()):
        if principal.kind == "administrator":
            yield Widening(name, f"{PREFIX}.audit.>", _ANSWERS)
        if principal.kind == "auditor":
            subject = f"{AUDITOR_PREFIX}.CONSUMER.CREATE.{AUDIT}.>"
            yield Widening(
                name,
                subject,
                "a consumer may push to any subject of RECORDS; it reaches only those who listen to"
                " exactly that one, and nobody does",
            )


def _of_workers() -> Iterator[Widening]:
    yield Widening(Kind.BUS, f"{INBOX_ROOT}.>", "replies go to whoever asked; they are signed")
    yield Widening(Kind.RECORDS, "$KV.>", _ANSWERS)
