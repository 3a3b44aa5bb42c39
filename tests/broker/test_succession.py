from __future__ import annotations

import pytest

from mallku_broker.buckets import Entry
from mallku_broker.succession import Succession, Verdict
from mallku_contracts.governed import Document, DocumentError, Kind, sign_document
from mallku_contracts.keys import SigningKey

KEY = SigningKey(b"a" * 32)
STRANGER = SigningKey(b"s" * 32)
ADMINISTRATORS = {KEY.kid: KEY.public}


def _document(version: int, body: bytes = b"", key: SigningKey = KEY) -> bytes:
    return sign_document(Kind.POLICY, version, body, key, issued_at=0).data


def _batch(*values: bytes | None, first: int = 1) -> tuple[Entry, ...]:
    return tuple(Entry(number, value, 0) for number, value in enumerate(values, first))


def _read(document: Document) -> int:
    if document.body == b"unreadable":
        raise DocumentError("unreadable")
    return document.version


async def _consider(succession: Succession, *values: bytes | None, first: int = 1) -> Verdict[int]:
    return await succession.consider(_batch(*values, first=first), ADMINISTRATORS, _read)


def _reasons(verdict: Verdict[int]) -> list[str]:
    return [refusal.reason for refusal in verdict.refusals]


async def test_of_all_that_is_kept_the_highest_governs() -> None:
    """A worker that starts adopts one document, whatever came before it, and refuses nothing."""
    succession = Succession(Kind.POLICY, 0)
    verdict = await _consider(succession, _document(1), _document(2), _document(3))
    assert (verdict.value, verdict.refusals) == (3, [])


@pytest.mark.parametrize(
    "value",
    [b"", b"version: 9", _document(9, key=STRANGER), _document(9)[:-1], None],
    ids=["empty", "unsigned", "strange", "cut", "deleted"],
)
async def test_what_is_no_document_changes_nothing(value: bytes | None) -> None:
    """What is in force stays in force, and the refusal says why."""
    succession = Succession(Kind.POLICY, 0)
    await _consider(succession, _document(2))
    verdict = await _consider(succession, value, first=2)
    assert verdict.document is None
    assert len(verdict.refusals) == 1
    assert succession.current is not None
    assert succession.current.version == 2


async def test_versions_only_go_up() -> None:
    """An older document and one with the same version and another text do not follow."""
    succession = Succession(Kind.POLICY, 0)
    await _consider(succession, _document(5))
    for revision, other in enumerate((_document(4), _document(5, b"other")), 2):
        verdict = await _consider(succession, other, first=revision)
        assert verdict.document is None
        assert "does not follow 5" in _reasons(verdict)[0]


async def test_nothing_below_what_the_trail_has_seen_governs() -> None:
    """After a restart the floor takes the place of what was in force; the floor itself may."""
    succession = Succession(Kind.POLICY, 5)
    verdict = await _consider(succession, _document(4))
    assert verdict.document is None
    assert "the trail has seen 5" in _reasons(verdict)[0]
    assert (await _consider(succession, _document(5), first=2)).value == 5


async def test_a_forgery_on_top_does_not_hide_what_lies_below() -> None:
    """A worker that starts finds the last good document below what was put over it."""
    succession = Succession(Kind.POLICY, 2)
    verdict = await _consider(succession, _document(1), _document(2), b"forged", _document(1))
    assert verdict.value == 2
    assert [refusal.revision for refusal in verdict.refusals] == [3, 4]


async def test_of_two_with_one_version_the_first_governs() -> None:
    """A worker that starts decides as those did that saw them come; the second is refused."""
    succession = Succession(Kind.POLICY, 0)
    verdict = await _consider(succession, _document(1, b"first"), _document(1, b"second"))
    assert verdict.document is not None
    assert verdict.document.body == b"first"
    assert [refusal.revision for refusal in verdict.refusals] == [2]


async def test_what_cannot_be_read_does_not_govern() -> None:
    """A signed body that does not validate leaves the place to the next best."""
    succession = Succession(Kind.POLICY, 0)
    verdict = await _consider(succession, _document(1), _document(2, b"unreadable"))
    assert verdict.value == 1
    assert _reasons(verdict) == ["unreadable"]


async def test_nothing_is_judged_twice() -> None:
    """Reading everything again after a break refuses nothing for a second time."""
    succession = Succession(Kind.POLICY, 0)
    kept = (_document(1), b"forged", _document(2), None)
    assert len((await _consider(succession, *kept)).refusals) == 1
    again = await _consider(succession, *kept)
    assert (again.document, again.refusals) == (None, [])
    later = await _consider(succession, b"forged", first=5)
    assert len(later.refusals) == 1


async def test_the_document_in_force_may_be_put_back() -> None:
    """The same bytes again are neither adopted nor refused."""
    succession = Succession(Kind.POLICY, 0)
    await _consider(succession, _document(1))
    verdict = await _consider(succession, None, _document(1), first=2)
    assert verdict.document is None
    assert len(verdict.refusals) == 1
