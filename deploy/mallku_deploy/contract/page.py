"""The contract as one HTML page that needs nothing else: no script, no font, no picture."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any, Final

from mallku_contracts.operations import OPERATIONS, Operation
from mallku_deploy.contract.asyncapi import asyncapi_document
from mallku_deploy.contract.examples import example
from mallku_deploy.contract.schemas import DEFINITIONS, Schemas, make_schemas

_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font: 14px/1.4 ui-monospace, monospace; }
pre { padding: .8rem; overflow-x: auto; background: color-mix(in srgb, currentColor 7%, Canvas); }
table { border-collapse: collapse; width: 100%; margin: .6rem 0 1rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0;
  border-bottom: 1px solid color-mix(in srgb, currentColor 15%, Canvas); }
nav { columns: 12rem; } nav a { display: block; }
h2 { margin-top: 2.4rem; } h3 { margin: 2rem 0 .2rem; }
.kind { font-size: .85rem; padding: .1rem .5rem; border-radius: 1rem; border: 1px solid; }
"""


def html_page() -> str:
    """The page as text."""
    schemas = make_schemas(DEFINITIONS)
    document = asyncapi_document()
    body = "\n".join(_body(schemas, document))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Mallku gateway: contract</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _body(schemas: Schemas, document: dict[str, Any]) -> Iterator[str]:
    info = document["info"]
    yield f"<h1>{escape(info['title'])} {escape(info['version'])}: contract</h1>"
    for paragraph in info["description"].split("\n\n"):
        yield f"<p>{_text(paragraph)}</p>"
    yield (
        "<p>For machines: <a href='asyncapi.json'>AsyncAPI 3</a>,"
        " <a href='schemas.json'>JSON Schemas</a>.</p>"
    )
    yield "<h2>Operations</h2>"
    links = "".join(f"<a href='#{name}'>{name}</a>" for name in OPERATIONS)
    yield f"<nav>{links}</nav>"
    for operation in OPERATIONS.values():
        yield from _operation(schemas, document, operation)
    yield "<h2>Other subjects</h2>"
    for name in ("audit", "checkpoints", "cancel"):
        channel = document["channels"][name]
        yield f"<p>{_text(channel['summary'])}: <code>{escape(channel['address'])}</code></p>"
    yield "<h2 id='errors'>Errors</h2>"
    yield _errors(schemas.definitions["Error"]["x-codes"])
    yield "<h2>Shapes</h2>"
    for name in sorted(schemas.definitions):
        yield from _shape(name, schemas.definitions[name])


def _operation(schemas: Schemas, document: dict[str, Any], operation: Operation) -> Iterator[str]:
    name = operation.name
    yield (f"<h3 id='{name}'>{name} <span class='kind'>{operation.access.value}</span></h3>")
    yield f"<p>{_text(operation.summary)}.</p>"
    for channel in (name, f"{name}.job"):
        if channel in document["channels"]:
            yield f"<p><code>{escape(document['channels'][channel]['address'])}</code></p>"
    model = schemas.definitions[operation.arguments.__name__]
    yield f"<p>{_text(model.get('description', ''))}</p>"
    yield _fields(model)
    shown = json.dumps(example(name), ensure_ascii=False)
    yield f"<pre>{escape(shown)}</pre>"
    yield f"<p>Answer: {_type(schemas.results[name])}</p>"


def _shape(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"<h3 id='shape-{name}'>{name}</h3>"
    yield f"<p>{_text(schema.get('description', '').partition('Attributes:')[0])}</p>"
    yield _fields(schema)


def _fields(schema: dict[str, Any]) -> str:
    properties = schema.get("properties", {})
    if not properties:
        return "<p>No fields.</p>"
    required = set(schema.get("required", ()))
    rows = "".join(_row(name, each, name in required) for name, each in properties.items())
    return f"<table><tr><th>field</th><th>type</th><th>default</th></tr>{rows}</table>"


def _row(name: str, schema: dict[str, Any], required: bool) -> str:
    default = json.dumps(schema["default"]) if "default" in schema else "empty"
    default = "required" if required else default
    return (
        f"<tr><td><code>{escape(name)}</code></td><td>{_type(schema)}</td>"
        f"<td>{escape(default)}</td></tr>"
    )


_BOUNDS: Final = {
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {}",
    "maxItems": "at most {}",
    "minProperties": "at least {}",
    "maxProperties": "at most {}",
    "minimum": "from {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "to {}",
}


def _type(schema: dict[str, Any]) -> str:
    """A schema in a few words, with links to what it names."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"<a href='#shape-{name}'>{name}</a>"
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return " or ".join(map(_type, schema[word]))
    if "enum" in schema or "const" in schema:
        values = schema.get("enum") or [schema["const"]]
        return " or ".join(f"<code>{escape(json.dumps(value))}</code>" for value in values)
    kind = str(schema.get("type", "any value"))
    if kind == "array" and schema.get("items"):
        kind = f"list of {_type(schema['items'])}"
    bounds = [text.format(schema[name]) for name, text in _BOUNDS.items() if name in schema]
    return ", ".join([kind, *bounds])


def _errors(codes: list[dict[str, Any]]) -> str:
    rows = "".join(
        f"<tr><td>{each['number']}</td><td><code>{each['code']}</code></td>"
        f"<td>{'yes' if each['retryable'] else ''}</td><td>{each['arangodb'] or ''}</td>"
        f"<td>{_text(each['meaning'])}</td></tr>"
        for each in codes
    )
    head = "<tr><th>number</th><th>code</th><th>retryable</th><th>ArangoDB</th><th></th></tr>"
    return f"<table>{head}{rows}</table>"


def _text(text: str) -> str:
    """Prose with what stands between ticks as code."""
    parts = escape(" ".join(text.split()), quote=False).split("`")
    return "".join(f"<code>{part}</code>" if at % 2 else part for at, part in enumerate(parts))
