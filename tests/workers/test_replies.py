from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from mallku_contracts import codec
from mallku_contracts.envelope import Reply, token_hash
from mallku_contracts.errors import InternalError, InvalidArguments, from_wire
from mallku_workers import replies as replies_module
from mallku_workers.replies import failure, success
from mallku_workers.stores.base import Done
from tests.support.simulated_caller import SimulatedCaller, read_answer
from tests.workers.world import REPLY_TOKEN, WORKER_KEY, Cluster, Worker, message_of, pause, until

INSERT = {"document": {"_key": "k1"}}


async def test_a_reply_answers_one_command(worker: Worker, caller: SimulatedCaller) -> None:
    """Signed over the hash of the command's signed bytes, with the worker's token and time."""
    sent = caller.seal("insert", INSERT)
    reply = Reply.open(await worker.take_raw(sent), expected_command=sent.hash)
    reply.verify(WORKER_KEY.public)
    assert reply.header.id == sent.header.id
    assert reply.envelope.token == REPLY_TOKEN
    assert reply.header.ath == token_hash(REPLY_TOKEN)
    assert abs(reply.header.time - sent.header.iat) < 5_000


async def test_mutations_are_always_signed(cluster: Cluster, caller: SimulatedCaller) -> None:
    """Without signatures for reads, mutations and every refusal have theirs all the same."""
    worker = Worker(cluster, sign_reads=False)
    for operation, arguments, signed in (
        ("insert", INSERT, True),
        ("insert", {"nonsense": 1}, True),
        ("get", {"document": "k1"}, False),
        ("get", {"nonsense": 1}, True),
    ):
        answer = await worker.take(caller.seal(operation, arguments))
        assert answer.reply.signed is signed


async def test_busy_is_signed_too(cluster: Cluster, caller: SimulatedCaller) -> None:
    """A caller of a mutation believes no unsigned `busy`, so there is none."""
    worker = Worker(cluster, total=1)
    worker.store.gate.clear()
    first = asyncio.ensure_future(worker.take(caller.seal("count", {})))
    await until(lambda: bool(worker.store.inside))
    answer = await worker.take(caller.seal("insert", INSERT))
    answer.reply.verify(WORKER_KEY.public)
    worker.store.gate.set()
    await first


async def test_a_broker_that_takes_less(worker: Worker, caller: SimulatedCaller) -> None:
    """A reply above the broker's own limit becomes `result_too_large`, not silence."""
    await worker.take(caller.seal("insert", {"document": {"_key": "k1", "text": "x" * 5_000}}))
    worker.bus.max_payload = 4_000
    error = (await worker.take(caller.seal("get", {"document": "k1"}))).error
    assert error.code == "result_too_large"
    assert error.details == {"committed": False}


async def test_replies_wait_for_a_congested_bus(worker: Worker, caller: SimulatedCaller) -> None:
    """Who holds a slot waits, and keeps the slot; what has none is dropped at once."""
    worker.bus.congested = True
    sent = caller.seal("insert", INSERT)
    task = asyncio.ensure_future(worker.take(sent))
    await until(lambda: "done" in worker.trail.tries)
    await pause()
    assert not task.done()
    assert worker.slots.in_flight == 1
    with capture_logs() as logs:
        await worker.pipeline.handle(message_of(sent, data=b"x" * 3_000_000))
    assert [entry["event"] for entry in logs] == ["reply_not_sent"]
    worker.bus.relieved.set()
    assert (await task).result["_key"] == "k1"


async def test_a_bus_that_stays_congested(
    worker: Worker, caller: SimulatedCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait is bounded; then the reply is dropped, and the slot is free."""
    monkeypatch.setattr(replies_module, "RELIEF_WAIT_S", 0.02)
    worker.bus.congested = True
    with capture_logs() as logs:
        await worker.pipeline.handle(message_of(caller.seal("insert", INSERT)))
    assert logs[-1]["event"] == "reply_not_sent"
    assert worker.bus.posts == []
    assert worker.slots.in_flight == 0


async def test_errors_are_told_in_headers_and_body(worker: Worker, caller: SimulatedCaller) -> None:
    """`Nats-Service-Error` and its code for tools, the whole error in the body; none on success."""
    sent = caller.seal("get", {"nonsense": 1})
    answer = read_answer(await worker.take_raw(sent), sent)
    post = worker.bus.posts[-1]
    assert post.headers["Nats-Service-Error-Code"] == str(InvalidArguments.number)
    assert answer.error.details["fields"].keys() == {"document", "nonsense"}
    await worker.take_raw(caller.seal("count", {}))
    assert worker.bus.posts[-1].header == b""


def test_an_error_that_cannot_be_encoded() -> None:
    """Its caller gets a bland one, with the correlation under which the log knows more."""
    error = InvalidArguments("no", details={"what": object()}, correlation="c0ffee")
    with capture_logs() as logs:
        told = from_wire(codec.unpack(failure(error))["error"])
    assert isinstance(told, InternalError)
    assert told.correlation == "c0ffee"
    assert logs[0]["event"] == "error_not_encoded"


def test_what_success_says() -> None:
    """The result, the receipt of a mutation, and `replayed` only where it is so."""
    assert codec.unpack(success(Done(None), None)) == {"result": None}
    replayed = codec.unpack(success(Done(1, replayed="id"), None))
    assert replayed == {"result": 1, "replayed": True}
