"""Bounds on JSON Schemas, checked before any engine reads one.  request models -> [json_schema_bounds] -> engine.

An engine compiles a schema into a grammar in its own process, natively and without a time limit: a pattern of deep
parentheses overflows its stack, and thousands of optional properties or enum values take it minutes. Whatever a schema
costs there is bounded here. Every bound is at or above OpenAI's own where an engine copes with as much.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NoReturn
from urllib.parse import unquote

import orjson
from pydantic import AfterValidator

from app.api.bounds import MAX_IDENTIFIER
from app.api.json_schema_shape import fault_of

MAX_BYTES = 256 * 1024
"""Of one schema as JSON. OpenAI: 120,000 characters of names and values."""
MAX_NODES = 20_000
"""Objects, lists and values of one schema."""
MAX_DEPTH = 64
"""Levels of JSON: about 30 objects in each other. OpenAI: 10. An engine's parser is recursive."""
MAX_PROPERTIES = 5_000
"""Of one schema, over all its objects: OpenAI's."""
MAX_OBJECT_PROPERTIES = 1_000
"""Of one object."""
MAX_OPTIONAL_PROPERTIES = 256
"""Of one object: a grammar has a rule for each pair of them, so they cost quadratic time."""
MAX_ENUM_VALUES = 2_000
"""Of one schema, over all its enums. OpenAI: 1,000."""
MAX_ENUM_LENGTH = 1_000
"""Characters of one value of an enum, and of a const."""
MAX_BRANCHES = 100
"""Of one `anyOf`, `oneOf` or `allOf`, and of a list of types."""
MAX_PATTERN_LENGTH = 512
"""Characters of one pattern."""
MAX_PATTERN_DEPTH = 16
"""Parentheses in each other."""
MAX_PATTERN_SIZE = 2_000
"""Characters of one pattern once its repetitions are written out: an automaton has states for each, and takes quadratic
time to build (1,000: 0.05 s; 10,000: over 30 s).
"""
MAX_PATTERNS_SIZE = 20_000
"""The same of all patterns of one schema."""
MAX_PATTERN_CHOICES = 100
"""`|` in one pattern."""
MAX_PATTERNS = 200
"""Of one schema."""
MAX_REPEATS: Mapping[str, int] = {
    **dict.fromkeys(("minLength", "maxLength"), 100_000),
    **dict.fromkeys(("minItems", "maxItems", "minContains", "maxContains", "minProperties", "maxProperties"), 10_000),
}
"""By keyword: how often something may be demanded or allowed.

A `max...` above it is left out instead of refused: no answer is that long, and agents' tools say such numbers.
"""
MAX_NUMBER = 2**64
"""Magnitude of `minimum` and its like: a grammar spells the digits out."""
MAX_REFERENCES = 1_000
"""`$ref`s of one schema."""
BRANCHES = ("anyOf", "oneOf", "allOf", "prefixItems", "type")
LITERAL = frozenset({"enum", "const", "default", "examples", "example"})
"""Under these stand values and no schemas."""
NUMBERS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})


_TOTALS = {
    "nodes": MAX_NODES,
    "properties": MAX_PROPERTIES,
    "enum values": MAX_ENUM_VALUES,
    "patterns": MAX_PATTERNS,
    "characters of patterns written out": MAX_PATTERNS_SIZE,
    "references": MAX_REFERENCES,
}


class _Bounds:
    """Counts what one schema holds. Raises ValueError with the place of what is over a bound."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema
        self._counts = dict.fromkeys(_TOTALS, 0)

    def check(self) -> None:
        """The whole schema. Not recursive: what is too deep must not overflow this stack either."""
        left: list[tuple[Any, str, int, bool]] = [(self._schema, "", 1, False)]
        while left:
            node, path, depth, literal = left.pop()
            self._count("nodes", 1, path)
            if depth > MAX_DEPTH:
                _refuse(path, f"it is nested over {MAX_DEPTH} levels deep")
            if isinstance(node, list):
                left += [(one, f"{path}[{at}]", depth + 1, literal) for at, one in enumerate(node)]
            elif isinstance(node, Mapping):
                if not literal:
                    self._object(node, path)
                left += [
                    (value, f"{path}.{key[:40]}" if path else key[:40], depth + 1, literal or key in LITERAL)
                    for key, value in node.items()
                ]

    def _object(self, node: Mapping[str, Any], path: str) -> None:
        """What its own keywords ask for."""
        for key, value in node.items():
            place = f"{path}.{key[:40]}" if path else key[:40]
            if isinstance(value, str):
                self._text(key, value, place)
            elif isinstance(value, list):
                self._list(key, value, place)
            elif isinstance(value, int | float) and not isinstance(value, bool):
                _number(key, value, place)
            elif key == "patternProperties" and isinstance(value, Mapping):
                for pattern in value:
                    self._pattern(pattern, place)
        properties = node.get("properties")
        if isinstance(properties, Mapping):
            self._properties(properties, node.get("required"), f"{path}.properties" if path else "properties")

    def _text(self, key: str, value: str, place: str) -> None:
        if key == "pattern":
            self._pattern(value, place)
        elif key in {"$ref", "$dynamicRef", "$recursiveRef"}:
            self._count("references", 1, place)
            self._reference(value, place)
        elif key == "const" and len(value) > MAX_ENUM_LENGTH:
            _refuse(place, f"a value has over {MAX_ENUM_LENGTH:,} characters")

    def _list(self, key: str, value: list[Any], place: str) -> None:
        if key == "enum":
            self._count("enum values", len(value), place)
            if any(isinstance(one, str) and len(one) > MAX_ENUM_LENGTH for one in value):
                _refuse(place, f"a value has over {MAX_ENUM_LENGTH:,} characters")
        elif key in BRANCHES and len(value) > MAX_BRANCHES:
            _refuse(place, f"it has over {MAX_BRANCHES} branches")

    def _properties(self, properties: Mapping[str, Any], required: Any, place: str) -> None:
        self._count("properties", len(properties), place)
        if len(properties) > MAX_OBJECT_PROPERTIES:
            _refuse(place, f"it has over {MAX_OBJECT_PROPERTIES:,} properties")
        named = {one for one in required if isinstance(one, str)} if isinstance(required, list) else set()
        if len(properties.keys() - named) > MAX_OPTIONAL_PROPERTIES:
            _refuse(place, f"over {MAX_OPTIONAL_PROPERTIES} of its properties are not `required`")

    def _pattern(self, pattern: str, place: str) -> None:
        self._count("patterns", 1, place)
        if len(pattern) > MAX_PATTERN_LENGTH:
            _refuse(place, f"a pattern has over {MAX_PATTERN_LENGTH} characters")
        if pattern.count("|") > MAX_PATTERN_CHOICES:
            _refuse(place, f"a pattern has over {MAX_PATTERN_CHOICES} alternatives")
        depth, size = extent(pattern)
        if depth > MAX_PATTERN_DEPTH:
            _refuse(place, f"a pattern has over {MAX_PATTERN_DEPTH} parentheses in each other")
        if size > MAX_PATTERN_SIZE:
            _refuse(place, f"a pattern has over {MAX_PATTERN_SIZE:,} characters with its repetitions written out")
        self._count("characters of patterns written out", size, place)

    def _reference(self, reference: str, place: str) -> None:
        """It leads to a place of this schema, and not round in a circle of references alone."""
        seen: set[str] = set()
        while True:
            if not reference.startswith("#"):
                _refuse(place, "only references to `#/...`, within the schema, are followed")
            if reference in seen:
                _refuse(place, "the reference leads only to itself")
            seen.add(reference)
            target = self._at(reference, place)
            onward = target.get("$ref") if isinstance(target, Mapping) else None
            if not isinstance(onward, str):
                return
            reference = onward

    def _at(self, reference: str, place: str) -> Any:
        here: Any = self._schema
        for part in _steps(reference):
            if isinstance(here, Mapping) and part in here:
                here = here[part]
            elif isinstance(here, list) and part.isdecimal() and len(part) < 6 and int(part) < len(here):
                here = here[int(part)]
            elif reference.startswith("#/"):
                _refuse(place, "the reference leads nowhere")
        return here

    def _count(self, what: str, more: int, path: str) -> None:
        self._counts[what] += more
        if self._counts[what] > _TOTALS[what]:
            _refuse(path, f"the schema has over {_TOTALS[what]:,} {what}")


def extent(pattern: str) -> tuple[int, int]:
    """How many parentheses stand in each other, and how long the pattern is with its repetitions written out."""
    sizes, deepest = [0], 1
    last = 0  # the size of what a repetition would repeat
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "(":
            sizes.append(0)
            deepest = max(deepest, len(sizes))
        elif char == ")" and len(sizes) > 1:
            last = sizes.pop()
            sizes[-1] += last
        elif char == "{" and (times := _times(pattern, at)):
            sizes[-1] += last * (times - 1)
            last *= times
            at = pattern.index("}", at)
        else:
            at += char == "\\"
            last = 1
            sizes[-1] += 1
        at += 1
    return deepest - 1, sum(sizes)


def _times(pattern: str, at: int) -> int:
    """How often at most; `{m,}` is m times. 0: it is no repetition."""
    inside, closed, _ = pattern[at + 1 : at + 44].partition("}")
    numbers = inside.split(",")
    if not closed or len(numbers) > 2 or not numbers[0].isdecimal():
        return 0
    return max(1, *(int(number) for number in numbers if number.isdecimal()))


def _number(key: str, value: float, place: str) -> None:
    limit = MAX_REPEATS.get(key)
    if limit is not None and value > limit and not key.startswith("max"):
        _refuse(place, f"it is over {limit:,}")
    if key in NUMBERS and abs(value) > MAX_NUMBER:
        _refuse(place, "its magnitude is over 2^64")


def _without_idle_limits(node: Any, *, literal: bool = False) -> Any:
    """The same without every `max...` that is above what an answer can reach. What has none is no copy."""
    if isinstance(node, list):
        kept: Any = [_without_idle_limits(one, literal=literal) for one in node]
        return kept if any(new is not old for new, old in zip(kept, node, strict=True)) else node
    if not isinstance(node, dict):
        return node
    kept = {
        key: _without_idle_limits(value, literal=literal or key in LITERAL)
        for key, value in node.items()
        if literal or not _idle(key, value)
    }
    return kept if len(kept) != len(node) or any(kept[key] is not node[key] for key in kept) else node


def _idle(key: str, value: Any) -> bool:
    return (
        key.startswith("max")
        and key in MAX_REPEATS
        and isinstance(value, int | float)
        and not isinstance(value, bool)
        and value > MAX_REPEATS[key]
    )


def _steps(reference: str) -> Iterator[str]:
    for part in reference.split("/")[1:]:
        yield unquote(part).replace("~1", "/").replace("~0", "~")


def _refuse(path: str, why: str) -> NoReturn:
    where = f" at `{path[:200]}`" if path else ""
    msg = f"the JSON Schema is too much for the engines{where}: {why}. Make it smaller"
    raise ValueError(msg)


def bounded(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, without limits that no answer reaches. Raises ValueError: it is over a bound, which is named with
    its place.
    """
    _Bounds(schema).check()
    size = len(orjson.dumps(schema))
    if size > MAX_BYTES:
        _refuse("", f"it has {size:,} bytes, over {MAX_BYTES:,}")
    kept: dict[str, Any] = _without_idle_limits(schema)
    return kept


def bounded_pattern(pattern: str) -> str:
    """A regular expression for itself. Raises ValueError: it is over a bound, or none."""
    _Bounds({"pattern": pattern}).check()
    compiled({"pattern": pattern})
    return pattern


def bounded_format(value: dict[str, Any]) -> dict[str, Any]:
    """Chat's `response_format`, of a known type and with a schema where it needs one. Raises ValueError."""
    kind = value.get("type")
    if kind in ("text", "json_object"):  # no set: what was sent may have no hash
        return {"type": kind}
    if kind != "json_schema":
        msg = "`type` must be `text`, `json_object` or `json_schema`"
        raise ValueError(msg)
    about = value.get("json_schema")
    schema = about.get("schema") if isinstance(about, dict) else None
    if not isinstance(about, dict) or not isinstance(schema, dict):
        msg = "a format of type `json_schema` needs `json_schema` with an object `schema`"
        raise ValueError(msg)  # noqa: TRY004 - pydantic turns only a ValueError into a fault
    _named(about)
    bounded({name: one for name, one in about.items() if name != "schema"})
    told = {**about, "schema": compiled(bounded(schema))}
    known = ("name", "description", "schema", "strict")
    return {"type": kind, "json_schema": {name: told[name] for name in known if told.get(name) is not None}}


def _named(about: Mapping[str, Any]) -> None:
    """What stands beside the schema of a format."""
    name = about.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_IDENTIFIER:
        msg = f"`json_schema.name` must be a string of 1 to {MAX_IDENTIFIER} characters"
        raise ValueError(msg)
    if not isinstance(about.get("strict"), bool | None):
        msg = "`json_schema.strict` must be true or false"
        raise ValueError(msg)  # noqa: TRY004 - pydantic turns only a ValueError into a fault
    if not isinstance(about.get("description"), str | None):
        msg = "`json_schema.description` must be a string"
        raise ValueError(msg)  # noqa: TRY004 - as above


def compiled(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema that an engine will compile. Raises ValueError: it is none."""
    if why := fault_of(schema):
        raise ValueError(why)
    return schema


JsonSchema = Annotated[dict[str, Any], AfterValidator(bounded)]
"""A JSON Schema that an engine can compile."""
ResponseFormat = Annotated[dict[str, Any], AfterValidator(bounded_format)]
"""Chat's `response_format`."""
