from __future__ import annotations

import pytest
from pydantic import ValidationError

from mallku_workers.settings import WorkerSettings

FILES = ("bus_credentials", "records_credentials", "key_file", "token_file", "trust_file")


def _settings(**changes: object) -> WorkerSettings:
    values = {"url": "nats://127.0.0.1:1"}
    return WorkerSettings(**(values | dict.fromkeys(FILES, "file") | changes))  # type: ignore[arg-type]  # of a dict


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting comes from around the tests."""
    for name in WorkerSettings.model_fields:
        monkeypatch.delenv(f"MALLKU_WORKER_{name.upper()}", raising=False)


def test_every_setting_has_a_description_and_numbers_have_bounds() -> None:
    """What an operator may tune is explained, and nothing can be set without limit."""
    for name, field in WorkerSettings.model_fields.items():
        assert field.description, name
        if field.annotation is int or field.annotation is float:
            bounds = {type(bound).__name__ for bound in field.metadata}
            assert bounds & {"Ge", "Gt"}, name
            assert "Le" in bounds, name


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each by its name in capitals; a value out of bounds is refused."""
    monkeypatch.setenv("MALLKU_WORKER_MAX_IN_FLIGHT", "7")
    assert _settings().max_in_flight == 7
    monkeypatch.setenv("MALLKU_WORKER_MAX_IN_FLIGHT", "0")
    with pytest.raises(ValidationError):
        _settings()


def test_databases_are_named_with_commas() -> None:
    """Blanks around the names do not matter."""
    assert _settings(databases="a, b,,c ").database_names == ("a", "b", "c")
