"""Promise 7: whoever owns the server and its disk cannot change the trail without being found out.

Everything here happens to a trail that a real gateway wrote, on a real nats-server.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from mallku_broker.streams import AUDIT, CHECKPOINTS
from mallku_contracts import codec
from mallku_contracts.audit import Record
from mallku_contracts.envelope import CommandHeader, command_signing_input, token_hash
from mallku_contracts.identifiers import uuid7
from mallku_contracts.subjects import CommandSubject, audit_subject, inbox_prefix
from mallku_contracts.trail.checkpoint import Checkpoint, open_checkpoint, seal_checkpoint
from mallku_contracts.trail.findings import Kind
from mallku_contracts.trail.merkle import EMPTY_ROOT
from mallku_contracts.trail.proof import ProofError, ReceiptBundle, check_bundle
from mallku_contracts.trail.stored import TrailEntry
from mallku_deploy.auditing.known import read_bundle
from mallku_deploy.auditing.state import load_state
from tests.integration.vault import Held, Vault, altered, copied, first, kinds, opened, write_trail
from tests.support.made_trail import key_of
from tests.support.stored_messages import StoredMessage, stored_messages

pytestmark = pytest.mark.asyncio(loop_scope="session")

LATER_S = 600.0


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def held(tmp_path_factory: pytest.TempPathFactory) -> Held:
    """What an auditor holds of a trail that was in order."""
    return await write_trail(tmp_path_factory.mktemp("trail"))


@pytest_asyncio.fixture(loop_scope="session")
async def vault(held: Held, tmp_path: Path) -> AsyncIterator[Vault]:
    """A copy of that trail, its server running, open to an intruder."""
    async with opened(copied(held, tmp_path)) as vault:
        yield vault


def _outcome(entries: list[TrailEntry]) -> int:
    """The place of a mutation's outcome."""
    return first(entries, lambda record: record.kind == "done" and bool(record.effects))


async def test_the_trail_as_it_was_written_verifies(held: Held, vault: Vault) -> None:
    """Untouched, it has no finding, by whatever the auditor holds; both workers ended in order."""
    report = await vault.verify(LATER_S)
    assert not report.findings.counts
    assert report.covered == report.records
    assert all(point.final for point in report.workers.values())
    again = await vault.verify(LATER_S, receipts=held.receipts, witnesses=(held.witness,), jobs=2)
    assert not again.findings.counts


# On the disk.


def _on_disk(house: Path) -> StoredMessage:
    """A mutation's outcome in the stream's file."""
    streams = house / "nats" / "streams"
    stored = [each for each in stored_messages(streams, AUDIT) if b"khipu" in each.body]
    outcomes = [each for each in stored if each.subject.endswith("memory_anchors.insert.done")]
    assert outcomes
    assert all(each.intact for each in outcomes)
    return outcomes[2]


async def test_a_message_rewritten_on_the_disk(held: Held, tmp_path: Path) -> None:
    """The server serves it as if nothing were: its checksum is made by whoever wants to."""
    house = copied(held, tmp_path)
    target = _on_disk(house)
    target.rewrite(target.body.replace(b"khipu", b"hacks"), checksum=True)
    async with opened(house) as vault:
        served = (await vault.read())[target.sequence - 1]
        assert b"hacks" in served.data
        report = await vault.verify()
    assert kinds(report) == {Kind.EDITED}


async def test_a_receipt_names_the_record_that_was_rewritten(held: Held, tmp_path: Path) -> None:
    """A root says that one of several records is another; a receipt says which."""
    house = copied(held, tmp_path)
    target = _on_disk(house)
    target.rewrite(target.body.replace(b"khipu", b"hacks"), checksum=True)
    async with opened(house) as vault:
        report = await vault.verify(receipts=held.receipts)
    named = [each.sequence for each in report.findings.accusations if "receipt" in each.text]
    assert named == [target.sequence]


async def test_an_intent_rewritten_on_the_disk(held: Held, tmp_path: Path) -> None:
    """What the caller signed is not what stands there: the record is named at once."""
    house = copied(held, tmp_path)
    streams = house / "nats" / "streams"
    stored = stored_messages(streams, AUDIT)
    target = next(m for m in stored if m.subject.endswith("insert.intent") and b"khipu" in m.body)
    target.rewrite(target.body.replace(b"khipu", b"hacks"), checksum=True)
    async with opened(house) as vault:
        report = await vault.verify()
    assert kinds(report) == {Kind.SIGNATURE, Kind.EDITED}
    assert {each.sequence for each in report.findings.accusations} == {target.sequence}


async def test_a_message_damaged_on_the_disk(held: Held, tmp_path: Path) -> None:
    """The server notices a bad checksum, and gives up the message: its number is on no record."""
    house = copied(held, tmp_path)
    target = _on_disk(house)
    target.rewrite(target.body.replace(b"khipu", b"hacks"), checksum=False)
    async with opened(house) as vault:
        report = await vault.verify()
    assert kinds(report) & {Kind.GAP, Kind.TRUNCATED}


# Through the server.


async def test_no_message_can_be_deleted(vault: Vault) -> None:
    """The stream forbids it to everybody, and that cannot be taken back."""
    assert "error" in await vault.delete(AUDIT, 5)
    assert (await vault.verify(LATER_S)).clean


async def test_an_altered_copy_republished(held: Held, vault: Vault) -> None:
    """The stream made anew, every message in its place, one of them altered."""
    entries = await vault.read()
    place = _outcome(entries)
    entries[place] = altered(entries[place], position=99)
    await vault.recreate(AUDIT, entries)
    report = await vault.verify()
    assert kinds(report) == {Kind.EDITED}
    assert Kind.RECREATED in kinds(await vault.verify(state=held.state))


async def test_the_same_messages_republished(held: Held, vault: Vault) -> None:
    """Nothing was altered, and it is another stream: whoever has seen the former one knows."""
    await vault.recreate(AUDIT, await vault.read())
    assert kinds(await vault.verify(state=held.state)) == {Kind.RECREATED}


async def test_one_record_dropped(vault: Vault) -> None:
    """The others close up behind it: one number is on no record, and the rest stand elsewhere."""
    entries = await vault.read()
    dropped = Record.read(entries[_outcome(entries)].data)
    del entries[_outcome(entries)]
    await vault.recreate(AUDIT, entries)
    report = await vault.verify(LATER_S)
    assert {Kind.GAP, Kind.OPEN} <= kinds(report)
    gap = next(each for each in report.findings.accusations if each.kind == Kind.GAP)
    assert (gap.worker, gap.number) == (dropped.worker, dropped.number)


async def test_two_records_swapped(vault: Vault) -> None:
    """Both stand there unaltered, in each other's place."""
    entries = await vault.read()
    worker = Record.read(entries[_outcome(entries)].data).worker
    own = [place for place, each in enumerate(entries) if Record.read(each.data).worker == worker]
    one, two = own[-3], own[-2]
    entries[one], entries[two] = entries[two], entries[one]
    await vault.recreate(AUDIT, entries)
    report = await vault.verify()
    assert Kind.REORDERED in kinds(report)
    assert Kind.EDITED not in kinds(report)


async def test_the_tail_cut_off(vault: Vault) -> None:
    """Checkpoints cover more than there is."""
    entries = await vault.read()
    await vault.recreate(AUDIT, entries[:-4])
    assert Kind.TRUNCATED in kinds(await vault.verify(LATER_S))


async def _cut(vault: Vault) -> None:
    """Cut both streams back to what they were after the first checkpoints of the workers."""
    trust = vault.trust
    checkpoints = await vault.read(CHECKPOINTS)
    opened_ = [open_checkpoint(each.data, trust) for each in checkpoints]
    kept = [e for e, c in zip(checkpoints, opened_, strict=True) if c.header.number == 1]
    last = max(c.statement.sequence for c in opened_ if c.header.number == 1)
    entries = await vault.read()
    await vault.recreate(AUDIT, entries[:last])
    await vault.recreate(CHECKPOINTS, kept)


async def test_both_tails_cut_off(held: Held, vault: Vault) -> None:
    """Consistent in itself, a shorter trail fools whoever remembers nothing, and nobody else."""
    await _cut(vault)
    assert (await vault.verify()).clean
    assert Kind.TRUNCATED in kinds(await vault.verify(receipts=held.receipts[-1:]))
    assert Kind.CHECKPOINT_MISSING in kinds(await vault.verify(witnesses=(held.witness,)))
    assert {Kind.TRUNCATED, Kind.RECREATED, Kind.CHECKPOINT_MISSING} <= kinds(
        await vault.verify(state=held.state)
    )


async def test_what_was_seen_is_not_forgotten_over_a_finding(
    held: Held, vault: Vault, tmp_path: Path
) -> None:
    """A shortened trail is found again the next time: the state keeps what it knew."""
    state = tmp_path / "trail.state"
    state.write_bytes(held.state.read_bytes())
    state.chmod(0o600)
    await _cut(vault)
    assert not (await vault.verify(state=state)).clean
    assert load_state(state) == load_state(held.state)
    assert not (await vault.verify(state=state)).clean


async def test_the_stream_deleted_and_created_again(held: Held, vault: Vault) -> None:
    """An empty stream of the same name: the checkpoints still cover what is gone."""
    await vault.recreate(AUDIT, [])
    assert Kind.TRUNCATED in kinds(await vault.verify())
    found = kinds(await vault.verify(state=held.state))
    assert {Kind.RECREATED, Kind.TRUNCATED} <= found


# Forgeries.


def _forged_intent(worker: str, number: int, now_ms: int) -> Record:
    """An intent in the name of `mallku`, with a signature that holds, of a key nobody knows."""
    key = key_of("mallory")
    place = CommandSubject.build("mallku", "mallku", "memory_anchors", "delete")
    command = uuid7(now_ms)
    header = CommandHeader(
        v=1,
        kid=key.kid,
        id=command,
        iat=now_ms,
        exp=now_ms + 10_000,
        budget=10_000,
        attempt=1,
        op=place.operation,
        db=place.database,
        col=place.collection,
        idem=command,
        reply=inbox_prefix("mallku"),
        ath=token_hash(b"none"),
    )
    body = codec.pack({"document": "k1"})
    signature = key.sign(command_signing_input(str(place), header.pack(), body))
    return Record(
        kind="intent",
        worker=worker,
        number=number,
        time=now_ms,
        id=command,
        principal="mallku",
        subject=str(place),
        attempt=1,
        kid=key.kid,
        command=(header.pack(), body, signature, key.public.raw),
    )


async def _publish(vault: Vault, record: Record) -> int:
    place = CommandSubject.parse(record.subject)
    return await vault.publish(audit_subject(place, record.kind), record.pack())


@pytest.mark.parametrize(("number", "expected"), [(3, Kind.INSERTED), (1_000, Kind.AFTER_END)])
async def test_a_forged_record_of_a_known_worker(vault: Vault, number: int, expected: Kind) -> None:
    """With a valid but foreign key: its signature holds, and its worker never wrote it."""
    newest = Record.read((await vault.read())[-1].data)
    forged = _forged_intent(newest.worker, number, newest.time)
    sequence = await _publish(vault, forged)
    report = await vault.verify()
    assert kinds(report) == {expected}
    assert report.findings.accusations[0].sequence == sequence
    assert forged.kid in report.keys["mallku"]


async def test_a_forged_record_of_a_worker_that_never_was(vault: Vault) -> None:
    """For some minutes it may be the beginning of a worker; then somebody would have covered it."""
    newest = Record.read((await vault.read())[-1].data)
    await _publish(vault, _forged_intent("nobody", 1, newest.time))
    assert kinds(await vault.verify(LATER_S)) == {Kind.UNCOVERED, Kind.OPEN}


async def _last_checkpoint(vault: Vault, slot: str = "worker-1") -> Checkpoint:
    """The newest checkpoint of the worker that lived in this slot."""
    kid = vault.worker(slot)[0].kid
    found = [open_checkpoint(e.data, vault.trust) for e in await vault.read(CHECKPOINTS)]
    return [each for each in found if each.header.kid == kid][-1]


async def _forge(vault: Vault, who: str) -> None:
    """Publish a checkpoint behind worker-1's last one, signed by somebody else."""
    former = await _last_checkpoint(vault)
    if who == "stranger":
        key, token = key_of("mallory"), vault.worker()[1]
    elif who == "caller":
        key, token = vault.caller()
    else:
        key, token = vault.worker("worker-2")
    header = replace(
        former.header,
        kid=key.kid,
        number=former.header.number + 1,
        previous=former.hash,
        ath=token_hash(token),
    )
    said = former.statement
    statement = replace(
        said, first=said.last + 1, size=0, last=said.last, root=EMPTY_ROOT, sequence=0, void=()
    )
    forged = seal_checkpoint(header, statement, key, token)
    await vault.publish(forged.subject, forged.data)


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        ("stranger", Kind.CHECKPOINT),
        ("caller", Kind.UNKNOWN_KEY),
        ("another worker", Kind.FOREIGN_KEY),
    ],
)
async def test_a_forged_checkpoint(vault: Vault, who: str, expected: Kind) -> None:
    """Not with a stolen token, not with a caller's own, not with another worker's."""
    await _forge(vault, who)
    assert kinds(await vault.verify()) == {expected}


async def test_an_old_checkpoint_replayed(vault: Vault) -> None:
    """Byte for byte what the worker once said, and not what it said last."""
    old = (await vault.read(CHECKPOINTS))[0]
    sequence = await vault.publish(old.subject, old.data)
    report = await vault.verify()
    assert kinds(report) == {Kind.OLD_CHECKPOINT}
    assert report.findings.accusations[0].sequence == sequence


async def test_a_checkpoint_dropped(vault: Vault) -> None:
    """The one behind it names its hash, and other workers name its number."""
    trust = vault.trust
    checkpoints = await vault.read(CHECKPOINTS)
    firsts = [e for e in checkpoints if open_checkpoint(e.data, trust).header.number == 1]
    await vault.recreate(CHECKPOINTS, [e for e in checkpoints if e is not firsts[0]])
    assert Kind.CHAIN in kinds(await vault.verify())


# Receipts.


async def test_every_receipt_is_proven_by_the_trail_as_it_was(held: Held, vault: Vault) -> None:
    """Each leads to a checkpoint, and is checked with the trust file alone."""
    for path in held.receipts:
        bundle = await vault.prove(read_bundle(path))
        proven = check_bundle(ReceiptBundle.from_json(bundle.to_json()), vault.trust)
        assert proven.checkpoint is not None
        assert proven.record is not None
        assert proven.record.principal == "mallku"


async def test_a_receipt_is_not_proven_by_a_trail_that_was_changed(
    held: Held, vault: Vault
) -> None:
    """Its record altered, another one of its range altered, or cut off with its checkpoint."""
    bundle = read_bundle(held.receipts[-1])
    sequence = check_bundle(bundle, vault.trust).receipt.sequence
    entries = await vault.read()
    altered_own = list(entries)
    altered_own[sequence - 1] = altered(entries[sequence - 1], position=99)
    await vault.recreate(AUDIT, altered_own)
    with pytest.raises(ProofError, match="changed or removed"):
        await vault.prove(bundle)
    worker = Record.read(entries[sequence - 1].data).worker
    other = first(entries, lambda record: record.worker == worker and bool(record.effects))
    altered_other = list(entries)
    altered_other[other] = altered(entries[other], position=99)
    await vault.recreate(AUDIT, altered_other)
    with pytest.raises(ProofError, match="do not give its root"):
        await vault.prove(bundle)
    await vault.recreate(AUDIT, entries[: sequence - 1])
    with pytest.raises(ProofError, match="it was cut"):
        await vault.prove(bundle)


async def test_a_receipt_without_its_checkpoint_is_not_proven(held: Held, vault: Vault) -> None:
    """The record stands there; that its worker covered it cannot be shown, nor waited for."""
    await vault.recreate(CHECKPOINTS, [])
    with pytest.raises(ProofError, match="no checkpoint covers"):
        await vault.prove(read_bundle(held.receipts[0]))
