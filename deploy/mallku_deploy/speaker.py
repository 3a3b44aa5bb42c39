"""Who speaks when a command is sent from the command line: an environment, a file, or a house."""

from __future__ import annotations

import os
from pathlib import Path

from mallku_client.settings import ClientSettings
from mallku_contracts.errors import ConfigurationError
from mallku_deploy.environment import read_env_file
from mallku_deploy.house import House, default_house

CALLER = "mallku"
"""The principal of a house that speaks when none is named."""


def find_speaker(env_file: Path | None, principal: str | None, data: Path | None) -> ClientSettings:
    """The client's settings: from a file, from a running `up` (`principal`, `data`), or ours.

    Raises:
        ConfigurationError: naming what is missing, and the ways to say it.
    """
    if env_file is not None:
        return ClientSettings.from_environment(os.environ | read_env_file(env_file))
    if principal is not None or data is not None:
        house = House(data.absolute()) if data else default_house()
        return ClientSettings.from_environment(_of_house(house, principal or CALLER))
    return ClientSettings.from_environment()


def _of_house(house: House, principal: str) -> dict[str, str]:
    from mallku_deploy.tenancy import find

    running = find(house)
    if running is None:
        raise ConfigurationError(f"no gateway runs in {house.root}: start `mallku-gateway up`")
    if not house.principal(principal).key.exists():
        raise ConfigurationError(f"{house.principals} has no keys of a caller {principal!r}")
    return os.environ | house.environment(principal, running.url)
