"""The gateway's contract for machines: AsyncAPI 3 and JSON Schema, made of the operations table."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from mallku_deploy.contract.asyncapi import asyncapi_document
from mallku_deploy.contract.page import html_page
from mallku_deploy.contract.schemas import schemas_document

__all__ = ["FILES", "asyncapi_document", "html_page", "render", "schemas_document"]

FILES: Final = {"asyncapi": "asyncapi.json", "schemas": "schemas.json", "html": "index.html"}
"""What each format is called in `docs/contract`."""


def render(form: str) -> str:
    """The contract as text in one of the formats that `FILES` names."""
    return _MAKERS[form]()


def _as_json(make: Callable[[], dict[str, Any]]) -> Callable[[], str]:
    return lambda: json.dumps(make(), indent=1, ensure_ascii=False) + "\n"


_MAKERS: Final[dict[str, Callable[[], str]]] = {
    "asyncapi": _as_json(asyncapi_document),
    "schemas": _as_json(schemas_document),
    "html": html_page,
}
