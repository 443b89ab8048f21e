"""The bundled model's chat template: its own where there are no tools, Hermes' way of writing them where there are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import app.models
from app.core.events import Message, Prompt
from app.engines.tokenizer import as_offered, as_read, compiled, count_chat
from tests.examples import examples
from tests.words import vocabulary

TEMPLATE = (Path(app.models.__file__).parent / "templates" / "smollm2.jinja").read_text(encoding="utf-8")
THEIRS = """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}"""
TOOL = {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": {"type": "object"}}}
CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"at": "it"}'}}
TURN = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant"]), "content": st.text(max_size=20)}
)


def written(messages: list[dict[str, Any]], *, prompt: bool = True, template: str = TEMPLATE, **more: Any) -> str:
    environment = compiled(template)
    assert environment is not None
    tools = [as_offered(tool) for tool in more.pop("tools", ())] or None
    read = [as_read(one) for one in messages]
    return environment.render(messages=read, tools=tools, add_generation_prompt=prompt, **more)


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(TURN, min_size=1, max_size=5), st.booleans())
def test_without_tools_it_writes_what_the_models_own_writes(messages: list[dict[str, Any]], prompt: bool) -> None:
    assert written(messages, prompt=prompt, template=THEIRS) == written(messages, prompt=prompt)


@pytest.mark.parametrize("system", [[], [{"role": "system", "content": "Be brief."}]])
def test_tools_stand_in_the_system_turn(system: list[dict[str, Any]]) -> None:
    text = written([*system, {"role": "user", "content": "hi"}], tools=[TOOL, TOOL])
    assert 1 == text.count("<|im_start|>system\n")
    assert text.startswith("<|im_start|>system\nBe brief.\n\n# Tools" if system else "<|im_start|>system\nYou are")
    offered = re.search(r"<tools>\n(.*)\n</tools>", text, re.DOTALL)
    assert offered is not None
    assert [TOOL, TOOL] == [json.loads(line) for line in offered[1].splitlines()]


def test_a_call_is_written_as_it_is_read_and_results_stand_in_one_turn() -> None:
    turns: list[dict[str, Any]] = [
        {"role": "user", "content": "look"},
        {"role": "assistant", "content": "", "tool_calls": [CALL, CALL]},
        {"role": "tool", "tool_call_id": "c", "content": "one"},
        {"role": "tool", "tool_call_id": "c", "content": "two"},
        {"role": "assistant", "content": "I see.", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c", "content": "three"},
    ]
    text = written(turns, tools=[TOOL])
    _, _, answers = text.partition("</tool_call><|im_end|>\n")
    calls = re.findall(r"<tool_call>\s*(.*?)\s*</tool_call>", answers, re.DOTALL)
    assert [{"name": "look", "arguments": {"at": "it"}}] * 3 == [json.loads(call) for call in calls]
    results = "<tool_response>\none\n</tool_response>\n<tool_response>\ntwo\n</tool_response><|im_end|>"
    assert f"<|im_start|>user\n{results}" in answers
    assert "<|im_start|>assistant\nI see.\n<tool_call>" in answers


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(TURN, min_size=1, max_size=4), st.lists(TURN, max_size=3), st.booleans())
def test_what_was_said_stays_as_it_was_written(
    before: list[dict[str, Any]], more: list[dict[str, Any]], tools: bool
) -> None:
    offered = {"tools": [TOOL]} if tools else {}
    assert written(before + more, prompt=False, **offered).startswith(written(before, prompt=False, **offered))


@pytest.mark.parametrize("arguments", ["", "{", "[1]", None, '{"a": 1}', "5"])
def test_arguments_of_any_kind_are_an_object_to_the_template(arguments: Any) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": arguments}}
    read = as_read({"role": "assistant", "content": "", "tool_calls": [call]})
    assert isinstance(read["tool_calls"][0]["function"]["arguments"], dict)


def test_a_chat_is_counted_with_its_template_and_its_tools(tmp_path: Path) -> None:
    words = vocabulary(tmp_path)
    prompt = Prompt((Message("user", "hello world"),))
    chat = words.chat([prompt.messages[0].wire()], prompt=True)
    assert chat is not None
    assert len(words.encode(chat, special=False)) == count_chat(prompt, words, len)
    raw = Prompt((Message("user", "hello world"),), raw=True)
    assert len(words.encode("hello world", special=True)) == count_chat(raw, words, len)


def test_without_a_template_texts_and_tools_are_counted(tmp_path: Path) -> None:
    prompt = Prompt((Message("user", "hello"), Message("assistant", "hi")), params={"tools": [TOOL]})
    assert len("hello") + len("hi") + len(json.dumps([TOOL])) == count_chat(prompt, vocabulary(tmp_path, None), len)
    assert count_chat(prompt, None, len) == count_chat(prompt, vocabulary(tmp_path, None), len)
