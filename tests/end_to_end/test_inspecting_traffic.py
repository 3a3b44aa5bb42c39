"""Every command of docs/inspecting-traffic.md, with the real `nats`, on a real gateway."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Up, clean_environment, end, run
from tests.support.console import Session, Step, missing, read_steps
from tests.support.natscli import BUILD_S, find_nats

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "inspecting-traffic.md").read_text("utf-8")
STEPS = list(read_steps(DOCUMENT))
PIN = "4711-0815"
HIDING = """
version: 1
roles:
  service: {rules: [{id: r, collections: ["khipu"], operations: [read], hide: [pin]}]}
principals: {mallku: {roles: [service]}}
"""
TRIES = 5
WAIT_S = 2.0
pytestmark = pytest.mark.timeout(BUILD_S)  # `nats` may have to be built first


@pytest.fixture(scope="module")
def nats() -> Path:
    """The real thing, or the reason why not."""
    return find_nats()


@pytest.fixture(scope="module")
def gateway(nats: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """The gateway of the document: `./gateway` is its data, `gateway.env` its environment."""
    started = Up.start(tmp_path_factory.mktemp("inspecting"))
    try:
        started.ready()
        (started.folder / "gateway").symlink_to(started.house)
        (started.folder / "gateway.env").symlink_to(started.env_file)
        assert started.call("create-collection", "khipu").returncode == 0
        yield started
    finally:
        end(started)


@pytest.fixture(scope="module")
def environment(nats: Path, gateway: Up) -> dict[str, str]:
    """A terminal's: our commands and `nats` on PATH, contexts in a folder of their own."""
    path = os.pathsep.join((str(nats.parent), str(Path(sys.executable).parent), os.environ["PATH"]))
    contexts = str(gateway.folder / "config")
    return clean_environment() | {"PATH": path, "XDG_CONFIG_HOME": contexts}


class Player:
    """Carries out the document's commands, in their order."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder, self._environment = folder, environment

    def begin(self, step: Step) -> Session:
        """Start a command."""
        return Session(step.command, self._folder, self._environment)

    def play(self, step: Step) -> None:
        """Carry one out."""
        self.check(step, self.begin(step).finish())

    def check(self, step: Step, said: str) -> None:
        """Compare with what is shown."""
        line = missing(step.shown, said)
        assert line is None, f"$ {step.command}\n{said}\n\nnot said: {line}"


def test_every_command_does_what_the_document_shows(
    gateway: Up, environment: dict[str, str]
) -> None:
    """From the first context to the last benchmark, as they stand there."""
    player = Player(gateway.folder, environment)
    steps = iter(STEPS)
    waiting: tuple[Step, Session] | None = None
    try:
        for step in steps:
            if step.live:
                waiting = step, player.begin(step)
            elif waiting is None:
                player.play(step)
            else:
                _until_seen(player, waiting[1], _rest_of_block(step, steps))
                player.check(waiting[0], waiting[1].finish())
                waiting = None
    finally:
        if waiting is not None:
            waiting[1].close()


def _rest_of_block(first: Step, steps: Iterator[Step]) -> list[Step]:
    """The commands of the block that a waiting one waits for."""
    return [first, *(next(steps) for _ in range(first.following))]


def _until_seen(player: Player, waiting: Session, steps: list[Step]) -> None:
    """Carry commands out until the one that waits has seen enough: it does not say when it can."""
    for _ in range(TRIES):
        for step in steps:
            player.play(step)
        if waiting.ended_within(WAIT_S):
            return


def test_the_document_names_no_command_that_is_not_carried_out() -> None:
    """What stands in a `console` block is carried out; elsewhere no command is shown to be run."""
    assert len(STEPS) > 30
    programs = {step.command.split()[0] for step in STEPS}
    assert programs == {"mallku-gateway", "nats"}
    start = "mallku-gateway up --data ./gateway --env-file gateway.env"
    others = DOCUMENT.split("```sh\n")[1:]
    assert [block.split("```")[0].splitlines()[-1] for block in others] == [start]


def test_what_a_policy_hides_is_not_shown_as_it_passes(
    gateway: Up, environment: dict[str, str]
) -> None:
    """Neither in the command nor in the reply that follows it, with the real tool in between."""
    (gateway.folder / "hiding.yaml").write_text(HIDING)
    player = Player(gateway.folder, environment)
    command = (
        "nats --context mallku-inspector --inbox-prefix _INBOX_mallku sub 'mallku.v1.cmd.>'"
        " --match-replies --count 1 --translate 'mallku-gateway decode --json --policy hiding.yaml'"
    )
    watching = player.begin(Step(command))
    document = f'{{"document": {{"kind": "knot", "pin": "{PIN}"}}, "return_new": true}}'
    insert = f"mallku-gateway call insert khipu '{document}' --env-file gateway.env"
    try:
        _until_seen(player, watching, [Step(insert, [f'"pin": "{PIN}"'])])
        said = watching.finish()
    finally:
        watching.close()
    assert '"kind": "command"' in said
    assert '"kind": "reply"' in said
    assert said.count('"pin": "<hidden>"') == 2
    assert PIN not in said


def test_inspectors_can_do_no_more_than_look(gateway: Up, environment: dict[str, str]) -> None:
    """With the inspector's context nothing is sent in another's name, and nothing is taken away."""
    player = Player(gateway.folder, environment)
    known = "nats --context mallku-inspector --timeout 1s "
    for attempt in (
        "pub mallku.v1.cmd.mallku.mallku.khipu.get x",
        "pub _INBOX_mallku.mallku.a.1 x",
        "pub mallku.v1.audit.mallku.mallku.khipu.insert.done x",
        "trace mallku.v1.cmd.mallku.mallku.khipu.get",
        "sub 'mallku.v1.cmd.>' --queue mallku.read --count 1",
        "stream ls",
        "kv get mallku_policy current",
    ):
        said = player.begin(Step(f"{known}{attempt}")).finish()
        assert "violation" in said.lower() or "error" in said.lower(), f"{attempt}\n{said}"
    assert gateway.call("count", "khipu").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("--nats-context", "nobody"), "nobody"),
        (("--nats-context", "a.b"), "not a name"),
        (("x.nk", "--nats-context", "dora"), "MALLKU_API_GATEWAY_URL"),
        ((), "FILE"),
    ],
)
def test_a_context_that_cannot_be_is_refused(
    gateway: Up, tmp_path: Path, arguments: tuple[str, ...], what: str
) -> None:
    """It says what is missing, and leaves no key and no context behind."""
    given = [str(tmp_path / each) if each == "x.nk" else each for each in arguments]
    done = run("keys", "new", *given, "--data", str(gateway.house))
    assert done.returncode != 0
    assert what in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_somebody_elses_context_is_left_alone(gateway: Up, environment: dict[str, str]) -> None:
    """A context of the same name that we did not write stays as it is."""
    folder = Path(environment["XDG_CONFIG_HOME"]) / "nats" / "context"
    folder.mkdir(parents=True, exist_ok=True)
    theirs = folder / "mallku-operator.json"
    theirs.write_text('{"description": "mine", "url": "nats://elsewhere"}')
    player = Player(gateway.folder, environment)
    command = "mallku-gateway keys new --nats-context operator --data ./gateway"
    assert "was not written by us" in player.begin(Step(command)).finish()
    assert "elsewhere" in theirs.read_text()
