"""Every function that AQL has by itself: its name, and how many arguments it takes.

Source: `arangod/Aql/AqlFunctionFeature.cpp` of ArangoDB 3.12. What stands here is known to the
language; which of them a store can evaluate is that store's to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

MAX_ARGUMENTS: Final = 65_536
"""What ArangoDB gives as the maximum of a function without one."""

_ARGUMENTS: Final[Mapping[str, str]] = {
    "0 0": """COLLECTIONS CURRENT_DATABASE CURRENT_USER DATE_NOW DATE_TIMEZONE DATE_TIMEZONES PI
        RAND UUID VERSION""",
    "0 1": "FAIL",
    "1 1": """ABS ACOS ASIN ATAN AVERAGE AVG BIT_CONSTRUCT BIT_DECONSTRUCT BIT_FROM_STRING
        BIT_POPCOUNT CEIL CHAR_LENGTH CHECK_DOCUMENT COLLECTION_COUNT COS COUNT COUNT_DISTINCT
        COUNT_UNIQUE CRC32 DATE_MILLISECOND DATE_SECOND DECODE_REV DEGREES ENCODE_URI_COMPONENT
        ENTRIES EXP EXP2 FIRST FLOOR FNV64 GEO_LINESTRING GEO_MULTILINESTRING GEO_MULTIPOINT
        GEO_MULTIPOLYGON GEO_POLYGON HASH IPV4_FROM_NUMBER IPV4_TO_NUMBER IS_ARRAY IS_BOOL
        IS_DATESTRING IS_DOCUMENT IS_IPV4 IS_KEY IS_LIST IS_NULL IS_NUMBER IS_OBJECT IS_STRING
        JSON_PARSE JSON_STRINGIFY LAST LENGTH LOG LOG10 LOG2 LOWER MAX MD5 MEDIAN MIN
        MINHASH_COUNT MINHASH_ERROR NOEVAL NOOPT PARSE_COLLECTION PARSE_IDENTIFIER PARSE_KEY
        PASSTHRU POP PRODUCT RADIANS RANDOM_TOKEN REVERSE ROUND SCHEMA_GET SHA1 SHA256 SHA512
        SHIFT SIN SLEEP SORTED SORTED_UNIQUE SOUNDEX SQRT STDDEV STDDEV_POPULATION STDDEV_SAMPLE
        SUM TAN TO_ARRAY TO_BASE64 TO_BOOL TO_HEX TO_LIST TO_NUMBER TO_STRING TYPENAME UNIQUE
        UPPER V8 VARIANCE VARIANCE_POPULATION VARIANCE_SAMPLE""",
    "1 2": """APPLY BIT_AND BIT_OR BIT_XOR DATE_DAY DATE_DAYOFWEEK DATE_DAYOFYEAR
        DATE_DAYS_IN_MONTH DATE_HOUR DATE_ISOWEEK DATE_ISOWEEKYEAR DATE_LEAPYEAR DATE_MINUTE
        DATE_MONTH DATE_QUARTER DATE_YEAR DOCUMENT FLATTEN GEO_AREA LTRIM PREGEL_RESULT RTRIM TRIM
        VALUES""",
    "1 3": "ATTRIBUTES KEYS SPLIT",
    "1 7": "DATE_ISO8601 DATE_TIMESTAMP",
    "1 *": "CALL CONCAT FIRST_DOCUMENT FIRST_LIST MERGE MERGE_RECURSIVE NOT_NULL",
    "2 2": """ASSERT ATAN2 BIT_NEGATE BIT_TEST BIT_TO_STRING COSINE_SIMILARITY GEO_CONTAINS
        GEO_EQUALS GEO_INTERSECTS GEO_POINT HAS IS_SAME_COLLECTION JACCARD L1_DISTANCE L2_DISTANCE
        LEFT LEVENSHTEIN_DISTANCE MINHASH NTH POW REMOVE_NTH REMOVE_VALUES RIGHT SCHEMA_VALIDATE
        SHARD_ID VALUE WARN ZIP""",
    "2 3": """APPEND CONTAINS CONTAINS_ARRAY DATE_FORMAT DATE_LOCALTOUTC DATE_TRUNC DATE_UTCTOLOCAL
        GEO_DISTANCE IS_IN_POLYGON LIKE MATCHES PERCENTILE POSITION PUSH RANGE REGEX_MATCHES
        REGEX_TEST REMOVE_VALUE SLICE SUBSTRING TRANSLATE UNSHIFT REPEAT STARTS_WITH""",
    "2 4": "DATE_ADD DATE_SUBTRACT FIND_FIRST FIND_LAST NGRAM_MATCH REGEX_SPLIT SUBSTITUTE",
    "2 5": "SUBSTRING_BYTES",
    "2 *": """CONCAT_SEPARATOR INTERLEAVE INTERSECTION KEEP KEEP_RECURSIVE MINUS OUTERSECTION UNION
        UNION_DISTINCT UNSET UNSET_RECURSIVE""",
    "3 3": "BIT_SHIFT_LEFT BIT_SHIFT_RIGHT NGRAM_POSITIONAL_SIMILARITY NGRAM_SIMILARITY",
    "3 4": "DATE_DIFF DATE_ROUND FULLTEXT MINHASH_MATCH REGEX_REPLACE REPLACE_NTH",
    "3 5": "NEAR",
    "3 6": "DATE_COMPARE LEVENSHTEIN_MATCH",
    "4 4": "DISTANCE",
    "4 5": "WITHIN",
    "4 7": "GEO_IN_RANGE",
    "5 5": "DECAY_EXP DECAY_GAUSS DECAY_LINEAR IN_RANGE WITHIN_RECTANGLE",
}


def _bounds(text: str) -> tuple[int, int]:
    least, most = text.split()
    return int(least), MAX_ARGUMENTS if most == "*" else int(most)


ARITIES: Final[Mapping[str, tuple[int, int]]] = {
    name: _bounds(bounds) for bounds, names in _ARGUMENTS.items() for name in names.split()
}
"""For each function the least and the greatest number of its arguments."""

AGGREGATES: Final = frozenset(
    {
        "AVERAGE",
        "AVG",
        "BIT_AND",
        "BIT_OR",
        "BIT_XOR",
        "COUNT",
        "COUNT_DISTINCT",
        "COUNT_UNIQUE",
        "LENGTH",
        "MAX",
        "MIN",
        "PUSH",
        "SORTED_UNIQUE",
        "STDDEV",
        "STDDEV_POPULATION",
        "STDDEV_SAMPLE",
        "SUM",
        "UNIQUE",
        "VARIANCE",
        "VARIANCE_POPULATION",
        "VARIANCE_SAMPLE",
    }
)
"""What may stand after AGGREGATE; there each takes one argument (COUNT and LENGTH also none)."""

READING: Final = frozenset({"COLLECTION_COUNT", "DOCUMENT", "FULLTEXT", "NEAR", "PREGEL_RESULT"})
"""Functions that read documents which no clause of the query names."""

GRANTED_ONLY: Final[Mapping[str, str]] = {
    "APPLY": "calls a function by a name that is a value",
    "ASSERT": "stops the query",
    "CALL": "calls a function by a name that is a value",
    "CHECK_DOCUMENT": "looks into storage",
    "COLLECTIONS": "lists every collection",
    "COLLECTION_COUNT": "reads a collection by a name that is a value",
    "CURRENT_DATABASE": "tells the gateway's own database",
    "CURRENT_USER": "tells the gateway's own user",
    "DOCUMENT": "reads any document by an id that is a value",
    "FAIL": "stops the query",
    "FULLTEXT": "reads a collection by a name that is a value",
    "NEAR": "reads a collection by a name that is a value",
    "NOEVAL": "steers the optimizer",
    "NOOPT": "steers the optimizer",
    "PREGEL_RESULT": "reads what no clause names",
    "SCHEMA_GET": "reads a collection's rules by a name that is a value",
    "SCHEMA_VALIDATE": "runs a schema that is a value",
    "SHARD_ID": "tells where documents are kept",
    "SLEEP": "holds a server thread",
    "V8": "runs in the server's script engine",
    "VERSION": "tells the server's version",
    "WARN": "writes into the query's warnings",
    "WITHIN": "reads a collection by a name that is a value",
    "WITHIN_RECTANGLE": "reads a collection by a name that is a value",
}
"""Functions that a role has to be granted by name, each with the reason."""

UNDETERMINED: Final[Mapping[str, str]] = {
    "APPLY": "may call a function that says something else each time",
    "CALL": "may call a function that says something else each time",
    "CURRENT_USER": "depends on who runs the query",
    "DATE_NOW": "depends on the clock; have the time given as a bind value",
    "PREGEL_RESULT": "reads what is gone later",
    "RAND": "depends on chance",
    "RANDOM_TOKEN": "depends on chance",
    "SHARD_ID": "depends on where documents are kept",
    "UUID": "depends on chance",
    "V8": "runs in the server's script engine",
    "VERSION": "depends on the server",
}
"""Functions that do not depend on their arguments and the documents alone, each with the reason."""
