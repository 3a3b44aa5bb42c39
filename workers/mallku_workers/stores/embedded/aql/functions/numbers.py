"""Numbers one by one: rounding, powers, angles, bits, decay.

Source: ArangoDB manual, "Numeric functions in AQL" and "Bit functions in AQL"; recorded answers of
a server.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from mallku_workers.stores.embedded.aql.call import Call
from mallku_workers.stores.embedded.aql.functions.base import Function
from mallku_workers.stores.embedded.aql.values import Number, finite, is_number, to_number

_LARGE: Final = 2.0**52


def _plain(value: float) -> Number:
    """A double as an integer where it is a whole number that is exact."""
    return int(value) if abs(value) < _LARGE and value == int(value) else value


def _compute(function: Callable[..., float], *values: Any) -> Number | None:
    """What the function makes of the numbers; null where it is not defined or not finite."""
    try:
        result = finite(function(*map(to_number, values)))
    except (ValueError, OverflowError, ZeroDivisionError):
        return None
    return _plain(result) if type(result) is float else result


def _of_one(name: str, function: Callable[[Any], float]) -> Function:
    return Function(name, 1, 1, lambda _call, value: _compute(function, value))


def _of_two(name: str, function: Callable[[Any, Any], float]) -> Function:
    return Function(name, 2, 2, lambda _call, one, other: _compute(function, one, other))


def _round(value: Number) -> Number:
    """Half goes up, also below zero."""
    below = math.floor(value)
    return below + 1 if value - below >= 0.5 else below  # noqa: PLR2004 - a half


def _power(base: Number, exponent: Number) -> float:
    return math.pow(base, exponent)


def _exp2(value: Number) -> float:
    return math.pow(2.0, value)


def _pi(_: Call) -> float:
    return math.pi


def _rand(call: Call) -> float:
    return call.rng.random()


# Decay


def _decay(name: str, curve: Callable[[float, float, float], float]) -> Callable[..., Any]:
    def call_curve(call: Call, value: Any, *settings: Any) -> Any:
        origin, scale, offset, decay = settings
        if not all(map(is_number, settings)) or not (scale > 0 and offset >= 0 and 0 < decay < 1):
            return call.wrong_type(name)

        def at(one: Number) -> Number | None:
            distance = max(0.0, abs(one - origin) - offset)
            return _compute(lambda far: curve(far, float(scale), float(decay)), distance)

        values = value if isinstance(value, list) else [value]
        if not all(map(is_number, values)):
            return call.wrong_type(name)
        found = [at(one) for one in values]
        return found if values is value else found[0]

    return call_curve


def _gauss(distance: float, scale: float, decay: float) -> float:
    return math.exp(math.log(decay) * (distance / scale) ** 2)


def _exponential(distance: float, scale: float, decay: float) -> float:
    return math.exp(math.log(decay) * distance / scale)


def _linear(distance: float, scale: float, decay: float) -> float:
    end = scale / (1.0 - decay)
    return max(0.0, (end - distance) / end)


NUMBERS: Final = (
    _of_one("ABS", abs),
    _of_one("FLOOR", math.floor),
    _of_one("CEIL", math.ceil),
    _of_one("ROUND", _round),
    _of_one("SQRT", math.sqrt),
    _of_two("POW", _power),
    _of_one("LOG", math.log),
    _of_one("LOG2", math.log2),
    _of_one("LOG10", math.log10),
    _of_one("EXP", math.exp),
    _of_one("EXP2", _exp2),
    _of_one("SIN", math.sin),
    _of_one("COS", math.cos),
    _of_one("TAN", math.tan),
    _of_one("ASIN", math.asin),
    _of_one("ACOS", math.acos),
    _of_one("ATAN", math.atan),
    _of_two("ATAN2", math.atan2),
    _of_one("RADIANS", math.radians),
    _of_one("DEGREES", math.degrees),
    Function("PI", 0, 0, _pi),
    Function("RAND", 0, 0, _rand, deterministic=False),
    Function("DECAY_GAUSS", 5, 5, _decay("DECAY_GAUSS", _gauss)),
    Function("DECAY_EXP", 5, 5, _decay("DECAY_EXP", _exponential)),
    Function("DECAY_LINEAR", 5, 5, _decay("DECAY_LINEAR", _linear)),
)
