"""`policy check`: what is odd is said with its place, and is no error."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from mallku_deploy.cli import app

POLICY = "version: 1\nroles:\n  idle: {rules: []}\nprincipals:\n  who: {}\n"


def test_warnings_are_shown_and_the_policy_passes(tmp_path: Path) -> None:
    """Each warning is a line with file, line and column; the command succeeds."""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY, "utf-8")
    done = CliRunner().invoke(app, ["policy", "check", str(path)])
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert f"! {path}:3:3: roles.idle: nobody has this role" in lines
    assert f"! {path}:5:3: principals.who: a caller without roles may do nothing" in lines


def test_warnings_are_part_of_what_machines_read(tmp_path: Path) -> None:
    """With `--json` the warnings are a list; a policy that is meant as it stands has none."""
    path = tmp_path / "policy.yaml"
    for text, count in ((POLICY, 3), ("version: 1\nroles: {}\nprincipals: {}\n", 0)):
        path.write_text(text, "utf-8")
        done = CliRunner().invoke(app, ["policy", "check", str(path), "--json"])
        assert len(json.loads(done.stdout)["warnings"]) == count
