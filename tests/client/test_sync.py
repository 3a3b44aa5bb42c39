from __future__ import annotations

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import mallku_client
from mallku_client import Answer, sync
from mallku_contracts.errors import ClientClosed, ConfigurationError, InvalidSubject
from tests.client.world import World


@pytest.fixture
def blocking(world: World) -> Iterator[sync.SecuredDatabaseInterface]:
    """A blocking client of the gateway in memory."""
    with sync.SecuredDatabaseInterface.connect(
        settings=world.settings, transport=world.transport
    ) as db:
        yield db


@pytest.mark.parametrize(
    ("awaited", "blocking"),
    [
        (mallku_client.SecuredDatabaseInterface, sync.SecuredDatabaseInterface),
        (mallku_client.Collection, sync.Collection),
        (mallku_client.AQL, sync.AQL),
    ],
)
def test_every_name_is_there_without_await(awaited: type, blocking: type) -> None:
    """Each public method of the awaited class is in the blocking one, with the same signature."""
    for name, member in inspect.getmembers(awaited):
        if name.startswith("_"):
            continue
        face = inspect.getattr_static(blocking, name)
        assert face is not None
        if inspect.iscoroutinefunction(member) and name != "connect":
            assert inspect.signature(getattr(blocking, name)) == inspect.signature(member) or (
                name == "create_collection"
            )
            assert getattr(blocking, name).__doc__ == member.__doc__


def test_insert_and_get(blocking: sync.SecuredDatabaseInterface) -> None:
    """The same calls without `await` give the same results."""
    anchors = blocking.collection("anchors")
    answers: list[Answer] = []
    meta = anchors.insert({"a": 1}, on_answer=answers.append)
    assert isinstance(meta, dict)
    assert answers[0].result == meta
    assert anchors.get(meta["_key"]) == {"a": 1, **meta}
    assert (blocking.name, blocking.principal) == ("mallku", "mallku")


def test_cursors(world: World, blocking: sync.SecuredDatabaseInterface) -> None:
    """`for` and `all()` give every document once; errors come at the call."""
    anchors = blocking.collection("anchors")
    anchors.insert_many([{"_key": str(n)} for n in range(7)])
    before = len(world.gateway.seen)
    cursor = anchors.find({}, batch_size=2)
    assert len(world.gateway.seen) == before + 1
    assert [document["_key"] for document in cursor] == list("0123456")
    rest = anchors.all(batch_size=3)
    next(rest)
    assert [document["_key"] for document in rest.all()] == list("123456")


def test_from_inside_a_running_loop(world: World) -> None:
    """A blocking call works while the caller's own loop is running."""

    async def main() -> object:
        with sync.SecuredDatabaseInterface.connect(
            settings=world.settings, transport=world.transport
        ) as db:
            return db.collection("anchors").insert({"_key": "a"})

    assert asyncio.run(main()) == {"_id": "anchors/a", "_key": "a", "_rev": "_r"}


def test_from_many_threads(blocking: sync.SecuredDatabaseInterface) -> None:
    """One object serves threads that call at the same moment."""
    anchors = blocking.collection("anchors")
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda n: anchors.insert({"_key": str(n)}), range(200)))
    assert anchors.count() == 200


def test_a_callback_cannot_wait_for_itself(blocking: sync.SecuredDatabaseInterface) -> None:
    """A blocking call inside `on_answer` would never end: refused instead."""
    anchors = blocking.collection("anchors")

    def callback(answer: Answer) -> None:
        anchors.count()

    with pytest.raises(RuntimeError, match="waits for itself"):
        anchors.count(on_answer=callback)


def test_errors_come_where_they_should(world: World) -> None:
    """A bad name at once, a bad setting at `connect`, and everything after `close`."""
    with pytest.raises(ConfigurationError):
        sync.SecuredDatabaseInterface.connect(principal="a b")
    db = sync.SecuredDatabaseInterface.connect(settings=world.settings, transport=world.transport)
    with pytest.raises(InvalidSubject):
        db.collection("a.b")
    db.close()
    db.close()
    with pytest.raises(ClientClosed):
        db.collection("anchors").count()


def test_one_background_thread_for_all(world: World) -> None:
    """However many clients there are, one thread runs them."""
    for _ in range(3):
        sync.SecuredDatabaseInterface.connect(
            settings=world.settings, transport=world.transport
        ).close()
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("mallku-client") == 1


FORK = """
import os, sys
from pathlib import Path
from mallku_client import sync
from mallku_contracts.errors import ClientClosed
from tests.client.world import make_world

world = make_world(Path(sys.argv[1]))
db = sync.SecuredDatabaseInterface.connect(settings=world.settings, transport=world.transport)
anchors = db.collection("anchors")
anchors.insert({"_key": "parent"})
cursor = anchors.find({}, batch_size=1)
child = os.fork()
if child == 0:
    anchors.insert({"_key": "child"})
    assert anchors.count() == 2
    try:
        cursor.all()
    except ClientClosed as error:
        assert "parent process" in str(error)
    else:
        sys.exit(3)
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
anchors.insert({"_key": "later"})
assert anchors.count() == 2
print("both")
"""


def test_a_forked_child_connects_anew(tmp_path: Path) -> None:
    """After a fork both sides go on, each with its own loop and connection, and both end."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORK, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "both\n", "")


EXIT = """
import sys
from pathlib import Path
from mallku_client import sync
from tests.client.world import make_world

class Told:
    def __init__(self, inner):
        self.inner = inner
    async def request(self, *arguments):
        return await self.inner.request(*arguments)
    async def close(self):
        print("closed")

world = make_world(Path(sys.argv[1]))
db = sync.SecuredDatabaseInterface.connect(settings=world.settings, transport=Told(world.transport))
db.collection("anchors").insert({})
print("end")
"""


def test_what_is_open_is_closed_at_the_end_of_the_process(tmp_path: Path) -> None:
    """Nobody has to call `close`; and a process that forgot it ends without a word on stderr."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", EXIT, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "end\nclosed\n", "")


INTERRUPTED = """
import sys
from pathlib import Path
from mallku_client import sync
from tests.client.world import make_world

world = make_world(Path(sys.argv[1]))

async def silence(gateway, command):
    print("waiting", flush=True)

world.gateway.script = [silence] * 9
db = sync.SecuredDatabaseInterface.connect(settings=world.settings, transport=world.transport)
try:
    db.collection("anchors").get("a", timeout=60)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_ends_a_blocking_call(tmp_path: Path) -> None:
    """An interrupt in the caller's thread is not held up by the loop behind it."""
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, "interrupted\n", "")
