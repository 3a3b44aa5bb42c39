"""The codec: plain values there and back, and nothing else, at a bounded price."""

from __future__ import annotations

import math
import re
import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_contracts import codec
from mallku_contracts.limits import (
    ENTRY_ITEMS,
    ITEMS_FOR_EACH,
    MAX_CONTAINER_ITEMS,
    MAX_CONTAINERS,
    MAX_DEPTH,
    MAX_FRAME_DEPTH,
    MAX_MAP_ENTRIES,
    MAX_PAYLOAD_BYTES,
    MAX_RESULT_BYTES,
    MAX_WRITTEN_CONTAINERS,
    MIB,
)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"))
)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=30,
)


def nested(levels: int) -> Any:
    """An empty list inside lists, `levels` of them altogether."""
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


@given(PLAIN)
def test_plain_values_come_back(value: Any) -> None:
    """What JSON knows survives the way there and back, types included."""
    back = codec.unpack(codec.pack(value))
    assert back == value
    assert repr(back) == repr(value)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Bytes from anywhere give a plain value that packs again, or a `CodecError`."""
    for allow_bytes in (False, True):
        try:
            value = codec.unpack(data, allow_bytes=allow_bytes)
        except codec.CodecError:
            continue
        codec.check_plain(value, allow_bytes=allow_bytes)


@given(PLAIN, st.data())
def test_a_cut_value_is_refused(value: Any, data: st.DataObject) -> None:
    """No proper beginning of an encoding is one itself, nor is one with something behind it."""
    packed = codec.pack(value)
    cut = data.draw(st.integers(0, len(packed) - 1))
    for wrong in (packed[:cut], packed + b"\xc0"):
        with pytest.raises(codec.CodecError):
            codec.unpack(wrong)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, {"b": math.nan}]}, "a[1].b: nan"),
        ([-math.inf], "[0]: -inf"),
        (2**64, "value: the integer"),
        ({"a": -(2**63) - 1}, "a: the integer"),
        ({"a": {1: 2}}, "a: the key 1 is not a string"),
        ({"a": {True: 2}}, "a: the key True is not a string"),
        ({"a": {1}}, "a: set is not a plain value"),
        ({"a": b"x"}, "a: bytes is not a plain value"),
        (object(), "value: object is not a plain value"),
        (nested(MAX_DEPTH + 1), "nested deeper than 64 levels"),
    ],
)
def test_what_is_not_plain_is_named_with_its_path(value: Any, message: str) -> None:
    """A value that cannot be sent is refused before it is sent, by its place."""
    with pytest.raises(codec.CodecError) as refused:
        codec.pack(value)
    assert message in str(refused.value)


def test_a_value_that_holds_itself_is_refused() -> None:
    """A circle ends at the depth limit, not at the interpreter's."""
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(codec.CodecError, match="nested deeper"):
        codec.pack(circle)


def test_a_lone_surrogate_is_refused() -> None:
    """A text that is not Unicode cannot be encoded, and says so."""
    with pytest.raises(codec.CodecError):
        codec.pack({"a": "\ud800"})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "ends too early"),
        (b"\xc1", "not readable as msgpack: FormatError"),
        (b"\x01\x01", "something follows"),
        (b"\x82\xa1a\x01\xa1a\x02", "the key 'a' twice"),
        (b"\x81\x01\x02", "not allowed for map key"),
        (b"\x81\x90\x02", "not allowed for map key"),
        (b"\xc4\x00", "value: bytes"),
        (b"\xa1\xff", "utf-8"),
        (b"\x81\xa1a\xcb\x7f\xf8" + bytes(6), "a: nan"),
        (b"\xcb\xff\xf0" + bytes(6), "value: -inf"),
        (b"\xd4\x01\x00", "ext"),
        (b"\xc7\x00\x05", "extension type 5"),
        (b"\xd6\xff" + bytes(4), "ext"),
        (b"\xc7\x00\xff", "timestamp"),
        (b"\xdd\xff\xff\xff\xff", "ends too early"),
        (b"\x91" * 2_000 + b"\xc0", "nested deeper"),
        (b"\x91" * MAX_DEPTH + b"\x90", "nested deeper"),
    ],
)
def test_hostile_bytes_are_refused(data: bytes, message: str) -> None:
    """Each thing that msgpack knows and a body may not hold is refused by its name."""
    with pytest.raises(codec.CodecError, match=message):
        codec.unpack(data)


def test_the_limits_themselves_are_allowed() -> None:
    """As deep and as many as the limits say is accepted; one more is not."""
    deepest = nested(MAX_DEPTH)
    assert codec.unpack(codec.pack(deepest)) == deepest
    most = msgpack.packb([[]] * (MAX_CONTAINERS - 1))
    assert len(codec.unpack(most)) == MAX_CONTAINERS - 1
    with pytest.raises(codec.CodecError, match=f"more than {MAX_CONTAINERS} arrays and maps"):
        codec.unpack(msgpack.packb([[[]]] + [[]] * (MAX_CONTAINERS - 1)))


def test_what_workers_write_has_room_for_a_frame() -> None:
    """A document that a command could bring can come back inside a reply and a record."""
    framed = nested(MAX_DEPTH + MAX_FRAME_DEPTH)
    data = codec.pack_trusted(framed)
    assert codec.unpack(data, allow_bytes=True) == framed
    with pytest.raises(codec.CodecError):
        codec.unpack(data)
    with pytest.raises(codec.CodecError):
        codec.unpack(codec.pack_trusted([framed]), allow_bytes=True)
    many = codec.pack_trusted([[[]]] * MAX_CONTAINERS)
    assert len(codec.unpack(many, allow_bytes=True)) == MAX_CONTAINERS


def test_what_workers_write_is_bounded_by_its_bytes() -> None:
    """Names, items, arrays and maps: as many as documents of the largest reply can have."""
    wide = {f"{name:x}": 0 for name in range(2 * MAX_CONTAINER_ITEMS)}
    long = [0] * (10 * MAX_CONTAINER_ITEMS)
    many: list[Any] = [[[]] * (MAX_RESULT_BYTES // 3)]
    for value in (wide, long, many):
        data = codec.pack_trusted(value)
        assert codec.unpack(data, allow_bytes=True) == value
        with pytest.raises(codec.CodecError):
            codec.unpack(data)


@pytest.mark.parametrize("part", [b"\x80", b"\x01", b"\x81\xa1a\x01", b"\x91\x01"])
def test_a_forged_message_costs_its_reader_little(part: bytes) -> None:
    """However it is made, what is built of it goes with its bytes."""
    count = MIB // 4 // len(part)
    body = b"\xdd" + count.to_bytes(4) + part * count
    tracemalloc.start()
    try:
        assert len(codec.unpack(body, allow_bytes=True)) == count
        assert tracemalloc.get_traced_memory()[1] < 100 * len(body)
    finally:
        tracemalloc.stop()


def test_there_is_an_end_to_what_a_worker_may_write() -> None:
    """More arrays and maps than any documents have are refused before all of them are made."""
    most = MAX_WRITTEN_CONTAINERS
    with pytest.raises(codec.CodecError, match=f"more than {most} arrays and maps"):
        codec.unpack(b"\xdd" + most.to_bytes(4) + b"\x80" * most, allow_bytes=True)


@pytest.mark.parametrize("levels", [2, 3, 7])
def test_depth_is_told(levels: int) -> None:
    """Exactly so many levels are within the bound, in maps and arrays, on every branch."""
    for value in (nested(levels), [1, [], nested(levels - 1)], {"a": {}, "b": nested(levels - 1)}):
        assert not codec.is_deeper(value, levels)
        assert codec.is_deeper(value, levels - 1)
    assert not codec.is_deeper("text", 0)


def test_bytes_are_allowed_where_said() -> None:
    """Byte strings are values of replies and records, never keys."""
    assert codec.unpack(b"\x81\xa1a\xc4\x01\x00", allow_bytes=True) == {"a": b"\x00"}
    with pytest.raises(codec.CodecError, match="not a string"):
        codec.unpack(b"\x81\xc4\x01a\x01", allow_bytes=True)


def test_announced_lengths_cost_nothing() -> None:
    """A few bytes that announce gigabytes are refused without the memory being asked for."""
    bomb = (b"\xdd" + MAX_CONTAINERS.to_bytes(4, "big")) * 1_000 + b"\xc0" * MAX_CONTAINERS
    tracemalloc.start()
    try:
        with pytest.raises(codec.CodecError):
            codec.unpack(bomb)
        assert tracemalloc.get_traced_memory()[1] < 2 * MIB
    finally:
        tracemalloc.stop()


def test_more_than_a_message_can_hold_is_refused() -> None:
    """Nothing longer than the broker's largest message is looked at."""
    with pytest.raises(codec.CodecError, match="longer than"):
        codec.unpack(b"\xdb" + MAX_PAYLOAD_BYTES.to_bytes(4, "big") + bytes(MAX_PAYLOAD_BYTES))


@pytest.mark.parametrize(
    ("path", "text"),
    [((), "value"), (("a", 0, "b"), "a[0].b"), ((0,), "[0]"), (("a", "b"), "a.b")],
)
def test_a_path_reads_as_people_write_it(path: tuple[str | int, ...], text: str) -> None:
    """Steps into maps and lists become the usual notation."""
    assert codec.join_path(path) == text


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"document": {"a": ["x", "\ud800"]}}, "document.a[1]"),
        ({"document": {"\udfff": 1}}, "document"),
        ("\ud800", "value"),
    ],
)
def test_a_lone_surrogate_is_refused_by_its_path(value: object, where: str) -> None:
    """UTF-8 has no bytes for it, so it cannot travel; the error says where it stands."""
    with pytest.raises(codec.CodecError, match=rf"^{re.escape(where)}: .*not Unicode"):
        codec.pack(value)


def test_items_are_counted_over_all_arrays_and_maps() -> None:
    """Many full arrays are refused before they stall whoever reads them."""
    few = [[1] * 99_000] * 2
    assert len(codec.unpack(codec.pack_trusted(few))) == 2
    with pytest.raises(codec.CodecError, match="items altogether"):
        codec.unpack(codec.pack_trusted([*few, [1] * 99_000]))


def test_the_entries_of_maps_are_bounded() -> None:
    """A map costs more than an array: one has fewer entries, and all together count for more."""
    wide = {str(number): 1 for number in range(MAX_MAP_ENTRIES)}
    assert codec.unpack(codec.pack_trusted(wide)) == wide
    with pytest.raises(codec.CodecError, match="max_map_len"):
        codec.unpack(codec.pack_trusted(wide | {"one": "more"}))
    most = MAX_CONTAINERS * ITEMS_FOR_EACH // (MAX_MAP_ENTRIES * ENTRY_ITEMS)
    with pytest.raises(codec.CodecError, match="items altogether"):
        codec.unpack(codec.pack_trusted([wide] * most))
