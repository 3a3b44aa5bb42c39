"""Dates, against Python's own calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_workers.stores.embedded.aql.call import Call
from mallku_workers.stores.embedded.aql.functions import FUNCTIONS
from mallku_workers.stores.embedded.aql.functions import calendar as c

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS = st.integers(-62_135_596_800_000, c.LATEST)
ALL = st.integers(c.EARLIEST, c.LATEST)


def python(ms: int) -> datetime:
    """The moment as Python has it."""
    return EPOCH + timedelta(milliseconds=ms)


@given(MOMENTS)
def test_fields_are_those_of_pythons_calendar(ms: int) -> None:
    """From the year 1 on; weekday, day of the year and ISO week too."""
    fields, moment = c.to_fields(ms), python(ms)
    assert fields[:6] == moment.timetuple()[:6]
    assert fields.millisecond == moment.microsecond // 1_000
    assert c.day_of_year(ms) == moment.timetuple().tm_yday
    assert c.weekday(ms) == moment.isoweekday() % 7
    assert c.iso_week(ms) == tuple(moment.isocalendar())[:2]


@given(ALL)
def test_a_date_that_is_written_reads_as_itself(ms: int) -> None:
    """ISO text, its fields, and through the functions."""
    assert c.to_ms(*c.to_fields(ms)) == ms
    assert c.parse_date(c.format_iso(ms)) == ms
    text = FUNCTIONS["DATE_ISO8601"].call(Call(), ms)
    assert FUNCTIONS["DATE_TIMESTAMP"].call(Call(), text) == ms


@given(MOMENTS, st.integers(-(10**6), 10**6), st.sampled_from(["d", "h", "i", "s", "f", "w"]))
def test_adding_fixed_units_is_adding_milliseconds(ms: int, amount: int, unit: str) -> None:
    """And taking them away again leads back; beyond the calendar there is nothing."""
    moved = c.shifted(ms, c.in_units(amount, unit), 1)
    expected = ms + amount * c.FIXED[unit]
    assert moved == (expected if c.is_in_range(expected) else None)
    if moved is not None:
        assert c.shifted(moved, c.in_units(amount, unit), -1) == ms


@given(ALL, st.sampled_from("ymwdhisf"))
def test_truncation_goes_to_the_beginning_of_a_unit(ms: int, unit: str) -> None:
    """Never later, never twice."""
    begun = FUNCTIONS["DATE_TRUNC"].call(Call(), ms, unit)
    if begun is None:  # the week in which the calendar begins
        assert (unit, ms < c.EARLIEST + c.WEEK) == ("w", True)
        return
    assert FUNCTIONS["DATE_TRUNC"].call(Call(), begun, unit) == begun
    start = c.parse_date(begun)
    assert start is not None
    assert start <= ms


@given(ALL, ALL, st.sampled_from("ymwdhisf"))
def test_differences_turn_around(one: int, other: int, unit: str) -> None:
    """From one to the other is minus from the other to the one."""
    forth = FUNCTIONS["DATE_DIFF"].call(Call(), one, other, unit, True)
    assert forth == -FUNCTIONS["DATE_DIFF"].call(Call(), other, one, unit, True)
    assert FUNCTIONS["DATE_DIFF"].call(Call(), one, other, unit) == int(forth)


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2025", "2025-01-01T00:00:00.000Z"),
        ("2025-3", "2025-03-01T00:00:00.000Z"),
        ("2025-02-30", "2025-03-02T00:00:00.000Z"),
        ("2025-12-31T24:00:00Z", "2026-01-01T00:00:00.000Z"),
        ("2025-03-01 10:20", "2025-03-01T10:20:00.000Z"),
        ("2025-03-01T10:20:30.1+0530", "2025-03-01T04:50:30.100Z"),
        (" 2025-03-01t10:20:30.123456z ", "2025-03-01T10:20:30.123Z"),
        ("0000-01-01", "0000-01-01T00:00:00.000Z"),
    ],
)
def test_dates_are_read_in_many_spellings(text: str, iso: str) -> None:
    """Fields that are too large carry over, offsets become UTC."""
    call = Call()
    assert FUNCTIONS["DATE_ISO8601"].call(call, text) == iso
    assert FUNCTIONS["IS_DATESTRING"].call(call, text) is True
    assert not call.warnings.codes


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "2025-13-01", "2025-00-01", "2025-01-32", "2025-01-01T25:00", "2025-01-01T10:60",
        "2025-01-01T24:00:01", "2025-01-01T10", "20250101", "2025-01-01T10:00+24:00",
        "٢٠٢٥-01-01", "2025-01-01\n2025", "9999-12-31T23:59:59-01:00", "1740000000000",
    ],
)  # fmt: skip
def test_what_is_no_date_is_null_with_a_warning(text: str) -> None:
    """And IS_DATESTRING says so without one."""
    call = Call()
    assert FUNCTIONS["IS_DATESTRING"].call(call, text) is False
    assert not call.warnings.codes
    assert FUNCTIONS["DATE_ISO8601"].call(call, text) is None
    assert call.warnings.codes == {1572}


@pytest.mark.parametrize("text", ["1 day", "P1", "1D", "PT1D", "P1.5D", "P-1D", "p1x"])
def test_what_is_no_duration_is_null_with_a_warning(text: str) -> None:
    """Parts in their order, whole numbers but for the seconds."""
    call = Call()
    assert FUNCTIONS["DATE_ADD"].call(call, "2025-03-01", text) is None
    assert call.warnings.codes == {1572}


def test_hours_that_clocks_skip_and_repeat() -> None:
    """Local times that do not exist, or twice, still have one moment each, in order."""
    hours = [f"2025-03-30T0{hour}:30:00" for hour in range(5)]
    moments = [FUNCTIONS["DATE_LOCALTOUTC"].call(Call(), hour, "Europe/Berlin") for hour in hours]
    assert moments[1] == "2025-03-30T00:30:00.000Z"
    assert moments[3] == "2025-03-30T01:30:00.000Z"
    assert all(one <= other for one, other in pairwise(moments))
