"""The HTTP client: one try, time limits, failover where nothing was reached, and who we are."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest
from pydantic import ValidationError

from mallku_broker.files import write_private_text
from mallku_contracts.errors import (
    ConfigurationError,
    DeadlineExceeded,
    OutcomeUnknown,
    Unavailable,
)
from mallku_workers.stores.arango import ArangoSettings, ArangoStore
from mallku_workers.stores.arango.connections import Coordinator
from mallku_workers.stores.arango.credentials import Credentials
from tests.stores.calling import Caller, make_claim, make_work, now_ms
from tests.support.certificates import make_authority, make_certificate
from tests.support.simulated_arango import Asked, SimulatedArango
from tests.workers.arango.watching import answering, dropping, once, path_is, query_has, said


@contextmanager
def closed_port() -> Generator[str]:
    """A URL where nobody listens, for as long as the block lasts."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


async def started(stack: AsyncExitStack, **settings: object) -> ArangoStore:
    """A running store with these settings."""
    store = ArangoStore(ArangoSettings(**{"connections": 4, **settings}))  # type: ignore[arg-type]
    await store.start()
    stack.push_async_callback(store.stop)
    return store


async def test_another_coordinator_is_asked_where_one_is_not_there(
    server: SimulatedArango,
) -> None:
    """A refused connection and an unknown name reach nobody; the next one serves everything."""
    async with AsyncExitStack() as stack:
        dead = stack.enter_context(closed_port())
        url = f"{dead}, http://no-such-host.invalid:1, {server.url}"
        people = Caller(await started(stack, url=url))
        await people("create-collection")
        await people("insert", document={"_key": "a"})
        assert await people("count") == 1


async def test_no_coordinator_at_all_is_unavailable_and_names_them() -> None:
    """What was tried is told, and that nothing was done."""
    with closed_port() as dead:
        store = ArangoStore(ArangoSettings(url=dead))
        with pytest.raises(Unavailable, match=dead.removeprefix("http://")) as refusal:
            await store.start()
    assert refusal.value.retryable


async def test_a_write_whose_answer_is_lost_is_not_sent_again(
    people: Caller, server: SimulatedArango
) -> None:
    """One try: the outcome is unknown, and there is one request and one document."""
    server.after = lambda asked, answer: (
        dropping(asked) if query_has("INSERT w.document")(asked) else answer
    )
    with pytest.raises(OutcomeUnknown):
        await people("insert", document={"n": 1})
    assert sum(query_has("INSERT w.document")(asked) for asked in server.asked) == 1
    server.after = lambda _asked, answer: answer
    assert await people("count") == 1


async def test_a_read_whose_answer_is_lost_is_unavailable(
    people: Caller, server: SimulatedArango
) -> None:
    """Nothing can have happened, and another try makes sense."""
    server.before = once(path_is("GET", "/_api/document/"), dropping)
    with pytest.raises(Unavailable):
        await people("get", document="a")
    assert await people("get", document="a") is None


async def test_connections_that_died_idle_do_no_harm(
    people: Caller, server: SimulatedArango
) -> None:
    """A server that closes what nobody uses is not taken for one that lost a write."""
    await people("insert", document={"_key": "a"})
    server._http.end_connections()
    await people("insert", document={"_key": "b"})
    assert await people("count") == 2


async def test_an_answer_that_does_not_come_in_time_is_not_waited_for(
    people: Caller, server: SimulatedArango
) -> None:
    """Soon after the deadline a write is unknown and a read unavailable."""
    gate = threading.Event()

    def wait(_asked: Asked) -> None:
        gate.wait(20)

    server.before = wait
    try:
        for operation, arguments, kind in (
            ("get", {"document": "a"}, Unavailable),
            ("insert", {"document": {}}, OutcomeUnknown),
        ):
            began = time.monotonic()
            claim = make_claim() if operation == "insert" else None
            work = make_work(
                operation, "people", arguments, claim=claim, deadline_ms=now_ms() + 150
            )
            with pytest.raises(kind):
                await people.store.execute(work)
            assert time.monotonic() - began < 10
    finally:
        gate.set()


async def test_what_is_left_of_the_time_goes_with_every_request(
    people: Caller, server: SimulatedArango
) -> None:
    """`x-arango-queue-time-seconds` and `maxRuntime` are never more than the caller's time."""
    server.asked.clear()
    work = make_work("find", "people", {}, deadline_ms=now_ms() + 4_000)
    await people.store.execute(work)
    [asked] = server.asked
    assert 0 < float(asked.headers["x-arango-queue-time-seconds"]) <= 4
    assert 0 < asked.body["options"]["maxRuntime"] <= 4
    assert asked.body["memoryLimit"] > 0


async def test_a_queue_that_is_too_long_is_unavailable(
    people: Caller, server: SimulatedArango
) -> None:
    """ArangoDB's 412 with error 21004, and its 503 with 21003: nothing was done, come back."""
    server.queue_s = 1_000
    with pytest.raises(Unavailable) as refusal:
        await people("insert", document={})
    assert refusal.value.retry_after
    server.queue_s = 0
    server.before = once(path_is("POST", "/_api/cursor"), answering(21003, 503))
    with pytest.raises(Unavailable, match="21003"):
        await people("insert", document={})
    assert await people("count") == 0


async def test_a_server_that_cannot_serve_is_asked_once(
    people: Caller, server: SimulatedArango
) -> None:
    """503 with error 503: the driver would have sent it to another coordinator."""
    server.before = once(path_is("GET", "/_api/document/"), answering(503, 503))
    server.asked.clear()
    with pytest.raises(Unavailable):
        await people("get", document="a")
    assert said(server) == ["GET /_api/document/people/a"]


async def test_a_token_is_fetched_once_and_again_when_it_is_not_believed(
    people: Caller, server: SimulatedArango
) -> None:
    """Refused with 401, a request was not begun: it is sent again with a new token."""
    logins = server.logins
    await people("insert", document={"_key": "a"})
    assert server.logins == logins
    server.before = once(path_is("GET", "/_api/document/"), answering(11, 401))
    assert await people("exists", document="a")
    assert (await people("get", document="a"))["_key"] == "a"
    assert server.logins == logins + 1


@pytest.mark.parametrize("auth", ["jwt", "basic"])
async def test_a_password_comes_from_a_private_file(tmp_path: Path, auth: str) -> None:
    """The right one opens; a wrong one is a configuration error or a refusal, without the word."""
    (tmp_path / "data").mkdir()
    server = SimulatedArango(tmp_path / "data", users={"worker": "open-sesame"})
    password = tmp_path / "password"
    write_private_text(password, "open-sesame\n")
    given = {"url": server.url, "username": "worker", "password_file": password, "auth": auth}
    try:
        async with AsyncExitStack() as stack:
            store = await started(stack, **given)
            assert "open-sesame" not in repr(store) + repr(store._clients) + repr(vars(store))
            write_private_text(password, "abracadabra\n")
            with pytest.raises(Exception, match="ArangoDB does not") as refusal:
                await started(stack, **given)
            assert "abracadabra" not in str(refusal.value)
    finally:
        server.close()


async def test_a_password_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """Mode 0644 is a configuration error that says what to do."""
    password = tmp_path / "password"
    password.write_text("secret")
    password.chmod(0o644)
    store = ArangoStore(ArangoSettings(password_file=password))
    with pytest.raises(ConfigurationError, match="chmod 600"):
        await store.start()


def test_credentials_do_not_show_the_password() -> None:
    """Neither `repr` nor `str` holds it."""
    assert (
        "hush" not in f"{Credentials('basic', 'root', 'hush')!r} {Credentials('jwt', 'r', 'hush')}"
    )


async def test_tls_believes_its_authority_alone(tmp_path: Path) -> None:
    """With the right authority everything works, without it nobody is believed."""
    authority = make_authority(tmp_path, "authority")
    stranger = make_authority(tmp_path, "stranger")
    pair = make_certificate(tmp_path, "server", authority)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    context.load_verify_locations(authority.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    own = make_certificate(tmp_path, "worker", authority)
    server = SimulatedArango(tmp_path, tls=context)
    ours = {"url": server.url, "tls_cert": own.certificate, "tls_key": own.key}
    try:
        async with AsyncExitStack() as stack:
            people = Caller(await started(stack, tls_ca=authority.certificate, **ours))
            await people("create-collection")
            assert await people("count") == 0
            with pytest.raises(Unavailable, match="certificate is not to be believed"):
                await started(stack, tls_ca=stranger.certificate, **ours)
    finally:
        server.close()


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host:1",
        "host:8529",
        "http://user:hidden@host:1",
        "http://host:1/_db/x",
        "http://host:99999",
        "http://",
        "",
    ],
)
async def test_a_url_that_leads_nowhere_is_refused(url: str) -> None:
    """At the start, by name, and without a password that stood in it."""
    with pytest.raises(ConfigurationError) as refusal:
        await ArangoStore(ArangoSettings(url=url)).start()
    assert "hidden" not in str(refusal.value)


def test_a_url_without_a_port_has_that_of_its_scheme() -> None:
    """80 and 443, as everywhere."""
    assert Coordinator.parse("http://a") == Coordinator("a", 80, tls=False)
    assert Coordinator.parse("https://b/") == Coordinator("b", 443, tls=True)


def test_settings_are_bounded() -> None:
    """No number without an end, and no setting that nobody knows."""
    with pytest.raises(ValidationError):
        ArangoSettings(connections=0)
    with pytest.raises(ValidationError):
        ArangoSettings(unknown=1)  # type: ignore[call-arg]


async def test_no_time_is_no_request(people: Caller, server: SimulatedArango) -> None:
    """A work whose time is over is not even sent."""
    server.asked.clear()
    with pytest.raises(DeadlineExceeded):
        await people.store.execute(make_work("count", "people", {}, deadline_ms=now_ms() - 1))
    assert not server.asked
