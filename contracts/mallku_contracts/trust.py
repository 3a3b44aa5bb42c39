"""Whose tokens are believed: issuers and their public keys.

The trust document is JSON. Each issuer's value is a JWK set (RFC 7517, section 5), or says where
its keys lie::

    {"issuers": {
        "https://mallku.example/issuer": {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": …}]},
        "https://second.example": {"directory": "keys.d"},
        "https://third.example": {"jwks_file": "third.json"},
        "https://fourth.example": {"jwks_url": "https://fourth.example/jwks", "ca_file": "ca.pem"}}}

One algorithm, EdDSA with Ed25519 (RFC 8037): a key id names one key and no algorithm can be chosen.
Every key answers to its RFC 7638 thumbprint. What lies outside of the document may call it by
another name as well: the `kid` of a JWK, the name of a PEM file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mallku_contracts.keys import KeyFormatError, PublicKey
from mallku_contracts.limits import MAX_TRUST_CHARS

MAX_KEY_ID_CHARS: Final = 128
"""A key id that an issuer chose, characters."""

MAX_ISSUER_KEYS: Final = 64
"""Keys of one issuer."""

_PLACES: Final = ("directory", "jwks_file", "jwks_url")
_PARTS: Final = frozenset({"issuers", "administrators"})
_ALGORITHMS: Final = (None, "EdDSA", "Ed25519")

Keys = Mapping[str, PublicKey]
"""An issuer's keys by key id; a key with a name of its own stands there twice."""


class TrustError(ValueError):
    """The trust document cannot be used; the message says what is wrong in it."""


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where an issuer's keys lie, when not in the document itself.

    Attributes:
        kind: `directory` of PEM files, `jwks_file`, or `jwks_url` (https).
        place: A path, by itself relative to the document's folder, or a URL.
        ca_file: Who may vouch for the URL's server; the system's list without it.
    """

    kind: str
    place: str
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class Trust:
    """The public keys of every trusted issuer, by issuer and key id.

    Raises:
        TrustError: one key id stands for two keys.
    """

    issuers: Mapping[str, Keys]
    _by_id: dict[str, PublicKey] = field(
        default_factory=dict[str, PublicKey], init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        for issuer, keys in self.issuers.items():
            for kid, key in keys.items():
                if self._by_id.setdefault(kid, key) != key:
                    raise TrustError(f"issuer {issuer!r}: the key id {kid!r} names two keys")

    def key(self, issuer: str, kid: str) -> PublicKey | None:
        """The issuer's key with this id, or None when it is not trusted."""
        return self.issuers.get(issuer, {}).get(kid)

    def any_key(self, kid: str) -> PublicKey | None:
        """The key with this id, whichever trusted issuers it belongs to: an id names one key."""
        return self._by_id.get(kid)

    @property
    def silent(self) -> list[str]:
        """The issuers without any key: none of their tokens is believed."""
        return [issuer for issuer, keys in self.issuers.items() if not keys]

    @classmethod
    def of(cls, issuer: str, *keys: PublicKey) -> Trust:
        """Trust in one issuer."""
        return cls({issuer: {key.kid: key for key in keys}})

    def to_json(self, *administrators: PublicKey) -> str:
        """The document as indented JSON, ready for a trust file; all keys stand in it.

        Args:
            administrators: Who may sign policies and revocations.
        """
        issuers = {
            issuer: {"keys": [key.jwk() for key in dict.fromkeys(keys.values())]}
            for issuer, keys in self.issuers.items()
        }
        document: dict[str, Any] = {"issuers": issuers}
        if administrators:
            document["administrators"] = {"keys": [key.jwk() for key in administrators]}
        return json.dumps(document, indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Trust:
        """Read a document with all keys in it; `TrustError` says which part of it is wrong."""
        issuers: dict[str, Keys] = {}
        for issuer, keys in read_trust_document(text).items():
            if isinstance(keys, KeySource):
                raise TrustError(f"issuer {issuer!r}: its keys are not in the document")
            issuers[issuer] = keys
        return cls(issuers)


def read_trust_document(text: str) -> dict[str, Keys | KeySource]:
    """Each issuer's keys, or where they lie; `TrustError` says which part of the text is wrong."""
    document = _read_json(text)
    issuers = document.get("issuers") if isinstance(document, dict) else None
    if not isinstance(issuers, dict) or not issuers or not document.keys() <= _PARTS:
        raise TrustError(
            'expected {"issuers": {NAME: {"keys": [JWK, …]}, …}}, "administrators" where there are'
            " any, and nothing else"
        )
    return {issuer: _read_issuer(issuer, value) for issuer, value in issuers.items()}


def read_administrators(text: str) -> Keys:
    """Who may sign policies and revocations: `{"administrators": {"keys": [JWK, …]}}`, or nobody.

    Raises:
        TrustError: the text is no trust document, or what it says of administrators no JWK set.
    """
    read_trust_document(text)
    document = _read_json(text)
    try:
        return _read_keys(document["administrators"]) if "administrators" in document else {}
    except (KeyFormatError, TrustError) as error:
        raise TrustError(f"administrators: {error}") from None


def read_jwks(text: str) -> Keys:
    """The Ed25519 keys of a JWK set that an issuer publishes; keys of other kinds are passed over.

    Raises:
        TrustError: it is no JWK set, one of the keys is broken or private, or a key id stands for
            two keys.
    """
    document = _read_json(text)
    jwks = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(jwks, list):
        raise TrustError('expected a JWK set: {"keys": [JWK, …]}')
    return merge_keys(_published(jwk) for jwk in jwks if _is_ours(jwk))


def read_key_file(name: str, pem: str) -> Keys:
    """The key in a PEM file (SPKI, RFC 8410), by its thumbprint and by the file's name.

    Raises:
        TrustError: it holds no public Ed25519 key.
    """
    try:
        return _named(PublicKey.from_pem(pem), name)
    except KeyFormatError as error:
        raise TrustError(f"{name}: {error}") from None


def merge_keys(parts: Iterable[Keys]) -> Keys:
    """All of them together; `TrustError` when a key id stands for two keys, or there are many."""
    merged: dict[str, PublicKey] = {}
    for keys in parts:
        for kid, key in keys.items():
            if merged.setdefault(kid, key) != key:
                raise TrustError(f"the key id {kid!r} names two keys")
    if len(set(merged.values())) > MAX_ISSUER_KEYS:
        raise TrustError(f"more than {MAX_ISSUER_KEYS} keys")
    return merged


def _read_json(text: str) -> Any:
    if len(text) > MAX_TRUST_CHARS:
        raise TrustError(f"longer than {MAX_TRUST_CHARS} characters")
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except TrustError:
        raise
    except (ValueError, RecursionError) as error:
        raise TrustError(f"not JSON: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise TrustError("a name stands twice in the same object")
    return value


def _read_issuer(issuer: str, value: Any) -> Keys | KeySource:
    try:
        if isinstance(value, dict) and value.keys() & {*_PLACES, "ca_file"}:
            return _read_source(value)
        return _read_keys(value)
    except (KeyFormatError, TrustError) as error:
        raise TrustError(f"issuer {issuer!r}: {error}") from None


def _read_keys(value: Any) -> Keys:
    jwks = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(jwks, list) or not jwks:
        raise TrustError("expected a JWK set with at least one key")
    return merge_keys({key.kid: key} for key in map(PublicKey.from_jwk, jwks))


def _read_source(value: dict[str, Any]) -> KeySource:
    kinds = [kind for kind in _PLACES if kind in value]
    if len(kinds) != 1 or not value.keys() <= {*kinds, "ca_file"}:
        raise TrustError(f'expected "keys", or one of {", ".join(_PLACES)}')
    if not all(isinstance(text, str) and text for text in value.values()):
        raise TrustError("a place is a text that is not empty")
    (kind,) = kinds
    source = KeySource(kind, value[kind], value.get("ca_file"))
    if kind == "jwks_url" and not source.place.startswith("https://"):
        raise TrustError("keys come from https:// URLs only")
    if kind != "jwks_url" and source.ca_file is not None:
        raise TrustError("ca_file belongs to a jwks_url")
    return source


def _is_ours(jwk: Any) -> bool:
    """Whether a published key is one to verify with; an issuer may publish keys for other uses."""
    if not isinstance(jwk, dict):
        raise TrustError("a JWK is a JSON object")
    kind = (jwk.get("kty"), jwk.get("crv"))
    return (
        kind == ("OKP", "Ed25519")
        and jwk.get("use", "sig") == "sig"
        and jwk.get("alg") in _ALGORITHMS
    )


def _published(jwk: dict[str, Any]) -> Keys:
    try:
        key = PublicKey.from_jwk({name: jwk[name] for name in jwk if name != "kid"})
    except KeyFormatError as error:
        raise TrustError(f"key {jwk.get('kid')!r}: {error}") from None
    return _named(key, jwk.get("kid", key.kid))


def _named(key: PublicKey, name: object) -> Keys:
    if not isinstance(name, str) or not 0 < len(name) <= MAX_KEY_ID_CHARS:
        raise TrustError(f"a key id is a text of 1 to {MAX_KEY_ID_CHARS} characters")
    return {key.kid: key, name: key}
