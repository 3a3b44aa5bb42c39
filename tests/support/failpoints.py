"""Named places in a worker where a test kills it or makes it hang; they exist in tests alone.

Workers of the product know nothing of this. A test starts `worker_with_failpoints.py` in their
place, which wraps what is called between the steps and looks for a file with the step's name: who
takes that file away is struck, so that one worker is, once.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Final

import pytest

VARIABLE: Final = "FAILPOINTS"
"""The environment variable that names the folder of armed failpoints."""

BEFORE_INTENT: Final = (
    "admit",
    "open",
    "identify",
    "authorize",
    "throttle",
    "remember",
    "intending",
)
"""Steps after which a worker is struck that has not written an intent, in their order."""

AFTER_INTENT: Final = ("intent-sent", "intend", "executing")
"""An intent was sent, or stands; nothing was done."""

AFTER_COMMIT: Final = ("committed", "execute", "outcome-sent")
"""The effect stands; its outcome may."""

AFTER_OUTCOME: Final = ("recorded", "replied")
"""The outcome stands."""

OF_JOBS: Final = ("keeping", "kept")
"""The outcome of a durable job stands; its result may, and the stream of jobs knows nothing."""

HELD: Final = "reconcilers-held"
"""While a file of this name is there, no reconciler begins a run."""

LOOK_S: Final = 0.05
"""Between two looks for that file, seconds."""

ENTRY: Final = Path(__file__).parent / "worker_with_failpoints.py"

_Method = Callable[..., Coroutine[Any, Any, Any]]


class Failpoints:
    """The test's side: arms failpoints in a folder of its own."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        patch.setenv(VARIABLE, str(folder))
        patch.setattr("mallku_deploy.life._command", _command)
        # Who is killed again and again by a test is not waited for longer and longer.
        patch.setattr("mallku_deploy.supervisor.HEALTHY_S", 0.0)

    def arm(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Strike the next worker that comes to this place."""
        temporary = self._folder / f".{name}"
        temporary.write_text(str(int(number)))
        temporary.rename(self._folder / name)

    def disarm(self, name: str) -> None:
        """Strike nobody there any more."""
        (self._folder / name).unlink(missing_ok=True)

    def struck(self, name: str) -> bool:
        """Whether a worker came there."""
        return not (self._folder / name).exists()

    @contextmanager
    def reconcilers_held(self) -> Generator[None]:
        """No reconciler begins a run in here: none is struck that has a command in its hands."""
        held = self._folder / HELD
        held.touch()
        try:
            yield
        finally:
            held.unlink()


def strike(name: str) -> None:
    """The worker's side: end or halt here, if this place is armed and nobody else was faster."""
    armed = Path(os.environ[VARIABLE]) / name
    if not armed.exists():
        return
    taken = armed.with_name(f".{name}.{os.getpid()}")
    try:
        armed.rename(taken)
    except FileNotFoundError:
        return
    os.kill(os.getpid(), int(taken.read_text()))


def install() -> None:
    """Put failpoints between the steps of this process's pipeline and of its reconciler."""
    from mallku_workers.audit.publishing import RecordPublisher
    from mallku_workers.audit.writer import AuditWriter
    from mallku_workers.jobs.replies import JobReplies
    from mallku_workers.message import Case
    from mallku_workers.reconciling.reconciler import Reconciler
    from mallku_workers.replies import Replies
    from mallku_workers.stores.embedded import EmbeddedStore

    passed, publish = Case.passed, RecordPublisher.publish

    def pass_and_strike(case: Case, step: str) -> None:
        passed(case, step)
        strike(step)

    def publish_and_strike(publisher: RecordPublisher, entry: Any) -> Any:
        published = publish(publisher, entry)
        if entry.kind in ("intent", "done"):
            strike("intent-sent" if entry.kind == "intent" else "outcome-sent")
        return published

    Case.passed = pass_and_strike  # type: ignore[method-assign, assignment]
    RecordPublisher.publish = publish_and_strike  # type: ignore[method-assign, assignment]
    _around(AuditWriter, "intent", before="intending")
    around_store(EmbeddedStore)
    _around(AuditWriter, "done", after="recorded")
    _around(Replies, "send", after="replied")
    _around(JobReplies, "send", before="keeping", after="kept")
    _around(AuditWriter, "resolved", before="resolving", after="resolved")
    _around(Reconciler, "_resolve", before="looked", after="all-resolved")
    _hold(Reconciler, "run")


def around_store(store: type) -> None:
    """Put the failpoints of a store's work around that of this class."""
    _around(store, "execute", before="executing", after="committed", when=_mutates)


def _mutates(_store: object, work: Any) -> bool:
    """Commands of callers; what a reconciler reads has no claim."""
    return work.claim is not None


def _around(
    owner: type,
    name: str,
    *,
    before: str = "",
    after: str = "",
    when: Callable[..., bool] = lambda *_: True,
) -> None:
    method: _Method = getattr(owner, name)

    @wraps(method)
    async def struck(*values: Any, **named: Any) -> Any:
        concerned = when(*values)
        if before and concerned:
            strike(before)
        result = await method(*values, **named)
        if after and concerned:
            strike(after)
        return result

    setattr(owner, name, struck)


def _hold(owner: type, name: str) -> None:
    method: _Method = getattr(owner, name)
    held = Path(os.environ[VARIABLE]) / HELD

    @wraps(method)
    async def waiting(*values: Any, **named: Any) -> Any:
        while held.exists():  # noqa: ASYNC110 - another process sets no event
            await asyncio.sleep(LOOK_S)
        return await method(*values, **named)

    setattr(owner, name, waiting)


def _command() -> list[str]:
    import sys

    return [sys.executable, "-P", str(ENTRY), "worker"]
