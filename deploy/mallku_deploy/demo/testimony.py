"""The trail testifies: it verifies as a whole, and a single receipt does so without any gateway."""

from __future__ import annotations

from typing import Final

from mallku_client import SecuredDatabaseInterface
from mallku_client.trail import AuditReader
from mallku_contracts.trail.proof import ProofError, Proven, ReceiptBundle, check_bundle
from mallku_contracts.trail.verification import Report
from mallku_contracts.trust import Trust
from mallku_deploy.auditing.history import collect
from mallku_deploy.auditing.prove import prove
from mallku_deploy.auditing.verify import Order, verify_trail
from mallku_deploy.auditing.versions import Version, Wanted
from mallku_deploy.demo.promises import Promises
from mallku_deploy.demo.story import ANCHOR
from mallku_deploy.house import DATABASE

COVERED_WITHIN_S: Final = 10.0
"""From a mutation's reply until its worker's checkpoint covers it, seconds."""


async def verify_all(reader: AuditReader, trust: Trust, promises: Promises) -> None:
    """Numbers, hashes, roots, and the caller's signature of every intent."""
    report = await verify_trail(reader, Order(trust=trust, quiet=True))
    promises.keep("the whole trail verifies", report.clean, _seen(report))


def _seen(report: Report) -> str:
    if not report.clean:
        return "; ".join(f"{each.kind}: {each.text}" for each in report.findings.accusations[:3])
    return (
        f"{report.records:,} records, {report.signatures:,} callers' signatures,"
        f" {report.checkpoints} checkpoints of {len(report.workers)} workers"
    )


async def tell_history(reader: AuditReader, promises: Promises) -> None:
    """What became of the anchor that the story began with: who, when, and what changed."""
    found = await collect(reader, Wanted(DATABASE, "memory_anchors", ANCHOR["_key"]))
    versions = found.versions()
    promises.keep(
        "the trail tells a document's history: who, when, what changed",
        [one.operation for one in versions[:2]] == ["insert", "update"],
        "; ".join(map(_told, versions[:2])),
    )


def _told(version: Version) -> str:
    changed = ", ".join(".".join(change.path) for change in version.changes or ())
    what = f" of {changed}" if changed and version.old_rev else ""
    return f"{version.operation}{what} by {version.principal}"


async def prove_receipt(
    db: SecuredDatabaseInterface, reader: AuditReader, trust: Trust, promises: Promises
) -> None:
    """One insert's receipt, with the proof that its record stands in the trail."""
    answer = await db.command("insert", "memory_anchors", {"document": {"_key": "receipted"}})
    kept = ReceiptBundle.from_json(answer.receipt_bundle)
    try:
        bundle = await prove(reader, kept, trust, wait_s=COVERED_WITHIN_S, with_record=True)
        proven = check_bundle(ReceiptBundle.from_json(bundle.to_json()), trust)
    except ProofError as error:
        promises.keep("a receipt is proven by the trail", kept=False, seen=str(error))
        return
    promises.keep(
        "a receipt proves itself, with the trust file alone",
        proven.checkpoint is not None and proven.receipt.command == answer.id,
        _said(proven),
    )


def _said(proven: Proven) -> str:
    receipt, record, checkpoint = proven.receipt, proven.record, proven.checkpoint
    who = "" if record is None else f"{record.principal}, {record.subject.rpartition('.')[2]}: "
    under = "" if checkpoint is None else f", under checkpoint {checkpoint.header.number}"
    return f"{who}record {receipt.sequence} by worker {receipt.worker}{under}"
