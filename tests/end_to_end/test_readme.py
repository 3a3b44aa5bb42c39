from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mallku_deploy.environment import read_env_file
from tests.end_to_end.conftest import Up, clean_environment

README = Path(__file__).resolve().parents[2] / "README.md"
TEXT = README.read_text()
BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
REFUSED = "# refused"
# A snippet may await at its top level, as people read it.
RUN = """
import ast, asyncio, inspect, sys
code = compile(sys.stdin.read(), "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
running = eval(code, {})
if inspect.iscoroutine(running):
    asyncio.run(running)
"""


def blocks(language: str) -> list[str]:
    """The README's snippets of one language, in their order."""
    return [match["text"] for match in BLOCK.finditer(TEXT) if match[1] == language]


def environment(up: Up) -> dict[str, str]:
    """What somebody has who sourced the env file, with the command on PATH."""
    path = f"{Path(sys.executable).parent}:{clean_environment()['PATH']}"
    return clean_environment() | read_env_file(up.env_file) | {"PATH": path}


def test_the_python_snippets_run_as_they_stand(up: Up) -> None:
    """Each one works on a fresh gateway, in the order of the page."""
    snippets = blocks("python")
    assert len(snippets) == 2
    for snippet in snippets:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", RUN],
            input=snippet,
            env=environment(up),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip(), "every snippet prints something"


def test_the_command_lines_do_what_is_said_beside_them(up: Up) -> None:
    """They succeed, but for the one that is there to be refused."""
    lines = [
        line
        for block in blocks("sh")
        for line in block.splitlines()
        if line.startswith(("mallku-gateway call", "mallku-gateway aql"))
    ]
    assert [REFUSED in line for line in lines] == [False, False, False, True]
    for line in lines:
        done = subprocess.run(
            ["/bin/sh", "-c", line],
            env=environment(up),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (done.returncode != 0) == (REFUSED in line), done.stderr


@pytest.mark.parametrize("target", re.findall(r"\]\((docs/[\w./-]+)\)", TEXT))
def test_every_page_that_the_readme_names_is_there(target: str) -> None:
    """No link leads nowhere."""
    assert (README.parent / target).exists()


def test_the_code_map_names_modules_that_exist() -> None:
    """The path of a command can be followed with a finger."""
    folders = re.findall(r"^\| `(\w+/\w+)`", TEXT, re.MULTILINE)
    packages = [README.parent / folder for folder in folders]
    named = set(re.findall(r"`((?:[a-z_]+/)*(?:[a-z_]+\.py|[a-z_]+/))`", TEXT))
    assert len(packages) == 5
    assert len(named) > 8
    for name in named:
        places = [README.parent, *packages]
        assert any((place / name).exists() for place in places), name
