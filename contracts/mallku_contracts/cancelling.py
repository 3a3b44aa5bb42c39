"""Calling off a command that nobody has begun: a subject of its own, and one signature.

The body of `mallku.v1.cancel.<principal>.<id>` is the Ed25519 signature, with the key that signed
the transmission `<id>`, over `"mallku-cancel-v1" ‖ len(subject) ‖ subject`, the length as 4 bytes
big-endian. There is no reply: the command itself is answered. Whoever does not hold a command of
this id and principal drops the message unread.
"""

from __future__ import annotations

from typing import Final

from mallku_contracts.envelope import length_prefixed
from mallku_contracts.keys import PublicKey, SigningKey
from mallku_contracts.subjects import cancel_subject, read_cancel_subject

CANCEL_CONTEXT: Final = b"mallku-cancel-v1"
"""What is signed begins with this, so that it can be taken for nothing else."""


def seal_cancel(principal: str, command_id: str, key: SigningKey) -> tuple[str, bytes]:
    """Subject and body of the wish that a transmission not be begun.

    Raises:
        InvalidSubject: the id is no name, so that no subject can hold it.
    """
    subject = cancel_subject(principal, command_id)
    return subject, key.sign(_signed(subject))


def is_called_off(subject: str, signature: bytes, key: PublicKey) -> bool:
    """Whether whoever holds `key` wants it."""
    return read_cancel_subject(subject) is not None and key.verify(_signed(subject), signature)


def _signed(subject: str) -> bytes:
    return CANCEL_CONTEXT + length_prefixed(subject.encode())
