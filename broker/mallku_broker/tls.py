"""A client's side of TLS: whom it believes, what it shows, and what a failed handshake means."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import NamedTuple

from mallku_broker.files import read_private_text, read_text
from mallku_contracts.errors import ConfigurationError

# What a server says of our certificate, or of what we can speak: it will say so again.
_REFUSAL = re.compile(r"ALERT_.*(CERTIFICATE|UNKNOWN_CA|PROTOCOL_VERSION|HANDSHAKE_FAILURE|ACCESS)")


class TlsFiles(NamedTuple):
    """PEM files: whom to believe (the system's list without it), what to show, and its key."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


def tls_context(files: TlsFiles) -> ssl.SSLContext:
    """What a handshake is made with, out of the files as they are now; TLS 1.2 at the least.

    Raises:
        ConfigurationError: a file is missing, is not what it should be, or a key is open to others.
    """
    ca = None if files.ca is None else read_text(files.ca, "CA file")
    if files.key is not None:
        read_private_text(files.key, "TLS key file")
    try:
        context = ssl.create_default_context(cadata=ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if files.certificate is not None:
            context.load_cert_chain(files.certificate, files.key)
    except (ssl.SSLError, OSError) as error:
        shown = ", ".join(str(file) for file in files if file)
        raise ConfigurationError(f"TLS files {shown}: {error}") from None
    return context


def explain(error: BaseException, server: str, files: TlsFiles) -> str:
    """Why another try with the same files would end the same way, in words; empty when it may not.

    Args:
        server: Host and port that were tried.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        believed = "the system's list" if files.ca is None else f"CA file {files.ca}"
        why = error.verify_message
        return f"{server}: the broker's certificate is not believed: {why} (by {believed})"
    if isinstance(error, ssl.SSLError) and _REFUSAL.search(error.reason or ""):
        shown = "none was given" if files.certificate is None else f"file {files.certificate}"
        return f"{server}: the broker refuses our TLS certificate ({shown}): {_plain(error)}"
    return ""


def _plain(error: ssl.SSLError) -> str:
    """What the library says, without its own line numbers."""
    return re.sub(r"^\[.*?\] | \(_ssl.*\)$", "", str(error))
