"""Points on the earth: distances, polygons of plain coordinates, and GeoJSON made of points.

The earth is a sphere of 6 371 000 m, as ArangoDB's. Only points are measured.

Source: ArangoDB manual, "Geo-spatial functions in AQL"; RFC 7946; the haversine formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from mallku_workers.stores.embedded.aql import warnings as w
from mallku_workers.stores.embedded.aql.call import Call
from mallku_workers.stores.embedded.aql.functions.base import Function, Implementation
from mallku_workers.stores.embedded.aql.values import is_number, to_bool

EARTH_RADIUS_M: Final = 6_371_000.0

_MAX_LATITUDE: Final = 90
_MAX_LONGITUDE: Final = 180
_LEAST_LINE: Final = 2
_LEAST_RING: Final = 4


class Point(NamedTuple):
    """A place, degrees."""

    latitude: float
    longitude: float


def haversine(one: Point, other: Point) -> float:
    """Metres between two points along a great circle."""
    latitudes = math.radians(one.latitude), math.radians(other.latitude)
    north = math.radians(other.latitude - one.latitude)
    east = math.radians(other.longitude - one.longitude)
    part = (
        math.sin(north / 2) ** 2
        + math.cos(latitudes[0]) * math.cos(latitudes[1]) * math.sin(east / 2) ** 2
    )
    part = min(max(part, 0.0), 1.0)
    return EARTH_RADIUS_M * 2 * math.atan2(math.sqrt(part), math.sqrt(1 - part))


def _distance(call: Call, *values: Any) -> Any:
    if not all(map(is_number, values)):
        return call.wrong_type("DISTANCE")
    first, second, third, fourth = map(float, values)
    try:
        metres = haversine(Point(first, second), Point(third, fourth))
    except (ValueError, OverflowError):
        return call.wrong_type("DISTANCE")
    return int(metres) if metres == int(metres) else metres


def _is_in_polygon(call: Call, points: Any, latitude: Any, longitude: Any = None) -> bool:
    """Whether the rays of a point cross the polygon's sides an odd number of times."""
    if type(points) is not list:
        call.warn(w.ARRAY_EXPECTED, "in function IS_IN_POLYGON(): array expected")
        return False
    swapped = False
    wanted: Any = (latitude, longitude)
    if type(latitude) is list:
        swapped = to_bool(longitude)
        wanted = latitude
    searched = _pair(wanted, swapped=swapped)
    if searched is None:
        call.wrong_type("IS_IN_POLYGON")
        return False
    corners = [pair for point in points if (pair := _pair(point, swapped=swapped)) is not None]
    return _crossings(corners, searched) % 2 == 1


def _pair(value: Any, *, swapped: bool) -> Point | None:
    """Two numbers as latitude and longitude, the other way round where they are swapped."""
    if type(value) not in (list, tuple) or len(value) < 2:  # noqa: PLR2004 - a pair
        return None
    first, second = value[1::-1] if swapped else value[:2]
    return Point(first, second) if is_number(first) and is_number(second) else None


def _crossings(corners: list[Point], wanted: Point) -> int:
    count = 0
    for here, before in zip(corners, [*corners[-1:], *corners[:-1]], strict=True):
        if (here.latitude < wanted.latitude) == (before.latitude < wanted.latitude):
            continue
        share = (wanted.latitude - here.latitude) / (before.latitude - here.latitude)
        count += here.longitude + share * (before.longitude - here.longitude) < wanted.longitude
    return count


# GeoJSON


def _position(value: Any) -> list[Any] | None:
    """`[longitude, latitude]`, of a pair or a GeoJSON point."""
    if type(value) is dict:
        value = value.get("coordinates") if value.get("type") == "Point" else None
    if type(value) is not list or len(value) != 2 or not all(map(is_number, value)):  # noqa: PLR2004
        return None
    inside = abs(value[0]) <= _MAX_LONGITUDE and abs(value[1]) <= _MAX_LATITUDE
    return value if inside else None


def _metres(call: Call, name: str, one: Any, other: Any) -> float | None:
    places = _position(one), _position(other)
    if places[0] is None or places[1] is None:
        call.wrong_type(name)
        return None
    return haversine(Point(*places[0][::-1]), Point(*places[1][::-1]))


def _geo_distance(call: Call, one: Any, other: Any, ellipsoid: Any = None) -> Any:
    if ellipsoid not in (None, "sphere"):
        return call.wrong_type("GEO_DISTANCE")
    return _metres(call, "GEO_DISTANCE", one, other)


def _geo_in_range(  # noqa: PLR0913, PLR0917 - ArangoDB's arguments
    call: Call,
    one: Any,
    other: Any,
    low: Any,
    high: Any,
    with_low: Any = True,  # noqa: FBT002 - given by place
    with_high: Any = True,  # noqa: FBT002 - given by place
    ellipsoid: Any = None,
) -> Any:
    if not is_number(low) or not is_number(high) or ellipsoid not in (None, "sphere"):
        return call.wrong_type("GEO_IN_RANGE")
    metres = _metres(call, "GEO_IN_RANGE", one, other)
    if metres is None:
        return None
    above = metres >= low if to_bool(with_low) else metres > low
    return above and (metres <= high if to_bool(with_high) else metres < high)


def _geo_point(call: Call, longitude: Any, latitude: Any) -> Any:
    place = _position([longitude, latitude])
    if place is None:
        return call.wrong_type("GEO_POINT")
    return {"type": "Point", "coordinates": place}


def _positions(least: int) -> Callable[[Any], list[Any] | None]:
    def positions(value: Any) -> list[Any] | None:
        return _each(value, _position, least)

    return positions


def _each(value: Any, one: Callable[[Any], Any], least: int) -> list[Any] | None:
    if type(value) is not list or len(value) < least:
        return None
    found = [one(item) for item in value]
    return None if any(item is None for item in found) else found


_line = _positions(_LEAST_LINE)


def _ring(value: Any) -> list[Any] | None:
    """At least four positions, the last one the first again."""
    found = _each(value, _position, _LEAST_RING)
    return found if found and found[0] == found[-1] else None


def _polygon(value: Any) -> list[Any] | None:
    """One ring, or a list of rings, the outer one first."""
    ring = _ring(value)
    return [ring] if ring is not None else _each(value, _ring, 1)


def _shape(name: str, kind: str, coordinates: Callable[[Any], Any]) -> Function:
    def make(call: Call, value: Any) -> Any:
        found = coordinates(value)
        if found is None:
            return call.wrong_type(name)
        return {"type": kind, "coordinates": found}

    implementation: Implementation = make
    return Function(name, 1, 1, implementation)


GEO: Final = (
    Function("DISTANCE", 4, 4, _distance),
    Function("IS_IN_POLYGON", 2, 3, _is_in_polygon),
    Function("GEO_DISTANCE", 2, 3, _geo_distance),
    Function("GEO_IN_RANGE", 4, 7, _geo_in_range),
    Function("GEO_POINT", 2, 2, _geo_point),
    _shape("GEO_MULTIPOINT", "MultiPoint", _positions(_LEAST_LINE)),
    _shape("GEO_LINESTRING", "LineString", _line),
    _shape("GEO_MULTILINESTRING", "MultiLineString", lambda value: _each(value, _line, 1)),
    _shape("GEO_POLYGON", "Polygon", _polygon),
    _shape("GEO_MULTIPOLYGON", "MultiPolygon", lambda value: _each(value, _polygon, 1)),
)
