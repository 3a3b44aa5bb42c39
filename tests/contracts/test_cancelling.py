from __future__ import annotations

import pytest

from mallku_contracts.cancelling import is_called_off, seal_cancel
from mallku_contracts.errors import InvalidSubject
from mallku_contracts.keys import SigningKey
from mallku_contracts.subjects import read_cancel_subject

KEY = SigningKey(b"c" * 32)
ID = "0191d2a0-0000-7000-8000-000000000001"


def test_what_is_signed() -> None:
    """The context, and the subject behind its length; as `docs/wire.md` describes it."""
    subject, body = seal_cancel("mallku", ID, KEY)
    assert subject == f"mallku.v1.cancel.mallku.{ID}"
    length = len(subject).to_bytes(4, "big")
    assert KEY.public.verify(b"mallku-cancel-v1" + length + subject.encode(), body)
    assert read_cancel_subject(subject) == ("mallku", ID)


def test_it_holds_for_one_command_and_one_key() -> None:
    """Another id, another principal, another key, another signature: nobody's wish."""
    subject, body = seal_cancel("mallku", ID, KEY)
    assert is_called_off(subject, body, KEY.public)
    assert not is_called_off(subject[:-1] + "2", body, KEY.public)
    assert not is_called_off(subject.replace(".mallku.", ".other."), body, KEY.public)
    assert not is_called_off(subject, body, SigningKey(b"d" * 32).public)
    for junk in (b"", body[:-1], body + b"\0", bytes(64)):
        assert not is_called_off(subject, junk, KEY.public)


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "mallku.v1.cancel",
        "mallku.v1.cancel.mallku",
        "mallku.v1.cancel.mallku.",
        "mallku.v1.cancel.mallku.a.b",
        "mallku.v1.cancel.*.a",
        "x.mallku.v1.cancel.mallku.a",
        "mallku.v1.cmd.mallku.a",
    ],
)
def test_what_is_no_cancellation(subject: str) -> None:
    """Whatever does not follow the grammar names no command."""
    assert read_cancel_subject(subject) is None
    assert not is_called_off(subject, bytes(64), KEY.public)


def test_an_id_that_no_subject_can_hold_is_refused() -> None:
    """When it is built, and not cleaned up."""
    for command_id in ("", "a.b", "*", ">"):
        with pytest.raises(InvalidSubject):
            seal_cancel("mallku", command_id, KEY)
