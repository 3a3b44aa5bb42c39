"""`migrate check` finds every way around the gateway, says where, and passes over nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from mallku_contracts.errors import ConfigurationError
from mallku_deploy.cli import app
from mallku_deploy.migrating.files import MAX_FILE_BYTES, check_file, check_paths
from mallku_deploy.migrating.python_source import find_in_python
from mallku_deploy.migrating.rules import RULES
from mallku_deploy.migrating.text_source import find_in_text, heed_allowances

ROOT = Path(__file__).resolve().parents[2]

FOUND = {
    "import arango": "MG101",
    "from arango.database import StandardDatabase": "MG101",
    "import importlib; importlib.import_module('arango')": "MG101",
    "__import__('arangoasync.client')": "MG101",
    "from arango import ArangoClient as C\nC(hosts='x')": "MG102",
    "import arango as a\na.ArangoClient()": "MG102",
    "from pyArango.connection import Connection\nConnection()": "MG102",
    "URL = 'http://localhost:8529'": "MG103",
    "URL = f'http://{host}:8529/x'": "MG103",
    "post(base + '/_api/cursor')": "MG104",
    "post('http://h/_db/mallku/_api/document')": "MG104",
    "import os\nos.environ['ARANGO_ROOT_PASSWORD']": "MG105",
    "import os\nos.environ.get('MALLKU_DB_PASSWORD', '')": "MG105",
    "from os import getenv\ngetenv('ARANGO_HOST')": "MG105",
    "db._database.collection('x')": "MG106",
    "self.db._database = other": "MG106",
    "get_database()._database": "MG106",
    "db.aql.execute(f'FOR a IN x FILTER a.t == \"{word}\" RETURN a')": "MG107",
    "db.aql.execute('FOR a IN x FILTER a.t == \"%s\" RETURN a' % word)": "MG107",
    "db.aql.execute('FOR a IN ' + name + ' RETURN a')": "MG107",
    "db.aql_query('FOR a IN {} RETURN a'.format(name))": "MG107",
    "db.execute_secured_query(query=f'FOR a IN {name} RETURN a')": "MG107",
    "def f(db, w):\n    q = f'FOR a IN {w} RETURN a'\n    return db.aql.execute(q)": "MG107",
    "db.collection('reciprocity_balances_secured').insert({})": "MG108",
    "c = db.collection('a_secured')\nc.update({})": "MG108",
    "async def f():\n    c = await db.get_collection('a_secured')\n    await c.get('x')": "MG108",
    "async def f():\n    await get_database().collection('a').get('x')": "MG110",
    "async def f():\n    db = get_database()\n    await db.collection('a').get('x')": "MG110",
    "db = get_database()\nasync def f():\n    c = db.collection('a')\n    await c.get(x)": "MG110",
    "class A:\n    def __init__(self):\n        self.db = get_database()\n"
    "    async def f(self):\n        return await self.db.collection('a').get('x')": "MG110",
    "assert db.has_collection('a') is True": "MG111",
    "def f(db):\n    there = db.has_collection('a')\n    if there is False: pass": "MG111",
    "db.collection('a').has('x') is not True": "MG111",
}
"""Ways around the gateway as people write them."""

PASSED = (
    "from mallku_client.mallku import get_database",
    "import arangoimage",
    "from . import arango",
    "from .arango import ArangoClient",
    '"""The database used to listen on :8529."""',
    "port = 8529",
    "URL = 'http://localhost:18529'",
    "import os\nos.environ['ARANGOLIKE_HOST']\nos.environ[name]",
    "self._database = get_database()\nself._database.collection('x')",
    "db.aql.execute('FOR a IN x ' 'RETURN a')",
    "db.aql.execute('FOR a IN x ' + 'RETURN a')",
    "db.aql.execute('FOR a IN @@c RETURN a', bind_vars={'@c': name})",
    "cursor.execute(f'SELECT {a}')",
    "def f(w):\n    q = f'FOR a IN {w} RETURN a'\ndef g(db, q):\n    db.aql.execute(q)",
    "db.collection('a_secured').insert_secured(model)",
    "db.collection('a').insert({})",
    "items.insert(0, 1)",
    "async def f():\n    db = await get_database()\n    await db.collection('a').get('x')",
    "async def f():\n    db = get_database()\n    await db.collection('a').insert({})",
    "async def f():\n    c = await get_database().get_collection('a')\n    await c.get('x')",
    "async def f():\n    self.c = get_database().collection('a')\n    self.c.get('x')",
    "async def f(db):\n    assert await db.has_collection('a') is True",
    "path.exists() is True",
    "db.has_collection('a') == True",
)
"""What looks like one, and is none."""


@pytest.mark.parametrize(("source", "code"), FOUND.items())
def test_a_way_around_the_gateway_is_found(source: str, code: str) -> None:
    """Each is found as what it is."""
    assert code in {found.code for found in find_in_python(source, "a.py")}


@pytest.mark.parametrize("source", PASSED)
def test_what_only_looks_like_one_is_passed(source: str) -> None:
    """Nobody is sent to change what is right."""
    assert find_in_python(source, "a.py") == []


def test_every_rule_is_found_by_something_here() -> None:
    """A rule that nothing triggers would be a promise without a test."""
    elsewhere = {"MG001", "MG002", "MG109"}
    assert set(FOUND.values()) | elsewhere == set(RULES)


def test_a_finding_says_where_in_characters() -> None:
    """Umlauts before the place move no column, though Python counts bytes."""
    (found,) = find_in_python("x = 1\nä, b = 'ö', db._database", "a.py")
    assert (found.line, found.column) == (2, 13)


def test_findings_come_in_the_order_of_the_text() -> None:
    """Whoever goes through a file goes through it once."""
    source = "import arango\nu = ':8529'\narango.ArangoClient()\nv = db._database\n"
    assert [found.line for found in find_in_python(source, "a.py")] == [1, 2, 3, 4]


@pytest.mark.parametrize("source", ["def f(:\n", "x = '\n", "\0", "(" * 500])
def test_what_is_not_python_is_a_finding(source: str) -> None:
    """A file that cannot be read is not a clean one."""
    assert [found.code for found in find_in_python(source, "a.py")] == ["MG001"]


@given(st.text(max_size=60))
def test_no_text_makes_it_fail(text: str) -> None:
    """Whatever stands in a file, an answer comes back."""
    found = [*find_in_python(text, "a.py"), *find_in_text(text, "a.yaml")]
    heed_allowances(found, text, "a.py")


def test_settings_and_dependencies_are_looked_through_too() -> None:
    """The driver and the port also stand where no Python is."""
    text = 'URL: http://db:8529\n"python-arango>=8",\npython-arango==8.1\nnot-python-arango\n'
    assert [(f.line, f.column, f.code) for f in find_in_text(text, "a.toml")] == [
        (1, 15, "MG103"),
        (2, 2, "MG109"),
        (3, 1, "MG109"),
    ]


def _left(source: str) -> list[str]:
    return [f.code for f in heed_allowances(find_in_python(source, "a.py"), source, "a.py")]


def test_an_allowance_with_a_reason_keeps_its_line_alone() -> None:
    """At the end of a line or above it; the next line is found as ever."""
    assert _left("u = ':8529'  # migrate: allow[MG103] a test's server\n") == []
    assert _left("# migrate: allow[MG103] a test's server\nu = ':8529'\n") == []
    assert _left("# migrate: allow[MG103] here\nu = ':8529'\nv = ':8529'\n") == ["MG103"]
    assert _left("u = ':8529'  # migrate: allow[MG101] another rule\n") == ["MG103"]


@pytest.mark.parametrize("allowance", ["allow[MG103]", "allow[MG999] why", "allow[] why"])
def test_an_allowance_that_cannot_be_heeded_is_a_finding(allowance: str) -> None:
    """Without a reason, or for no rule, it keeps nothing."""
    assert sorted(_left(f"u = ':8529'  # migrate: {allowance}\n")) == ["MG002", "MG103"]


def _tree(folder: Path) -> None:
    (folder / "src").mkdir()
    (folder / "src/a.py").write_text("import arango\n")
    (folder / "src/b.py").write_text("x = 1\n")
    (folder / ".venv/lib").mkdir(parents=True)
    (folder / ".venv/lib/c.py").write_text("import arango\n")
    (folder / "run").write_text("#!/usr/bin/env python3\nimport arango\n")
    (folder / "requirements-dev.txt").write_text("python-arango==8.1\n")
    (folder / "notes.txt").write_text(":8529\n")


def test_a_tree_is_walked_without_what_is_nobodys_source(tmp_path: Path) -> None:
    """Virtual environments are other people's, notes are nobody's; a named file is checked."""
    _tree(tmp_path)
    found = [f for findings in check_paths([tmp_path]) for f in findings]
    assert [Path(f.path).name for f in found] == ["requirements-dev.txt", "a.py"]
    assert [f.code for f in check_file(tmp_path / "run")] == ["MG101"]


def test_excluded_paths_are_passed_over(tmp_path: Path) -> None:
    """By glob over the path as it is shown."""
    _tree(tmp_path)
    found = [f for findings in check_paths([tmp_path], ["*/src/*"]) for f in findings]
    assert [f.code for f in found] == ["MG109"]


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """A mistyped folder is not a clean one."""
    with pytest.raises(ConfigurationError, match="nowhere: no such file"):
        list(check_paths([tmp_path / "nowhere"]))


def test_what_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    """Too large, no text, or in an encoding that it does not declare."""
    large = tmp_path / "large.py"
    large.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    latin = tmp_path / "latin.py"
    latin.write_bytes("x = 'ä'".encode("latin-1"))
    assert [check_file(path)[0].code for path in (large, latin)] == ["MG001", "MG001"]
    latin.write_bytes("# coding: latin-1\nx = 'ä'; import arango".encode("latin-1"))
    assert [found.code for found in check_file(latin)] == ["MG101"]


@pytest.mark.parametrize(
    ("source", "flags", "code"),
    [
        ("x = 1\n", [], 0),
        ("db._database\n", [], 0),
        ("db._database\n", ["--strict"], 1),
        ("import arango\n", [], 1),
    ],
)
def test_the_exit_code_says_whether_it_will_work(
    tmp_path: Path, source: str, flags: list[str], code: int
) -> None:
    """Advice fails a build only when asked to."""
    (tmp_path / "a.py").write_text(source)
    assert CliRunner().invoke(app, ["migrate", "check", str(tmp_path), *flags]).exit_code == code


def test_machines_and_code_hosts_read_it(tmp_path: Path) -> None:
    """JSON holds every finding; annotations escape what would end them."""
    (tmp_path / "a,b.py").write_text("import arango\n")
    run = CliRunner()
    shown = run.invoke(app, ["migrate", "check", str(tmp_path), "--format", "json"])
    report = json.loads(shown.stdout)
    assert report["breaking"] == 1
    assert report["findings"][0] | {"path": ""} == {
        "path": "",
        "line": 1,
        "column": 1,
        "code": "MG101",
        "name": "driver-import",
        "breaks": True,
        "what": RULES["MG101"].what,
        "seen": "import of arango",
        "instead": RULES["MG101"].instead,
    }
    shown = run.invoke(app, ["migrate", "check", str(tmp_path), "--format", "github"])
    assert shown.stdout.startswith(f"::error file={tmp_path}/a%2Cb.py,line=1,col=1,title=MG101::")


def test_the_commit_hook_calls_what_there_is() -> None:
    """The hook's entry is a command of this command line, and takes file names."""
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    program, *arguments = hook["entry"].split()
    assert program == "mallku-gateway"
    assert CliRunner().invoke(app, [*arguments, __file__, "--help"]).exit_code == 0


def test_our_own_callers_go_through_the_gateway() -> None:
    """Client, contracts and broker hold nothing that goes around it but what speaks of it."""
    paths = [ROOT / folder for folder in ("client", "contracts", "broker")]
    found = [f for findings in check_paths(paths) for f in findings if f.rule.breaks]
    assert found == [], "\n".join(map(str, found))
