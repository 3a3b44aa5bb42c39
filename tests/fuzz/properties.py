"""What hypothesis tries: values by their type, and changes that it can make smaller again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Final

import msgpack
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mallku_contracts.operations import OPERATIONS
from tests.fuzz.catalogue import load
from tests.fuzz.gateway import CALLERS
from tests.fuzz.measure import Worst
from tests.fuzz.mutate import INTERESTING
from tests.fuzz.seeds import BODIES
from tests.fuzz.structures import ODD_VALUES
from tests.fuzz.targets import Target

_NAMES: Final = tuple(OPERATIONS)
_ARGUMENTS: Final = sorted(
    {name for operation in OPERATIONS.values() for name in operation.arguments.model_fields}
)

SCALARS: Final = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=5)
    | st.sampled_from(ODD_VALUES)
)
NAMES: Final = st.sampled_from(["_key", "_id", "a", "a.b", "secret"]) | st.text(max_size=8)
VALUES: Final = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A caller, an operation, and arguments of which some are its own."""
    place = draw(st.integers(0, len(_NAMES) - 1))
    good = draw(st.sampled_from(BODIES[_NAMES[place]]))
    values: Any = {
        **draw(st.sampled_from([good, {}])),
        **draw(st.dictionaries(st.sampled_from(_ARGUMENTS), VALUES, max_size=3)),
    }
    packed: bytes = msgpack.packb(values, use_bin_type=True)
    return bytes([draw(st.integers(0, len(CALLERS) - 1)), place]) + packed


def worsened(seeds: tuple[bytes, ...]) -> st.SearchStrategy[bytes]:
    """A seed in which stretches are replaced, each by few bytes or by something with a meaning."""
    change = st.tuples(
        st.floats(0, 1),
        st.integers(0, 8),
        st.binary(max_size=8) | st.sampled_from(INTERESTING),
    )

    def apply(seed: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
        data = bytearray(seed)
        for where, length, put in changes:
            place = int(where * len(data))
            data[place : place + length] = put
        return bytes(data)

    return st.builds(apply, st.sampled_from(seeds), st.lists(change, min_size=1, max_size=4))


@cache
def _target(name: str) -> Target:
    return load(name)


def _holds(name: str, data: bytes) -> None:
    Worst(_target(name).limit_ms).run(_target(name).run, data)


def _worse(name: str) -> Callable[[], st.SearchStrategy[bytes]]:
    return lambda: worsened(_target(name).seeds) | st.binary(max_size=64)


Property = tuple[str, Callable[[], st.SearchStrategy[bytes]]]

PROPERTIES: Final[Mapping[str, Property]] = MappingProxyType(
    {
        "a mutated message is refused": ("message", _worse("message")),
        "a body by its types is accepted or refused": ("body", bodies),
        "mutated bytes of a body are accepted or refused": ("body", _worse("body")),
        "a mutated header is judged by its fields": ("protected", _worse("protected")),
        "a mutated token opens nothing": ("token", _worse("token")),
        "a mutated query is one or is refused": ("query", _worse("query")),
        "a mutated policy is one or is refused": ("policy", _worse("policy")),
        "a mutated reply is not believed": ("reply", _worse("reply")),
        "mutated bytes of a record are one or are refused": ("record", _worse("record")),
        "anything can be shown": ("readable", _worse("readable")),
    }
)


def check(prove: Property, examples: int) -> None:
    """Try a property with so many examples; the failure is as small as hypothesis could make it."""
    name, strategy = prove

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large),
    )
    @given(strategy())
    def holds(data: bytes) -> None:
        _holds(name, data)

    holds()
