"""An index's range holds all values within the bounds, by the order that the language has."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mallku_workers.stores.embedded.aql.access import Bound, _ends
from mallku_workers.stores.embedded.aql.call import Call
from mallku_workers.stores.embedded.aql.operators import BINARY
from mallku_workers.stores.embedded.values import order_key
from tests.workers.embedded.aql.values import VALUES


@given(VALUES, st.lists(st.tuples(st.sampled_from(["<", "<=", ">", ">="]), VALUES), min_size=1))
def test_no_value_within_the_bounds_lies_outside_the_range(
    value: Any, bounds: list[tuple[Any, Any]]
) -> None:
    """And nothing lies inside it but what the bounds let in, or their ends."""
    low, high = _ends([Bound(("a",), comparison, limit) for comparison, limit in bounds])
    inside = low <= order_key(value) < high
    fits = all(BINARY[comparison](value, limit, Call()) for comparison, limit in bounds)
    touches = any(BINARY["=="](value, limit, Call()) for _, limit in bounds)
    assert inside == fits or (inside and touches)
