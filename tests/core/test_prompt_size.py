"""Whatever of a request an engine reads is counted, wherever it stands."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.events import Message, Prompt
from app.core.prompt_size import overhead, read_texts
from app.engines.tokenizer import estimate

MARK = "zebra" * 40
CALL = {"id": "c0", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def counted(prompt: Prompt) -> int:
    return sum(map(estimate, read_texts(prompt)))


@pytest.mark.parametrize(
    "extra",
    [
        {"name": MARK},
        {"tool_call_id": MARK},
        {"tool_calls": [CALL | {"id": MARK}]},
        {"tool_calls": [CALL | {"function": {"name": MARK, "arguments": "{}"}}]},
        {"tool_calls": [CALL | {"function": {"name": "f", "arguments": MARK}}]},
        {"tool_calls": [CALL | {"something_new": {"deep": [MARK]}}]},
        {"something_new": [{"deep": MARK}]},
    ],
)
def test_what_stands_beside_a_text_is_counted_once(extra: dict[str, Any]) -> None:
    texts = read_texts(Prompt((Message("assistant", "hi", extra),)))
    assert sum(text.count(MARK) for text in texts) == 1


@pytest.mark.parametrize(
    "params",
    [
        {"tools": [{"type": "function", "function": {"name": MARK}}]},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {MARK: {}}}}}]},
        {"tool_choice": {"function": {"name": MARK}}},
        {"something_new": [MARK]},
    ],
)
def test_every_field_that_is_a_structure_is_counted(params: dict[str, Any]) -> None:
    assert counted(Prompt((Message("user", "hi"),), params=params)) >= estimate(MARK)


def test_a_schema_for_the_answer_is_reserved_and_fills_no_context() -> None:
    form = {"type": "json_schema", "json_schema": {"schema": {"description": MARK}}}
    prompt = Prompt((Message("user", "hi"),), params={"response_format": form})
    assert counted(prompt) == 0
    assert overhead(prompt, [0]) - overhead(Prompt(prompt.messages), [0]) >= estimate(MARK)


@pytest.mark.parametrize("name", ["stop", "logit_bias", "metadata"])
def test_what_no_model_reads_is_not_counted(name: str) -> None:
    assert counted(Prompt((Message("user", "hi"),), params={name: [MARK]})) == 0


def test_tools_and_calls_have_room_for_what_a_template_writes_around_them() -> None:
    plain = Prompt((Message("user", "hi"),))
    busy = Prompt((Message("user", "hi", {"tool_calls": [CALL] * 3}),), params={"tools": [{"type": "function"}] * 5})
    more = overhead(busy, [estimate(text) for text in read_texts(busy)]) - overhead(plain, [0])
    assert more >= 8 * 12 + 200
