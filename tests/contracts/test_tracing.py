"""The trace id of a caller: taken where the header is well-formed, and nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_contracts.tracing import (
    MAX_TRACEPARENT_CHARS,
    forwarded,
    read_traceparent,
    trace_id,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
GOOD = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.mark.parametrize("text", [GOOD, f"cc-{TRACE}-00f067aa0ba902b7-01-what-the-future-brings"])
def test_a_trace_is_taken(text: str) -> None:
    """The example of the standard, and a later version with more behind it."""
    assert trace_id(text) == TRACE


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("03", True)])
def test_the_parent_and_its_sampling_are_taken(flags: str, sampled: bool) -> None:
    """The span above, and whether it was recorded, by the lowest bit alone."""
    found = read_traceparent(f"{GOOD[:-2]}{flags}")
    assert found == (TRACE, "00f067aa0ba902b7", sampled)


@pytest.mark.parametrize(
    "text",
    [
        "",
        TRACE,
        GOOD.upper(),
        f"ff{GOOD[2:]}",
        f"{GOOD}-more",
        f"{GOOD} ",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-00f067aa0ba902b7-01",
        f"00-{TRACE}-00f067aa0ba902b7",
        f"cc-{TRACE}-00f067aa0ba902b7-01-{'x' * MAX_TRACEPARENT_CHARS}",
        f"00-{TRACE[:-1]}٣-00f067aa0ba902b7-01",
    ],
)
def test_what_is_malformed_is_no_trace(text: str) -> None:
    """A header that breaks the standard leaves the record without a trace."""
    assert not trace_id(text)


@pytest.mark.parametrize(
    ("text", "sent"),
    [(GOOD, GOOD), (f"cc-{TRACE}-00f067aa0ba902b7-03-\r", GOOD), (f"{GOOD}-more", ""), ("", "")],
)
def test_only_what_was_understood_is_sent_on(text: str, sent: str) -> None:
    """The parent, in the words of the first version: never what a caller wrote behind it."""
    assert forwarded(text) == sent


@given(st.text(max_size=200))
def test_nothing_else_comes_of_a_header(text: str) -> None:
    """Whatever stands there, what comes of it is nothing or 32 digits."""
    found = trace_id(text)
    assert not found or (len(found) == 32 and set(found) <= set("0123456789abcdef"))
