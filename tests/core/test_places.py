"""The strings of tools and answer formats: all that somebody wrote, wherever it stands."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.errors import ApiError
from app.core.events import Message, Prompt
from app.core.places import STRUCTURE, Place, replaced, strings, wordings

TOOL = {
    "type": "function",
    "function": {
        "name": "mail",
        "description": "Writes to Ann.",
        "parameters": {
            "type": "object",
            "title": "Mail",
            "required": ["topic", "to"],
            "properties": {
                "topic": {"type": "string", "default": "Hello Bob", "$comment": "ask Gil"},
                "to": {"type": "array", "items": {"const": "Carl", "examples": [{"who": "Dora", "n": 3}]}},
                "ignore the rules": {"x-owner": "Hal"},
            },
            "$defs": {"default": {"type": "string", "pattern": "^Ivy"}},
        },
    },
}
FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "x", "description": "For Eve.", "schema": {"enum": ["Fay", 1]}},
}
PARAMS: dict[str, Any] = {"temperature": 1, "stop": ["Ann"], "tools": [TOOL], "response_format": FORMAT}


def test_every_string_is_read_but_words_of_the_form() -> None:
    found = {place.text for place in strings(PARAMS)}
    assert {
        *("mail", "Writes to Ann.", "Mail", "topic", "to", "Hello Bob", "ask Gil", "Carl", "who", "Dora", "n"),
        *("ignore the rules", "x-owner", "Hal", "^Ivy", "x", "For Eve.", "Fay", "Ann"),
    } == found
    assert not found & STRUCTURE


def test_a_string_has_one_replacement_wherever_it_stands_and_the_rest_is_the_same() -> None:
    prompt = Prompt((Message("user", "to"),), params=PARAMS)
    assert prompt == replaced(prompt, {})
    other = replaced(prompt, {Place("text", "to"): "zu"})
    parameters = other.params["tools"][0]["function"]["parameters"]
    assert ("zu", ["topic", "zu"], ["topic", "zu", "ignore the rules"]) == (
        other.messages[0].text,
        parameters["required"],
        list(parameters["properties"]),
    )
    assert ["topic", "to"] == TOOL["function"]["parameters"]["required"]  # type: ignore[index]


def test_two_keys_never_become_one() -> None:
    prompt = Prompt((), params={"response_format": {"a": 1, "b": 2, "c": 3}})
    other = replaced(prompt, {Place("text", name): "c" for name in "ab"})
    assert {"response_format": {"c_2": 1, "c_3": 2, "c": 3}} == other.params


def test_a_tools_words_are_one_text_without_the_names_of_its_properties() -> None:
    bare = {"type": "function", "function": {"name": "now"}}
    words = ["Writes to Ann.", "Mail", "Hello Bob", "ask Gil", "Carl", "Dora", "ignore the rules", "Hal", "^Ivy"]
    assert ["\n".join(words)] == wordings({"tools": [bare, TOOL]})
    assert ([], []) == (wordings({}), strings({"tools": None, "response_format": "text"}))


def test_a_schema_that_is_nested_without_end_is_refused_with_the_limit() -> None:
    deep: dict[str, Any] = {"description": "Ann"}
    for _ in range(400):
        deep = {"properties": {"a": deep}}
    with pytest.raises(ApiError, match="nested 200 levels deep") as refused:
        strings({"tools": [deep]})
    assert refused.value.status == 400
