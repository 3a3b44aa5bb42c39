"""Reads the protected part of an envelope: a flat map with exactly the fields that it must have."""

from __future__ import annotations

from typing import Any, Final

import msgpack

from mallku_contracts.errors import MalformedEnvelope, UnsupportedVersion

VERSION: Final = 1
"""The version of envelopes that is spoken here."""

_MAX_FIELDS: Final = 32


def read_fields(
    protected: bytes, expected: dict[str, type], otherwise: dict[str, type] | None = None
) -> dict[str, Any]:
    """The fields of a protected part: exactly those of `expected`, each of its type.

    Args:
        otherwise: The fields that it may have instead, if it has all of them.

    Raises:
        UnsupportedVersion: `v` is not the version spoken here.
        MalformedEnvelope: naming the field that is missing, unknown or of another type.
    """
    fields = _read_flat_map(protected)
    version = fields.get("v")
    if type(version) is not int or version != VERSION:
        raise UnsupportedVersion(f"protected.v: this side speaks version {VERSION}")
    if otherwise is not None and fields.keys() == otherwise.keys():
        expected = otherwise
    if fields.keys() != expected.keys():
        odd = min(map(str, fields.keys() ^ expected.keys()))
        raise MalformedEnvelope(f"protected.{odd[:40]} is missing or unknown")
    for name, kind in expected.items():
        if type(fields[name]) is not kind:
            raise MalformedEnvelope(f"protected.{name} is not of type {kind.__name__}")
    return fields


def _read_flat_map(protected: bytes) -> dict[Any, Any]:
    """Read a map that holds no arrays, no extension types and no key twice."""
    try:
        fields = msgpack.unpackb(
            protected,
            strict_map_key=True,
            object_pairs_hook=_unique,
            max_array_len=0,
            max_map_len=_MAX_FIELDS,
            max_ext_len=0,
        )
    except (ValueError, TypeError, msgpack.UnpackException):
        raise MalformedEnvelope("protected is not a flat msgpack map with unique keys") from None
    if type(fields) is not dict:
        raise MalformedEnvelope("protected is not a map")
    return fields


def _unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice")
    return value


def check_ranges(fields: dict[str, Any], ranges: tuple[tuple[str, int, int], ...]) -> None:
    """Refuse a number outside (field, least, most); `MalformedEnvelope` names the field."""
    for name, low, high in ranges:
        if not low <= fields[name] <= high:
            raise MalformedEnvelope(f"protected.{name}: {fields[name]} is out of range")
