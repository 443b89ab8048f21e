"""The words in tools and answer formats: all that somebody wrote, and never a key."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.errors import ApiError
from app.safety.schemas import saying, tools, words

TOOL = {
    "type": "function",
    "function": {
        "name": "mail",
        "description": "Writes to Ann.",
        "parameters": {
            "type": "object",
            "title": "Mail",
            "required": ["title", "to"],
            "properties": {
                "title": {"type": "string", "default": "Hello Bob"},
                "enum": {"type": "string", "enum": ["Ann", "Bob"], "description": "Whom."},
                "to": {"type": "array", "items": {"const": "Carl", "examples": [{"who": "Dora", "n": 3}]}},
            },
            "$defs": {"default": {"type": "string", "pattern": "^[A-Z]"}},
        },
    },
}
FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "x", "description": "For Eve.", "schema": {"enum": ["Fay", 1]}},
}
PARAMS: dict[str, Any] = {"temperature": 1, "stop": ["Ann"], "tools": [TOOL], "response_format": FORMAT}
WORDS = ["Writes to Ann.", "Mail", "Hello Bob", "Ann", "Bob", "Whom.", "Carl", "Dora", "For Eve.", "Fay"]


def test_words_are_descriptions_titles_and_values_but_no_keys_names_or_types() -> None:
    assert WORDS == words(PARAMS)


def test_a_request_says_other_words_in_the_same_places_and_is_else_the_same() -> None:
    assert PARAMS == saying(PARAMS, WORDS)
    other = saying(PARAMS, [word.upper() for word in WORDS])
    assert [word.upper() for word in WORDS] == words(other)
    assert (["Ann"], "mail", ["title", "to"]) == (
        other["stop"],
        other["tools"][0]["function"]["name"],
        other["tools"][0]["function"]["parameters"]["required"],
    )
    assert PARAMS["tools"][0]["function"]["description"] == "Writes to Ann."


def test_a_tools_words_are_one_text_and_a_tool_without_any_is_none() -> None:
    bare = {"type": "function", "function": {"name": "now"}}
    assert ["\n".join(WORDS[:8])] == tools({"tools": [bare, TOOL]})
    assert ([], []) == (tools({}), words({"tools": None, "response_format": "text"}))


def test_a_schema_that_is_nested_without_end_is_refused_with_the_limit() -> None:
    deep: dict[str, Any] = {"description": "Ann"}
    for _ in range(400):
        deep = {"properties": {"a": deep}}
    with pytest.raises(ApiError, match="nested 200 levels deep") as refused:
        words({"tools": [deep]})
    assert refused.value.status == 400
