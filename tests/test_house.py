"""The house keeps its own rules: what the tools cannot check is checked here."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
TOP = ("contracts", "broker", "client", "workers", "deploy")
PACKAGES = {top: ROOT / top / f"mallku_{top}" for top in TOP}
MODULES = sorted(path for package in PACKAGES.values() for path in package.rglob("*.py"))
TEST_MODULES = sorted((ROOT / "tests").rglob("*.py"))

MAX_LINES = 400
# A longer module has a reason that can be said aloud.
LONGER: dict[str, str] = {
    "contracts/mallku_contracts/arguments.py": "one model after the other, as in the table",
    "contracts/mallku_contracts/errors.py": "one tree, drawn, numbered and listed in one place",
    "tests/workers/embedded/aql/test_hostile.py": "one hostile query after the other",
    "tests/workers/embedded/aql/oracle.py": "a second reading of a language, independent of ours",
}

# What may be imported by the package that has no I/O and no clock; the standard library's part is
# an import contract. `cryptography` is what PyJWT's key objects are made of.
PURE = {"cryptography", "jwt", "lark", "msgpack", "nacl", "pydantic", "pydantic_core", "yaml"} | {
    "jsonschema",  # with `referencing`: a policy describes documents; no reference is ever fetched
    "referencing",
    "typing_extensions",  # TypedDict as pydantic needs it before Python 3.12
}
NOT_PURE_CALLS = {"open", "input", "print", "now", "utcnow", "today", "read_text", "read_bytes"}

# In pieces, so that this file does not name what it looks for.
REGISTRY_HOST = re.compile(
    "|".join(
        re.escape(".".join(parts))
        for parts in (
            ("pypi", "org"),
            ("python" + "hosted", "org"),
            ("npmjs", "org"),
            ("npmjs", "com"),
            ("yarnpkg", "com"),
            ("proxy", "golang", "org"),
            ("crates", "io"),
        )
    )
)
HOME_PATH = re.compile(r"/home/[a-z_]|/Users/[A-Za-z]|/root[/]|[A-Z]:\\Users\\")
MADE_HERE = {"dist", "build", "__pycache__"}
DOTTED_BUT_OURS = {".ci", ".github", ".gitignore", ".dockerignore"}


def _relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), filename=str(path))


def _ours(path: Path) -> bool:
    parts = path.relative_to(ROOT).parts
    return all(
        part not in MADE_HERE and (part in DOTTED_BUT_OURS or not part.startswith("."))
        for part in parts
    )


def _repository_files() -> list[Path]:
    found: list[Path] = []
    for top in sorted(ROOT.iterdir()):
        if _ours(top):
            found += [top] if top.is_file() else [p for p in top.rglob("*") if p.is_file()]
    return [path for path in found if _ours(path)]


def _project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def _requirements(project: dict[str, object]) -> set[str]:
    match project:
        case {
            "build-system": {"requires": list(build)},
            "project": {"name": str(own), "dependencies": list(base), "optional-dependencies": o},
        } if isinstance(o, dict):
            texts = [*build, *base, *(text for extra in o.values() for text in extra)]
        case _:
            pytest.fail("pyproject.toml has another shape than this test knows")
    names: set[str] = {canonicalize_name(Requirement(text).name) for text in texts}
    return names - {canonicalize_name(own)}


def test_every_dependency_is_pinned() -> None:
    """Each dependency of pyproject.toml, extras and build included, has its line in constraints."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = {canonicalize_name(line.partition("==")[0]) for line in lines}
    assert _requirements(_project()) - pinned == set()


def test_constraints_are_bare_pins() -> None:
    """constraints.txt holds `name==version` lines and nothing that names a place or a machine."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    bare = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==([0-9]+!)?[0-9][0-9a-z.]*")
    assert [line for line in lines if not bare.fullmatch(line)] == []
    assert len({canonicalize_name(line.partition("==")[0]) for line in lines}) == len(lines)


@pytest.mark.parametrize("top", TOP)
def test_a_top_folder_is_no_package(top: str) -> None:
    """`contracts/` and its neighbours hold a package, they are none; each package ships types."""
    assert not (ROOT / top / "__init__.py").exists()
    assert (PACKAGES[top] / "__init__.py").is_file()
    assert (PACKAGES[top] / "py.typed").is_file()


@pytest.mark.parametrize("path", MODULES, ids=_relative)
def test_a_public_module_says_what_it_is(path: Path) -> None:
    """A module whose name does not begin with `_` has a docstring; so has each `__init__`."""
    if path.stem.startswith("_") and not path.stem.startswith("__"):
        pytest.skip("private module")
    assert ast.get_docstring(_tree(path))


@pytest.mark.parametrize("path", TEST_MODULES, ids=_relative)
def test_a_test_claims_something(path: Path) -> None:
    """Each test function, at any depth, has a docstring."""
    functions = (
        node
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    silent = [f.name for f in functions if f.name.startswith("test") and not ast.get_docstring(f)]
    assert silent == []


@pytest.mark.parametrize("path", [*MODULES, *TEST_MODULES], ids=_relative)
def test_a_module_fits_the_head(path: Path) -> None:
    """A module has at most 400 lines, or is listed with its reason, and only then."""
    lines = len(path.read_text("utf-8").splitlines())
    assert (lines > MAX_LINES) == (_relative(path) in LONGER), f"{lines} lines"


def test_the_list_of_longer_modules_names_real_ones() -> None:
    """Every reason for a long module belongs to a module that is still there."""
    assert LONGER.keys() <= {_relative(path) for path in [*MODULES, *TEST_MODULES]}


@pytest.mark.parametrize(
    "path", [m for m in MODULES if m.is_relative_to(PACKAGES["contracts"])], ids=_relative
)
def test_contracts_stays_pure(path: Path) -> None:
    """Contracts imports what is listed above, opens nothing, prints nothing, asks no clock."""
    foreign: set[str] = set()
    calls: set[str] = set()
    for node in ast.walk(_tree(path)):
        match node:
            case ast.Import(names=names):
                foreign |= {alias.name.partition(".")[0] for alias in names}
            case ast.ImportFrom(module=str(module), level=0):
                foreign.add(module.partition(".")[0])
            case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
                calls.add(name)
            case _:
                pass
    assert foreign - PURE - set(sys.stdlib_module_names) - {"mallku_contracts"} == set()
    assert calls & NOT_PURE_CALLS == set()


def test_importing_the_client_is_light() -> None:
    """`import mallku_client` leaves what is used rarely, or not by a client, for later."""
    late = {"arango", "jwt", "lark", "mallku_deploy", "mallku_workers", "rich", "typer", "yaml"}
    code = "import sys, mallku_client; print(*sys.modules, sep='\\n')"
    run = subprocess.run(  # -I: neither the working directory nor PYTHON… variables play a part
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert late & set(run.stdout.split()) == set()


def test_no_file_names_a_registry_or_a_home() -> None:
    """Nothing here knows on whose machine it was made, or where packages come from."""
    found: list[str] = []
    for path in _repository_files():
        text = path.read_bytes().decode("utf-8", "replace")
        for number, line in enumerate(text.splitlines(), 1):
            if REGISTRY_HOST.search(line) or HOME_PATH.search(line):
                found.append(f"{_relative(path)}:{number}: {line.strip()[:80]}")
    assert found == []
