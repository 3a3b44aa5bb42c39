from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from mallku_broker.connection import GatewayConnection
from mallku_broker.events import ConnectionLost, EventKind, NoResponders, RefusedByBroker
from mallku_broker.headers import encode_headers
from mallku_broker.requests import RequestMultiplexer
from mallku_contracts.errors import MessageTooLarge
from mallku_contracts.limits import MAX_PAYLOAD_BYTES
from mallku_contracts.subjects import inbox_prefix, is_own_inbox
from tests.support.nats import WORKER_BUS, NatsHouse, Witness, nats_house, until

GET = "mallku.v1.cmd.mallku.db.anchors.get"
PATTERN = "mallku.v1.cmd.*.*.*.get"
QUEUE = "mallku.read"


async def _echo(worker: GatewayConnection) -> list[str]:
    """Answer every `get` with its own body; returns the reply subjects as they come."""
    seen: list[str] = []

    def answer(_subject: str, reply: str, body: bytes, header: bytes | None) -> None:
        seen.append(reply)
        worker.post(reply, body, header=header or b"")

    await worker.listen(PATTERN, answer, queue=QUEUE)
    await worker.flush()
    return seen


async def test_each_request_gets_its_own_answer(house: NatsHouse) -> None:
    """A thousand requests at once: every caller gets the body it sent, and no slot is left."""
    async with house.connection(WORKER_BUS) as worker, house.connection("mallku") as caller:
        replies = await _echo(worker)
        async with RequestMultiplexer(caller, inbox_prefix("mallku")) as requests:
            bodies = [str(number).encode() for number in range(1000)]
            answers = await asyncio.gather(
                *(requests.request(GET, body, timeout=10) for body in bodies)
            )
            assert [answer.data for answer in answers] == bodies
            assert requests.in_flight == 0
            assert all(is_own_inbox(reply, "mallku") for reply in replies)


async def test_headers_travel_both_ways(house: NatsHouse) -> None:
    """Headers arrive as they were sent, and come back parsed."""
    async with house.connection(WORKER_BUS) as worker, house.connection("mallku") as caller:
        await _echo(worker)
        async with RequestMultiplexer(caller, inbox_prefix("mallku")) as requests:
            sent = {"Mallku-Id": "1", "Mallku-Operation": "get"}
            answer = await requests.request(GET, b"", headers=sent, timeout=5)
            assert answer.headers == sent


async def test_nobody_there_is_said_at_once(house: NatsHouse) -> None:
    """Without a worker the answer is `NoResponders`, long before the timeout."""
    async with (
        house.connection("mallku") as caller,
        RequestMultiplexer(caller, inbox_prefix("mallku")) as requests,
        asyncio.timeout(5),
    ):
        with pytest.raises(NoResponders, match="nobody listens"):
            await requests.request(GET, b"", timeout=60)


async def test_what_the_broker_refuses_is_said_at_once(house: NatsHouse) -> None:
    """A subject without permission ends in `RefusedByBroker`, and only for that subject."""
    async with house.connection(WORKER_BUS) as worker, house.connection("mallku") as caller:
        silent: list[str] = []
        await worker.listen(PATTERN, lambda _s, reply, _b, _h: silent.append(reply), queue=QUEUE)
        await worker.flush()
        async with RequestMultiplexer(caller, inbox_prefix("mallku")) as requests:
            patient = asyncio.create_task(requests.request(GET, b"", timeout=60))
            async with asyncio.timeout(5):
                with pytest.raises(RefusedByBroker, match="permissions violation"):
                    await requests.request(
                        "mallku.v1.cmd.mallku.db.Anchors.drop-collection", b"", timeout=60
                    )
            assert not patient.done()
            patient.cancel()


async def test_silence_ends_at_the_timeout_and_late_answers_are_dropped(house: NatsHouse) -> None:
    """A timeout is `TimeoutError`; the answer that comes later is counted and reaches nobody."""
    async with house.connection(WORKER_BUS) as worker, house.connection("mallku") as caller:
        held: list[str] = []
        await worker.listen(PATTERN, lambda _s, reply, _b, _h: held.append(reply), queue=QUEUE)
        await worker.flush()
        async with RequestMultiplexer(caller, inbox_prefix("mallku")) as requests:
            with pytest.raises(TimeoutError, match="no answer from"):
                await requests.request(GET, b"slow", timeout=0.1)
            following = asyncio.create_task(requests.request(GET, b"next", timeout=5))
            await until(lambda: len(held) == 2)
            worker.post(held[0], b"for the first")
            worker.post(held[1], b"for the second")
            assert (await following).data == b"for the second"
            assert requests.late == 1


async def test_a_cancelled_request_leaves_nothing_behind(house: NatsHouse) -> None:
    """Cancelling the caller frees its slot and its place in the table."""
    async with house.connection(WORKER_BUS) as worker, house.connection("mallku") as caller:
        await worker.listen(PATTERN, lambda *_: None, queue=QUEUE)
        await worker.flush()
        async with RequestMultiplexer(caller, inbox_prefix("mallku"), max_in_flight=1) as requests:
            waiting = asyncio.create_task(requests.request(GET, b"", timeout=60))
            await until(lambda: requests.in_flight == 1)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert requests.in_flight == 0
            with pytest.raises(TimeoutError):
                await requests.request(GET, b"", timeout=0.05)


async def test_requests_beyond_the_bound_wait_for_their_turn(house: NatsHouse) -> None:
    """Never more than `max_in_flight` are under way, and all are answered."""
    async with house.connection(WORKER_BUS) as worker, house.connection("mallku") as caller:
        await _echo(worker)
        async with RequestMultiplexer(caller, inbox_prefix("mallku"), max_in_flight=4) as requests:
            most = 0

            async def ask() -> None:
                nonlocal most
                await requests.request(GET, b"", timeout=10)
                most = max(most, requests.in_flight)

            await asyncio.gather(*(ask() for _ in range(200)))
            assert most <= 4


async def test_waiting_for_a_turn_ends_at_the_timeout(house: NatsHouse) -> None:
    """With every slot taken by silence, one more request times out and takes no slot along."""
    async with house.connection(WORKER_BUS) as worker, house.connection("mallku") as caller:
        await worker.listen(PATTERN, lambda *_: None, queue=QUEUE)
        await worker.flush()
        async with RequestMultiplexer(caller, inbox_prefix("mallku"), max_in_flight=1) as requests:
            holder = asyncio.create_task(requests.request(GET, b"", timeout=60))
            await until(lambda: requests.in_flight == 1)
            with pytest.raises(TimeoutError):
                await requests.request(GET, b"", timeout=0.05)
            assert requests.in_flight == 1
            holder.cancel()


async def test_too_large_a_request_leaves_the_connection_whole(house: NatsHouse) -> None:
    """Body and headers are measured together, so that the server does not cut us off."""
    async with house.connection(WORKER_BUS) as worker, house.connection("mallku") as caller:
        await _echo(worker)
        async with RequestMultiplexer(caller, inbox_prefix("mallku")) as requests:
            headers = {"Mallku-Id": "1"}
            room = MAX_PAYLOAD_BYTES - len(encode_headers(headers))
            with pytest.raises(MessageTooLarge):
                await requests.request(GET, b"x" * (room + 1), headers=headers, timeout=5)
            answer = await requests.request(GET, b"x" * room, headers=headers, timeout=20)
            assert len(answer.data) == room


async def test_a_lost_server_ends_what_waits_and_is_found_again(tmp_path: Path) -> None:
    """A killed server ends a request at once with `sent`; the next one waits for its return."""
    witness = Witness()
    async with (
        nats_house(tmp_path, streams=False) as house,
        house.connection(WORKER_BUS, on_event=witness) as worker,
        house.connection("mallku") as caller,
        RequestMultiplexer(caller, inbox_prefix("mallku")) as requests,
    ):

        def answer_but_one(_subject: str, reply: str, body: bytes, _header: bytes | None) -> None:
            if body != b"lost":
                worker.post(reply, body)

        await worker.listen(PATTERN, answer_but_one, queue=QUEUE)
        await worker.flush()
        lost = asyncio.create_task(requests.request(GET, b"lost", timeout=60))
        await until(lambda: requests.in_flight == 1)
        house.kill()
        async with asyncio.timeout(5):
            with pytest.raises(ConnectionLost) as caught:
                await lost
        assert caught.value.sent
        with pytest.raises(ConnectionLost) as caught:
            await requests.request(GET, b"down", timeout=0.1)
        assert not caught.value.sent

        again = asyncio.create_task(requests.request(GET, b"again", timeout=30))
        await house.server.start()
        await witness.sees(EventKind.RECONNECTED)
        with contextlib.suppress(NoResponders):  # the caller may have been back before the worker
            assert (await again).data == b"again"
        assert (await requests.request(GET, b"and again", timeout=30)).data == b"and again"


async def test_a_closed_multiplexer_ends_what_waits(house: NatsHouse) -> None:
    """`close` ends pending requests with `ConnectionLost`."""
    async with house.connection(WORKER_BUS) as worker, house.connection("mallku") as caller:
        await worker.listen(PATTERN, lambda *_: None, queue=QUEUE)
        await worker.flush()
        requests = RequestMultiplexer(caller, inbox_prefix("mallku"))
        await requests.start()
        waiting = asyncio.create_task(requests.request(GET, b"", timeout=60))
        await until(lambda: requests.in_flight == 1)
        await requests.close()
        with pytest.raises(ConnectionLost, match="closed"):
            await waiting
