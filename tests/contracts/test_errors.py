"""The error tree: complete, drawn as it is, and safe to rebuild from anybody's words."""

from __future__ import annotations

import copy
import math
import pickle
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_contracts import codec, errors
from mallku_contracts.errors import BY_CODE, Busy, InternalError, MallkuError, from_wire
from mallku_contracts.limits import MAX_RETRY_AFTER_S
from tests.contracts.test_codec import PLAIN

LINE = re.compile(
    r"^(?P<indent>[│ ]*)(?:[├└]── )?(?P<name>[A-Z]\w+)"
    r"(?: +(?P<number>\d{3}) +(?P<code>[a-z_]+))?(?: +(?P<note>.+))?$"
)
LEAVES = [pytest.param(kind, id=kind.code) for kind in BY_CODE.values()]
LOCAL = {"unverified_reply", "gateway_unreachable", "configuration", "client_closed"}


def tree(kind: type[MallkuError] = MallkuError) -> Iterator[type[MallkuError]]:
    """Every class of the tree that the module defines."""
    if kind.__module__ == errors.__name__:
        yield kind
        for child in kind.__subclasses__():
            yield from tree(child)


def drawing() -> list[re.Match[str]]:
    """The lines of the drawing in the module's docstring."""
    text = (errors.__doc__ or "").partition("::\n")[2].partition("\n\n7xx")[0]
    lines = [line.removeprefix("    ") for line in text.splitlines() if line.strip()]
    matches = [LINE.match(line) for line in lines]
    assert all(matches)
    return [match for match in matches if match]


def test_the_drawing_shows_the_classes() -> None:
    """Each class stands in the drawing once, in order, below its parent, with number and code."""
    drawn: list[tuple[str, str, int, str]] = []
    above: list[tuple[int, str]] = []
    for match in drawing():
        depth = len(match["indent"]) + (4 if "──" in match[0] else 0)
        while above and above[-1][0] >= depth:
            above.pop()
        parent = above[-1][1] if above else "Exception"
        drawn.append((match["name"], parent, int(match["number"] or 0), match["code"] or ""))
        above.append((depth, match["name"]))
    real = [
        (kind.__name__, kind.__bases__[0].__name__, kind.number, kind.code if kind.number else "")
        for kind in tree()
    ]
    assert drawn == real


def test_the_drawing_tells_what_is_retryable_and_what_arangodb_calls_it() -> None:
    """The remarks in the drawing are those of the classes, and none is missing."""
    for match in drawing():
        kind = getattr(errors, match["name"])
        note = match["note"] or ""
        assert ("retryable" in note) == kind.retryable
        arango = re.search(r"ArangoDB (\d+)", note)
        if issubclass(kind, errors.DocumentError | errors.CollectionError | errors.IndexingError):
            assert (int(arango[1]) if arango else None) == kind.error_code


def test_every_leaf_has_its_own_code_and_number() -> None:
    """Codes and numbers are unique, classes with children have none, leaves have no children.

    Other packages may tell cases of a leaf apart by a class of their own, under the leaf's code.
    """
    leaves = [kind for kind in tree() if kind.number]
    assert list(BY_CODE.values()) == leaves
    assert len({kind.number for kind in leaves}) == len({kind.code for kind in leaves})
    assert len(BY_CODE) == len(leaves)
    below = [child for leaf in leaves for child in leaf.__subclasses__()]
    assert not [child for child in below if child.__module__ == errors.__name__]
    assert not [kind for kind in tree() if not kind.number and not kind.__subclasses__()]


@pytest.mark.parametrize("kind", LEAVES)
def test_a_number_belongs_to_its_group(kind: type[MallkuError]) -> None:
    """The hundreds say in which step something was refused; every class explains itself."""
    groups = {
        errors.AdmissionError: 1,
        errors.EnvelopeError: 2,
        errors.AuthorizationError: 3,
        errors.RequestError: 4,
        errors.ExecutionError: 5,
        errors.AuditError: 6,
        errors.JobError: 7,
        errors.ClientError: 8,
        errors.InternalError: 9,
    }
    assert [hundred for base, hundred in groups.items() if base in kind.__mro__] == [
        kind.number // 100
    ]
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", kind.code)
    assert (kind.__doc__ or "").strip()
    assert 400 <= kind.http_code < 600


@pytest.mark.parametrize("kind", LEAVES)
def test_an_error_crosses_the_wire(kind: type[MallkuError]) -> None:
    """An error comes back as the same class with everything it said; local ones do not."""
    error = kind("what", retry_after=1.5, details={"a": [1]}, correlation="c-1")
    wire = codec.unpack(codec.pack(error.to_wire()))
    back = from_wire(wire)
    assert wire == error.to_wire()
    if kind.code in LOCAL:
        assert type(back) is InternalError
        assert kind.code in back.message
        return
    assert type(back) is kind
    assert back.to_wire() == wire


def test_an_error_says_only_what_it_knows() -> None:
    """The four fields that are always there, and none of the others."""
    assert Busy("no slot").to_wire() == {
        "code": "busy",
        "number": 104,
        "message": "no slot",
        "retryable": True,
    }
    assert Busy("no slot", retryable=False).to_wire()["retryable"] is False
    assert Busy.retryable is True


@pytest.mark.parametrize("retryable", [True, False])
def test_an_unknown_code_still_says_whether_to_retry(retryable: bool) -> None:
    """A client older than the code learns what matters."""
    error = from_wire({"code": "too_new", "message": "m", "retryable": retryable, "retry_after": 2})
    assert type(error) is InternalError
    assert error.message == "too_new: m"
    assert (error.retryable, error.retry_after) == (retryable, 2.0)


@given(PLAIN | st.dictionaries(
    st.sampled_from(["code", "message", "retryable", "retry_after", "details", "correlation"]),
    PLAIN | st.sampled_from([*BY_CODE, math.nan, math.inf, -math.inf, 10**400, b"x"]),
))  # fmt: skip
def test_from_wire_takes_anything(wire: Any) -> None:
    """Whatever stands where an error should becomes a bounded error of the tree."""
    error = from_wire(wire)
    assert error.code in BY_CODE
    assert error.code not in LOCAL
    assert len(error.message) <= errors.MAX_MESSAGE_CHARS + 100
    assert isinstance(error.retryable, bool)
    assert error.retry_after is None or 0 <= error.retry_after <= MAX_RETRY_AFTER_S


@pytest.mark.parametrize("wire", [None, [], "busy", 5, {}, {"code": ["busy"]}, {"code": None}])
def test_no_error_is_an_internal_error(wire: object) -> None:
    """What is no error at all is not retried and not believed."""
    error = from_wire(wire)
    assert type(error) is InternalError
    assert error.retryable is False


def test_a_truthy_word_is_not_true() -> None:
    """Only `true` makes an error retryable."""
    assert from_wire({"code": "busy", "retryable": "no"}).retryable is False


def test_a_long_message_is_cut() -> None:
    """No message fills a reply, in either direction."""
    long = "x" * 100_000
    assert len(Busy(long).to_wire()["message"]) == errors.MAX_MESSAGE_CHARS
    assert len(from_wire({"code": "busy", "message": long}).message) == errors.MAX_MESSAGE_CHARS


def test_errors_can_be_copied_and_sent_between_processes() -> None:
    """Copies and pickles keep class and fields."""
    error = Busy("no slot", retry_after=1.0, details={"slots": 1}, correlation="c")
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301 - our own bytes
        assert type(other) is Busy
        assert other.to_wire() == error.to_wire()


def test_python_arango_names_are_there() -> None:
    """Whoever handled python-arango's errors finds code, HTTP status and message."""
    error = errors.DocumentNotFound("no document 'a'")
    assert (error.error_code, error.http_code, error.error_message) == (
        1202,
        404,
        "no document 'a'",
    )
