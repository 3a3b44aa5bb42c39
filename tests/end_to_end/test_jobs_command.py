"""`jobs` against a real `up`: what waits, what is dead and why, and another try."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mallku_client import ClientSettings, sync
from mallku_contracts.errors import UniqueViolation
from mallku_deploy.environment import read_env_file
from tests.end_to_end.conftest import Up, run

NAME = "submitted"
RESULT_S = 20.0


@pytest.fixture(scope="module")
def client(up: Up) -> Iterator[sync.SecuredDatabaseInterface]:
    """What a service would use."""
    settings = ClientSettings.from_environment(read_env_file(up.env_file))
    with sync.SecuredDatabaseInterface.connect(settings=settings) as db:
        db.create_collection(NAME)
        yield db


def credentials(up: Up) -> Path:
    """The folder that says who the caller is."""
    return Path(read_env_file(up.env_file)["MALLKU_KEY_FILE"]).parent


def jobs(up: Up, *arguments: str) -> Any:
    """The JSON that `jobs` prints."""
    done = run("jobs", *arguments, "--data", str(up.house), "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_job_that_waits_is_listed_and_shown(
    up: Up, client: sync.SecuredDatabaseInterface
) -> None:
    """With whose it is, what it asks, when it is due, and its arguments."""
    later = client.collection(NAME).submit(run_at=datetime.now(UTC) + timedelta(hours=1))
    job = later.insert({"_key": "tomorrow"})
    assert job.receipt is not None
    (seen,) = [each for each in jobs(up, "list")["jobs"] if each["job"] == job.idempotency_key]
    assert (seen["operation"], seen["collection"], bool(seen["run_at"])) == ("insert", NAME, True)
    shown = jobs(up, "show", str(job.receipt.sequence))
    assert shown["arguments"]["document"] == {"_key": "tomorrow"}
    text = run("jobs", "list", "--data", str(up.house))
    assert "insert mallku/submitted" in text.stdout
    assert "scheduled" in text.stderr


def test_a_dead_job_is_shown_and_redriven(up: Up, client: sync.SecuredDatabaseInterface) -> None:
    """Its reason stands in a table; a caller may not redrive it, the operator may."""
    collection = client.collection(NAME)
    collection.insert({"_key": "taken"})
    job = collection.submit.insert({"_key": "taken", "again": True})
    with pytest.raises(UniqueViolation):
        job.result(RESULT_S)
    (dead,) = [each for each in jobs(up, "dead") if each["job"] == job.idempotency_key]
    assert dead["code"] == "unique_violation"
    text = run("jobs", "dead", "--env-file", str(up.env_file))  # a caller's, of the same house
    assert "unique_violation" in text.stdout, text.stderr
    url = read_env_file(up.env_file)["MALLKU_API_GATEWAY_URL"]
    two = {"MALLKU_API_GATEWAY_URL": url, "MALLKU_CREDENTIALS": str(credentials(up))}
    text = run("jobs", "dead", variables=two)
    assert "unique_violation" in text.stdout, text.stderr
    place = str(dead["sequence"])
    assert jobs(up, "show", place, "--dead")["arguments"]["document"]["again"]
    refused = run("jobs", "redrive", place, "--data", str(up.house))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "permission_denied" in refused.stderr
    collection.delete("taken")
    assert jobs(up, "redrive", place, "--as", "operator") is True
    assert client.job(job.idempotency_key).result(RESULT_S)["_key"] == "taken"
    assert run("jobs", "show", "99999", "--data", str(up.house)).returncode == 1
