"""What all parts of a policy document have in common: names, and models that refuse the unknown."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict

from mallku_contracts.limits import MAX_NAME_CHARS
from mallku_contracts.subjects import is_name

_GLOB = re.compile(rf"@|[A-Za-z0-9_*-]{{1,{MAX_NAME_CHARS}}}")
_RESERVED: Final = ("_", "mallku_")


class Closed(BaseModel):
    """Strict, frozen, without unknown keys, and quiet about values."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


def is_reserved(name: str) -> bool:
    """Whether a collection or database name belongs to the gateway: no rule can grant it."""
    return name.startswith(_RESERVED)


def as_json(value: Any) -> Any:
    """Lists in the place of the tuples that a frozen model holds."""
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    return value


def _glob(text: str) -> str:
    if not _GLOB.fullmatch(text):
        raise ValueError(f"{text!r} is not a name or a glob of A-Z a-z 0-9 _ - *")
    if is_reserved(text):
        raise ValueError(f"{text!r}: names that begin with _ or mallku_ belong to the gateway")
    return text


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError(f"{text!r} is not a name of A-Z a-z 0-9 _ -")
    return text


Glob = Annotated[str, AfterValidator(_glob)]
Name = Annotated[str, AfterValidator(_name)]
