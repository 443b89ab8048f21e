"""A schema that would cost an engine minutes, or its life, is a 400 before any engine; a large real one passes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.json_schema_bounds import (
    MAX_DEPTH,
    MAX_ENUM_LENGTH,
    MAX_ENUM_VALUES,
    MAX_OBJECT_PROPERTIES,
    MAX_OPTIONAL_PROPERTIES,
    MAX_PATTERN_SIZE,
    bounded,
    extent,
)
from tests.batch_kit import Batchery, begin, ended, lines, task, written
from tests.kit import KEY, Kit, serving

WORD = {"type": "string"}


def objects(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), **more}


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = objects({"a": schema})
    return schema


def pattern(text: str) -> dict[str, Any]:
    return objects({"a": {"type": "string", "pattern": text}})


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "deep pattern": (pattern("(" * 200_000 + "a" + ")" * 200_000), "properties.a.pattern"),
    "deep, short pattern": (pattern("(" * 20 + "a" + ")" * 20), "properties.a.pattern"),
    "repetition": (pattern("[a-z]{0,100000}"), "properties.a.pattern"),
    "repetition without end": (pattern("a{100000,}"), "properties.a.pattern"),
    "repetition of repetitions": (pattern("((a{40}){40}){40}"), "properties.a.pattern"),
    "alternatives": (pattern("|".join("ab" * 101)), "properties.a.pattern"),
    "pattern of names": ({"patternProperties": {"(" * 99 + ")" * 99: WORD}}, "patternProperties"),
    "levels": (nested(MAX_DEPTH), "properties.a"),
    "properties": (objects({f"p{n}": WORD for n in range(MAX_OBJECT_PROPERTIES + 1)}), "properties"),
    "all properties": (objects({f"o{n}": objects(dict.fromkeys(map(str, range(900)), WORD)) for n in range(6)}), "o"),
    "optional properties": ({"properties": {f"p{n}": WORD for n in range(MAX_OPTIONAL_PROPERTIES + 1)}}, "properties"),
    "enum": ({"enum": [str(n) for n in range(MAX_ENUM_VALUES + 1)]}, "enum"),
    "long value": (objects({"a": {"enum": ["x" * (MAX_ENUM_LENGTH + 1)]}}), "properties.a.enum"),
    "branches": ({"anyOf": [WORD] * 101}, "anyOf"),
    "length": (objects({"a": {"type": "string", "minLength": 10**9}}), "properties.a.minLength"),
    "items": (objects({"a": {"type": "array", "minItems": 10**9}}), "properties.a.minItems"),
    "number": (objects({"a": {"type": "number", "minimum": 1e300}}), "properties.a.minimum"),
    "reference to itself": ({"$ref": "#"}, "$ref"),
    "references in a circle": (
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        "$ref",
    ),
    "reference to nowhere": (objects({"a": {"$ref": "#/$defs/a"}}), "properties.a.$ref"),
    "reference outside": (objects({"a": {"$ref": "https://x.org/a.json"}}), "properties.a.$ref"),
    "bytes": (objects({f"p{n}": {"description": "x" * 3_000} for n in range(100)}), ""),
}
"""Each kind, and where it stands in the schema."""

GOOD: dict[str, dict[str, Any]] = {
    "300 required properties": objects({f"p{n}": WORD for n in range(300)}, additionalProperties=False),
    "1000 enum values": objects({"a": {"enum": [f"value {n}" for n in range(1000)]}}),
    "5000 properties": objects({f"o{n}": objects({f"p{m}": WORD for m in range(249)}) for n in range(20)}),
    "10 levels": nested(10),
    "a tree": objects({"value": WORD, "children": {"type": "array", "items": {"$ref": "#"}}}),
    "definitions": {"$defs": {"a b": WORD}, **objects({"a": {"$ref": "#/$defs/a b"}})},
    "patterns": objects(
        {
            "email": {
                "type": "string",
                "pattern": r"^(?!\.)(?!.*\.\.)([\w'+\-\.]*)[\w+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$",
            },
            "host": {"type": "string", "pattern": r"^([a-z0-9-]{1,63}\.){1,8}[a-z]{2,63}$", "maxLength": 65_535},
            "pattern": WORD,
            "enum": {"type": "integer", "minimum": -(2**53), "maximum": 2**63},
        }
    ),
    "a property named required": objects({"required": {"type": "boolean"}, "$ref": WORD}),
    "no schema at all": {},
}


@pytest.fixture(scope="module")
def kit() -> Kit:
    return Kit(window=65_536)


@pytest.fixture(scope="module")
def http(kit: Kit) -> Iterator[httpx.Client]:
    with (
        serving(kit.gateway()) as url,
        httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=60) as client,
    ):
        yield client


HI = [{"role": "user", "content": "hi"}]
Request = Callable[[dict[str, Any]], tuple[str, dict[str, Any]]]
PLACES: dict[str, tuple[str, Request]] = {
    "chat's format": (
        "response_format",
        lambda schema: (
            "/v1/chat/completions",
            {
                "messages": HI,
                "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
            },
        ),
    ),
    "chat's tool": (
        "tools[0]",
        lambda schema: (
            "/v1/chat/completions",
            {"messages": HI, "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}]},
        ),
    ),
    "responses' format": (
        "text.format.schema",
        lambda schema: (
            "/v1/responses",
            {"input": "hi", "text": {"format": {"type": "json_schema", "name": "x", "schema": schema}}},
        ),
    ),
    "responses' tool": (
        "tools[0].parameters",
        lambda schema: (
            "/v1/responses",
            {"input": "hi", "tools": [{"type": "function", "name": "f", "parameters": schema}]},
        ),
    ),
    "messages' format": (
        "output_config.format.schema",
        lambda schema: (
            "/v1/messages",
            {
                "messages": HI,
                "max_tokens": 9,
                "output_config": {"format": {"type": "json_schema", "schema": schema}},
            },
        ),
    ),
    "messages' tool": (
        "tools[0].input_schema",
        lambda schema: (
            "/v1/messages",
            {"messages": HI, "max_tokens": 9, "tools": [{"name": "f", "input_schema": schema}]},
        ),
    ),
}


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("kind", BAD)
def test_a_schema_over_a_bound_is_a_400_that_names_the_place_and_no_engine_sees_it(
    http: httpx.Client, kit: Kit, kind: str, where: str
) -> None:
    (schema, place), (param, request) = BAD[kind], PLACES[where]
    path, body = request(schema)
    before = sum(len(engine.requests) for engine in kit.engines.values())
    answer = http.post(path, json={"model": "small", **body})
    error = answer.json()["error"]
    assert (400, "invalid_request_error") == (answer.status_code, error["type"])
    assert "JSON Schema is too much for the engines" in error["message"]
    assert place in error["message"]
    assert param in (error.get("param") or error["message"])
    assert before == sum(len(engine.requests) for engine in kit.engines.values())


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("kind", GOOD)
def test_a_large_real_schema_passes(http: httpx.Client, kind: str, where: str) -> None:
    path, body = PLACES[where][1](GOOD[kind])
    answer = http.post(path, json={"model": "small", **body})
    assert 200 == answer.status_code, answer.text


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": {"name": "x"}},
        {"type": "json_schema", "json_schema": {"name": "x", "schema": "yes"}},
        {"type": "structural_tag", "structures": "x"},
        {"type": ["text"]},
    ],
)
def test_a_format_of_no_known_shape_is_a_400(http: httpx.Client, form: dict[str, Any]) -> None:
    answer = http.post("/v1/chat/completions", json={"model": "small", "messages": HI, "response_format": form})
    assert (400, "response_format") == (answer.status_code, answer.json()["error"]["param"])


def test_the_pattern_itself_may_be_as_long_as_its_bound_and_is_counted_written_out() -> None:
    assert (2, 12) == extent("((ab){3}){2}")
    assert (0, 3) == extent(r"\(\{{")
    assert (1, 5) == extent("(a{2,4})b")
    assert bounded(pattern(f"[a-z]{{0,{MAX_PATTERN_SIZE // 5}}}"))


def test_a_limit_that_no_answer_reaches_is_left_out_and_names_of_properties_and_values_stay() -> None:
    word = {"type": "string", "maxLength": 524_288}
    sent = objects({"maxLength": word, "a": {"default": {"maxItems": 10**9}}, "b": {"maxLength": 9}})
    kept = bounded(sent)
    assert objects({**sent["properties"], "maxLength": {"type": "string"}}) == kept
    assert word["maxLength"] == 524_288
    assert (small := pattern("a")) is bounded(small)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["$ref", "pattern", "properties", "required", "enum", "anyOf", "maxItems", "type", "x"]),
            inner,
            max_size=5,
        )
    ),
)


@given(st.dictionaries(st.sampled_from(["$ref", "$defs", "properties", "patternProperties", "required"]), JSON))
def test_any_json_passes_or_is_refused_in_words(schema: dict[str, Any]) -> None:
    with contextlib.suppress(ValueError):
        kept = bounded(schema)
        assert kept is schema or "maxItems" in repr(schema)
        assert kept is bounded(kept)


def test_a_batchs_line_with_such_a_schema_fails_alone(tmp_path: Path) -> None:
    deep, _ = BAD["deep, short pattern"]
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": deep}}
    bad = task("bad")
    bad["body"]["response_format"] = form
    with Batchery(tmp_path).serving() as shop:
        client = shop.client()
        done = ended(client, begin(client, lines(bad, task("good"))).id)
        (refused,) = written(client, done.error_file_id)
        assert ("bad", 400) == (refused["custom_id"], refused["response"]["status_code"])
        assert ["good"] == [one["custom_id"] for one in written(client, done.output_file_id)]
