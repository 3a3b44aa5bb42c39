"""Files that people name on the command line, read with errors that say file, line and way out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mallku_broker.files import read_text
from mallku_broker.trust import load_trust
from mallku_contracts.errors import ConfigurationError, MallkuError
from mallku_contracts.keys import KeyFormatError, PublicKey
from mallku_contracts.trust import Trust

if TYPE_CHECKING:  # pydantic and YAML are loaded by those who read a policy, `decode` does not
    from mallku_contracts.flags import Flags
    from mallku_contracts.policy import Policy


def read_trust(path: str | Path | None) -> Trust:
    """The issuers to believe; `ConfigurationError` names the file, or the variable to set."""
    if not path:
        raise ConfigurationError("which issuers to trust is not said: set MALLKU_TRUST_FILE")
    return load_trust(Path(path))


def read_policy_file(path: Path) -> Policy:
    """A validated policy; `ConfigurationError` has one `file:line:column: what` line a problem."""
    return parse_policy(read_text(path, "policy file"), path)


def check_policy_file(path: Path) -> tuple[Policy, list[str]]:
    """A validated policy with what in it is hardly meant; raises as `read_policy_file`."""
    from mallku_contracts.policy import PolicyError, check_policy

    try:
        return check_policy(read_text(path, "policy file"), str(path))
    except PolicyError as error:
        raise ConfigurationError(str(error)) from None


def parse_policy(text: str, path: Path) -> Policy:
    """The policy in a text that was read from `path`; raises as `read_policy_file`."""
    from mallku_contracts.policy import PolicyError, read_policy

    try:
        return read_policy(text, str(path))
    except PolicyError as error:
        raise ConfigurationError(str(error)) from None


def check_flags_file(path: Path, text: str | None = None) -> tuple[Flags, list[str]]:
    """Validated flags with the lines that have no effect; raises as `read_policy_file`.

    Args:
        text: What stands in the file, where it was read already.
    """
    from mallku_contracts.flags import FlagsError, check_flags

    try:
        return check_flags(read_text(path, "file of flags") if text is None else text, str(path))
    except FlagsError as error:
        raise ConfigurationError(str(error)) from None


def read_json(
    text: str | None, what: str, error_class: type[MallkuError] = ConfigurationError
) -> dict[str, Any]:
    """A JSON object that somebody wrote; none is an empty one. Raises `error_class`."""
    import json

    try:
        value = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise error_class(
            f"{what}: not JSON: {error.msg} at line {error.lineno} column {error.colno}"
        ) from None
    except RecursionError:
        raise error_class(f"{what}: nested too deeply") from None
    if not isinstance(value, dict):
        raise error_class(f"{what}: expected a JSON object, not {type(value).__name__}")
    return value


def read_public_key(path: Path) -> PublicKey:
    """A public key out of a file with a JWK or PEM, as `keys new` prints them."""
    text = read_text(path, "public key file")
    try:
        if text.lstrip().startswith("-----BEGIN"):
            return PublicKey.from_pem(text)
        return PublicKey.from_jwk(read_json(text, f"public key file {path}"))
    except KeyFormatError as error:
        raise ConfigurationError(f"public key file {path}: {error}") from None
