"""Whether a JSON Schema has the shape of one, before an engine compiles it.  request models -> [json_schema_shape].

Each keyword whose value an engine reads is looked at, where a schema may stand; keywords that nobody knows are free.
What is well-formed and yet not supported is the engine's to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
Fault = tuple[str, str]
"""A place, and what should stand there."""


def fault_of(schema: Any) -> str | None:
    """The first thing that is no schema, in words; None: it is one. Not recursive."""
    left: list[tuple[str, Any]] = [("", schema)]
    while left:
        place, node = left.pop()
        if isinstance(node, bool):
            continue
        if not isinstance(node, Mapping):
            return _said(place, "must be an object or a boolean")
        for key, value in node.items():
            here = f"{place}.{key[:40]}" if place else key[:40]
            if (why := _wrong(key, value)) is not None:
                return _said(here, why)
            left += _within(key, value, here)
    return None


def _said(place: str, why: str) -> str:
    return f"the JSON Schema is not valid: {f'`{place[:200]}`' if place else 'it'} {why}"


def _within(key: str, value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """The schemas under a keyword."""
    if key in _MAPS:
        yield from ((f"{place}.{name[:40]}", one) for name, one in value.items())
    elif key in _LISTS or (key == "items" and isinstance(value, list)):
        yield from ((f"{place}[{at}]", one) for at, one in enumerate(value))
    elif key in _SCHEMAS:
        yield place, value


def _wrong(key: str, value: Any) -> str | None:
    """What should stand there; None: it does, or it is not known."""
    check = _CHECKS.get(key)
    return None if check is None or check[0](value) else check[1]


def _is_type(value: Any) -> bool:
    several = value if isinstance(value, list) else [value]
    return bool(several) and all(isinstance(one, str) and one in TYPES for one in several)


def _is_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_count(value: Any) -> bool:
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return whole and not isinstance(value, bool) and value >= 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_pattern(value: Any) -> bool:
    """A string whose brackets are closed: what else a pattern may be is not agreed on."""
    return isinstance(value, str) and _closed(value)


def _closed(pattern: str) -> bool:
    depth, within, at = 0, False, 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            at += 1
            if at == len(pattern):
                return False
        elif within:
            within = char != "]"
        elif char == "[":
            within = True
        elif char in "()":
            depth += 1 if char == "(" else -1
            if depth < 0:
                return False
        at += 1
    return depth == 0 and not within


def _is_map(value: Any) -> bool:
    return isinstance(value, Mapping)


_MAPS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_SCHEMAS = frozenset(
    {
        *("items", "additionalProperties", "additionalItems", "not", "if", "then", "else", "contains"),
        *("propertyNames", "unevaluatedProperties", "unevaluatedItems", "contentSchema"),
    }
)
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minContains", "maxContains")
_CHECKS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(_MAPS, (_is_map, "must be an object of schemas")),
    **dict.fromkeys(_LISTS, (lambda value: isinstance(value, list) and bool(value), "must be a list of schemas")),
    **dict.fromkeys((*_COUNTS, "minProperties", "maxProperties"), (_is_count, "must be a whole number, not below 0")),
    **dict.fromkeys(("minimum", "maximum"), (_is_number, "must be a number")),
    **dict.fromkeys(
        ("exclusiveMinimum", "exclusiveMaximum"),
        (lambda value: isinstance(value, bool) or _is_number(value), "must be a number"),
    ),
    "multipleOf": (lambda value: _is_number(value) and value > 0, "must be a number above 0"),
    "type": (_is_type, f"must be one of {', '.join(sorted(TYPES))}, or a list of them"),
    "enum": (lambda value: isinstance(value, list) and bool(value), "must be a list of values"),
    "required": (_is_strings, "must be a list of names"),
    "pattern": (_is_pattern, "must be a regular expression"),
    "format": (lambda value: isinstance(value, str), "must be a string"),
    "$ref": (lambda value: isinstance(value, str), "must be a string"),
}
