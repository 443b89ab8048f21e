"""Chat requests as real clients send them: tools of every kind, histories, vLLM's own parameters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from app.api.openai.chat.request import read
from app.api.openai.chat.tools import CustomCalls, input_of
from app.core.events import ToolDelta
from tests.kit import KEY, WHO, WINDOW, Kit, serving

CHAT = "/v1/chat/completions"
HI = [{"role": "user", "content": "hi"}]
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}


def tool(name: str = "look", **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}, **more}}


def custom(name: str = "patch", **more: Any) -> dict[str, Any]:
    return {"type": "custom", "custom": {"name": name, **more}}


@pytest.fixture
def kit() -> Kit:
    return Kit()


@pytest.fixture
def http(kit: Kit) -> Iterator[httpx.Client]:
    with (
        serving(kit.gateway()) as url,
        httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=20) as client,
    ):
        yield client


def ask(http: httpx.Client, **body: Any) -> httpx.Response:
    return http.post(CHAT, json={"model": "small", "messages": HI, "temperature": 1} | body)


def sent(kit: Kit) -> Any:
    return kit.engines["a"].requests[-1]


def refused(answer: httpx.Response) -> str:
    assert 400 == answer.status_code, answer.text
    return str(answer.json()["error"]["param"])


# -- tools --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"tools": []},
        {"tools": None},
        {"tools": [], "tool_choice": "auto"},
        {"tools": [], "tool_choice": "none", "parallel_tool_calls": True},
        {"tool_choice": "auto"},
        {"tool_choice": "none"},
    ],
)
def test_no_tools_are_as_if_left_out(kit: Kit, http: httpx.Client, body: dict[str, Any]) -> None:
    assert 200 == ask(http, **body).status_code
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & sent(kit).params.keys()


@pytest.mark.parametrize(
    "choice",
    [
        "required",
        {"type": "function", "function": {"name": "look"}},
        {"type": "custom", "custom": {"name": "look"}},
        {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [tool("other")]}},
        {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": []}},
        {"type": "allowed_tools", "allowed_tools": {"mode": "always", "tools": []}},
        {"type": "else"},
        {},
        "must",
        5,
    ],
)
@pytest.mark.parametrize("tools", [[], [tool("another")]])
def test_a_tool_that_is_not_there_cannot_be_demanded(http: httpx.Client, choice: Any, tools: list[Any]) -> None:
    if choice == "required" and tools:
        assert 200 == ask(http, tools=tools, tool_choice=choice).status_code
        return
    assert refused(ask(http, tools=tools, tool_choice=choice)).startswith("tool_choice")


def test_of_allowed_tools_only_those_reach_the_engine(kit: Kit, http: httpx.Client) -> None:
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "b"}}]}
    tools = [tool("a"), tool("b")]
    ask(http, tools=tools, tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    assert [tool("b")] == sent(kit).params["tools"]
    assert "required" == sent(kit).params["tool_choice"]


def test_many_tools_with_long_names_are_taken() -> None:
    tools = [tool("mcp__" + "x" * 90 + str(at)) for at in range(300)]
    asked, _ = read(json.dumps({"model": "small", "messages": HI, "tools": tools}).encode())
    assert 300 == len(asked.prompt().params["tools"])


def test_what_is_not_strict_is_as_if_nothing_had_been_said(kit: Kit, http: httpx.Client) -> None:
    ask(http, tools=[tool("a", strict=False), tool("b", strict=True), tool("c", strict=None)])
    assert [None, True, None] == [one["function"].get("strict") for one in sent(kit).params["tools"]]


def test_a_custom_tool_is_a_function_of_one_text_to_the_engine(kit: Kit, http: httpx.Client) -> None:
    grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: WORD"}}
    choice = {"type": "custom", "custom": {"name": "patch"}}
    ask(http, tools=[custom(description="Patches.", format=grammar)], tool_choice=choice)
    (made,) = sent(kit).params["tools"]
    assert ["input"] == list(made["function"]["parameters"]["properties"])
    assert "start: WORD" in made["function"]["description"]
    assert {"type": "function", "function": {"name": "patch"}} == sent(kit).params["tool_choice"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [('{"input": "a\\nb"}', "a\nb"), ('{"input": "cut', '{"input": "cut'), ("", ""), ("[1]", "[1]")],
)
def test_a_custom_calls_input_is_its_text_or_all_that_there_is(arguments: str, text: str) -> None:
    assert text == input_of(arguments)


def test_a_streamed_custom_call_comes_whole_and_a_functions_as_it_is() -> None:
    calls = CustomCalls(frozenset({"patch"}))
    assert calls.holds(0, ToolDelta(0, '{"input": ', "call_1", "patch"))
    assert not calls.holds(0, ToolDelta(1, "{}", "call_2", "look"))
    assert calls.holds(0, ToolDelta(0, '"x"}'))
    assert [] == calls.ended(1)
    whole = {"index": 0, "id": "call_1", "type": "custom", "custom": {"name": "patch", "input": "x"}}
    assert [whole] == calls.ended(0)
    assert [] == calls.ended(0)


@pytest.mark.parametrize(
    ("tools", "param"),
    [
        ([{"type": "function", "function": {"name": "a b"}}], "tools[0].function.name"),
        ([tool(), {"type": "function", "function": {"name": 5}}], "tools[1].function.name"),
        ([{"type": "function"}], "tools[0].function"),
        ([{"type": "custom", "custom": {"name": 5}}], "tools[0].custom.name"),
        ([{"type": "retrieval"}], "tools[0].type"),
        ([{}], "tools[0].type"),
        ([5], "tools[0]"),
        ("x", "tools"),
    ],
)
def test_a_fault_of_a_tool_is_told_with_its_place_and_in_words_of_json(
    http: httpx.Client, tools: Any, param: str
) -> None:
    answer = ask(http, tools=tools)
    assert param == refused(answer)
    assert not any(word in answer.text for word in ("dictionary", "instance of", "Tool", "tag", "discriminator"))


def test_a_schema_of_a_tool_that_must_be_called_has_to_be_one(http: httpx.Client) -> None:
    odd = tool(parameters={"type": "object", "properties": {"foo": "bar"}})
    assert 200 == ask(http, tools=[odd]).status_code
    assert "tools[0].function.parameters" == refused(ask(http, tools=[odd], tool_choice="required"))


# -- formats ------------------------------------------------------------------------------------


SCHEMA = {"type": "object", "properties": {"a": {"$ref": "#/$defs/a%20b"}}, "$defs": {"a b": {"type": "string"}}}


def test_a_format_reaches_the_engine(kit: Kit, http: httpx.Client) -> None:
    about = {"name": "x", "schema": SCHEMA, "strict": True}
    assert 200 == ask(http, response_format={"type": "json_schema", "json_schema": about}).status_code
    assert about == sent(kit).params["response_format"]["json_schema"]


@pytest.mark.parametrize(
    "schema",
    [
        "yes",
        None,
        5,
        [],
        {"type": "objekt"},
        {"type": []},
        {"type": "object", "properties": {"foo": "bar"}},
        {"type": "object", "properties": ["foo"]},
        {"type": "object", "required": "foo"},
        {"type": "string", "pattern": "(?<=x)y("},
        {"type": "string", "pattern": "[a"},
        {"type": "string", "pattern": 5},
        {"type": "string", "minLength": "1"},
        {"type": "string", "minLength": -1},
        {"enum": []},
        {"enum": "a"},
        {"anyOf": {}},
        {"anyOf": []},
        {"anyOf": ["a"]},
        {"items": 5},
        {"not": "x"},
        {"$ref": "#/$defs/none"},
        {"$ref": "#/$defs/a%2", "$defs": {"a": {}}},
        {"additionalProperties": "no"},
    ],
)
def test_a_schema_that_is_none_is_a_400_that_names_the_format(http: httpx.Client, schema: Any) -> None:
    answer = ask(http, response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})
    assert "response_format" == refused(answer)


@pytest.mark.parametrize(
    "format_",
    [
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": None},
        {"type": "json_schema", "json_schema": {}},
        {"type": "json_schema", "json_schema": {"name": "x"}},
        {"type": "json_schema", "json_schema": {"schema": {}}},
        {"type": "json_schema", "json_schema": {"name": 5, "schema": {}}},
        {"type": "json_schema", "json_schema": {"name": "x", "schema": {}, "strict": "yes"}},
        {"type": "xml"},
        {"type": None},
        {},
        [],
        "json",
    ],
)
def test_a_format_of_another_shape_is_a_400_that_names_it(http: httpx.Client, format_: Any) -> None:
    assert "response_format" == refused(ask(http, response_format=format_))


def test_names_of_properties_may_be_keywords(http: httpx.Client) -> None:
    words = {"type": {"type": "string"}, "required": {"type": "string"}, "enum": {}, "items": {"items": True}}
    schema = {"type": "object", "properties": words, "const": {"type": 5}, "examples": [{"type": 7}]}
    format_ = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert 200 == ask(http, response_format=format_).status_code


# -- sampling -----------------------------------------------------------------------------------


def test_a_top_p_of_nothing_is_the_likeliest_token(kit: Kit, http: httpx.Client) -> None:
    assert 200 == ask(http, top_p=0).status_code
    assert 0 == sent(kit).params["temperature"]
    assert "top_p" not in sent(kit).params


@pytest.mark.parametrize("effort", ["none", "minimal", "low", "medium", "high", "xhigh", "max"])
def test_every_effort_is_taken(http: httpx.Client, effort: str) -> None:
    assert 200 == ask(http, reasoning_effort=effort).status_code


EXTENSIONS = {
    "top_k": 3,
    "min_p": 0.1,
    "repetition_penalty": 1.2,
    "min_tokens": 2,
    "stop_token_ids": [1, 2],
    "ignore_eos": True,
    "structured_outputs": {"choice": ["yes", "no"]},
    "chat_template_kwargs": {"enable_thinking": False},
}


@pytest.mark.parametrize("name", EXTENSIONS)
def test_vllms_own_parameters_reach_the_engine(kit: Kit, http: httpx.Client, name: str) -> None:
    answer = ask(http, **{name: EXTENSIONS[name]})
    assert 200 == answer.status_code, answer.text
    assert EXTENSIONS[name] == sent(kit).params[name]
    assert "x-penstock-ignored" not in answer.headers


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("guided_json", {"type": "object"}, {"json": {"type": "object"}}),
        ("guided_json", '{"type": "object"}', {"json": {"type": "object"}}),
        ("guided_regex", "[a-z]+", {"regex": "[a-z]+"}),
        ("guided_choice", ["a", "b"], {"choice": ["a", "b"]}),
        ("guided_grammar", 'root ::= "a"', {"grammar": 'root ::= "a"'}),
    ],
)
def test_their_old_names_are_taken_too(kit: Kit, http: httpx.Client, name: str, value: Any, kind: Any) -> None:
    assert 200 == ask(http, **{name: value}).status_code
    assert kind == sent(kit).params["structured_outputs"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"guided_json": "{"}, "guided_json"),
        ({"guided_json": {"type": "objekt"}}, "guided_json"),
        ({"guided_regex": "(" * 40 + ")" * 40}, "guided_regex"),
        ({"guided_regex": "a("}, "guided_regex"),
        ({"guided_choice": []}, "guided_choice"),
        ({"guided_choice": [5]}, "guided_choice"),
        ({"guided_grammar": "(" * 100}, "guided_grammar"),
        ({"guided_regex": "a", "guided_choice": ["a"]}, "guided_regex"),
        ({"structured_outputs": {"json": {}, "regex": "a"}}, "structured_outputs.json"),
        ({"structured_outputs": {"structural_tag": "{}"}}, "structured_outputs.structural_tag"),
        ({"structured_outputs": {"json_object": False}}, "structured_outputs.json_object"),
        ({"structured_outputs": {"regex": "a"}, "response_format": {"type": "json_object"}}, "structured_outputs"),
        ({"chat_template_kwargs": {"chat_template": "{{ 1 }}"}}, "chat_template_kwargs.chat_template"),
        ({"top_k": -2}, "top_k"),
        ({"min_p": 2}, "min_p"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"stop_token_ids": [-1]}, "stop_token_ids[0]"),
    ],
)
def test_what_constrains_an_answer_is_bounded_and_named(http: httpx.Client, body: dict[str, Any], param: str) -> None:
    assert param == refused(ask(http, **body))


# -- what nobody reads --------------------------------------------------------------------------


def test_a_field_that_nobody_reads_is_named_in_a_header(http: httpx.Client) -> None:
    answer = ask(http, verbosity="low", top_a=0.5, store=True, user="u", odd=None, **{"a b\n": 1})
    assert 200 == answer.status_code
    assert ["a_b_", "top_a", "verbosity"] == sorted(answer.headers["x-penstock-ignored"].split(","))
    streamed = ask(http, stream=True, top_a=0.5)
    assert "top_a" == streamed.headers["x-penstock-ignored"]


def test_a_field_that_nobody_reads_is_refused_where_the_policy_says_so(kit: Kit) -> None:
    with serving(kit.gateway(api={"unknown_fields": "refuse"})) as url, httpx.Client(base_url=url) as http:
        http.headers["Authorization"] = f"Bearer {KEY}"
        answer = ask(http, top_a=0.5)
        assert "top_a" == refused(answer)
        assert "unknown_parameter" == answer.json()["error"]["code"]
        assert 200 == ask(http, store=True, metadata={"a": "b"}).status_code


@pytest.mark.parametrize(
    "more", [{"top_k": 1}, {"structured_outputs": {"choice": ["yes"]}}, {"top_a": 1}, {"verbosity": "low"}, {"odd": 0}]
)
def test_a_call_with_another_parameter_finds_nothing_in_the_cache(http: httpx.Client, more: dict[str, Any]) -> None:
    def found(**body: Any) -> str:
        said = ask(http, messages=[{"role": "user", "content": "Is Rome in Italy?"}], **{"temperature": 0, **body})
        return str(said.headers["x-penstock-cache"])

    assert ["miss", "hit", "miss", "hit"] == [found(), found(store=True), found(**more), found(**more)]


# -- histories ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "part",
    [
        IMAGE,
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
        {"type": "file", "file": {"file_id": "f"}},
        {"type": "hologram"},
        {"type": None},
        {},
    ],
)
def test_what_no_model_sees_is_a_line_in_an_old_turn_and_refused_in_the_newest(
    kit: Kit, http: httpx.Client, part: dict[str, Any]
) -> None:
    parts = [{"type": "text", "text": "look"}, part]
    old = [{"role": "user", "content": parts}, {"role": "assistant", "content": None}, *HI]
    answer = ask(http, messages=old)
    assert 200 == answer.status_code, answer.text
    assert sent(kit).messages[0].text.startswith("look\n[a")
    assert "messages[0].content[1]" == answer.headers["x-penstock-ignored"]
    new = ask(http, messages=[*HI, {"role": "assistant", "content": "a"}, {"role": "user", "content": parts}])
    assert "messages[2].content[1].type" == refused(new)
    assert repr(part.get("type") or "") in new.json()["error"]["message"]


def test_an_image_in_a_tools_result_keeps_no_conversation_from_going_on(kit: Kit, http: httpx.Client) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "shot", "arguments": "{}"}}
    turns = [
        *HI,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": [IMAGE]},
    ]
    assert 200 == ask(http, messages=turns).status_code
    assert "[an image that this model cannot see]" == sent(kit).messages[2].text


@pytest.mark.parametrize(
    "turn",
    [
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": []},
        {"role": "assistant", "content": "a", "reasoning_content": "hm", "reasoning": "hm", "refusal": None},
        {"role": "assistant", "content": None, "refusal": "No."},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "a"}]},
        {"role": "assistant", "content": [{"type": "text", "text": None}]},
        {"role": "assistant", "content": "a", "tool_calls": []},
        {"role": "assistant", "content": "a", "tool_calls": None, "audio": {"id": "x"}, "function_call": None},
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "p", "input": "x"}}]},
        {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "p", "arguments": None}}]},
        {"role": "assistant", "tool_calls": [{"id": "", "function": {"name": "p" * 90, "arguments": {"a": 1}}}]},
        {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "p", "arguments": '{"cut": "o'}}]},
        {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "p", "arguments": '"\\ud83d"'}}]},
        {"role": "tool", "content": "x"},
        {"role": "system", "content": [IMAGE]},
    ],
)
def test_whatever_a_client_repeats_of_earlier_turns_is_answered(
    kit: Kit, http: httpx.Client, turn: dict[str, Any]
) -> None:
    answer = ask(http, messages=[*HI, turn, *HI])
    assert 200 == answer.status_code, answer.text
    for call in sent(kit).messages[1].extra.get("tool_calls", ()):
        json.loads(call["function"]["arguments"] or "{}")
        assert call["id"]


def test_a_fault_of_a_message_is_told_with_its_place(http: httpx.Client) -> None:
    def fault(turn: dict[str, Any]) -> str:
        return refused(ask(http, messages=[*HI, turn]))

    call = {"id": "c", "type": "function", "function": {"name": "p", "arguments": 5}}
    assert "messages[1].tool_calls[0].function.arguments" == fault({"role": "assistant", "tool_calls": [call]})
    assert "messages[1].content[0].text" == fault({"role": "user", "content": [{"type": "text", "text": 5}]})
    assert "messages[1].content[0]" == fault({"role": "user", "content": [5]})
    assert "messages[1].content" == fault({"role": "user", "content": 5})


def test_parts_stand_in_lines_of_their_own_and_empty_ones_nowhere(kit: Kit, http: httpx.Client) -> None:
    parts = [{"type": "text", "text": text} for text in ("What is 2", "", "3 plus 4?")]
    ask(http, messages=[{"role": "user", "content": parts}])
    (message,) = sent(kit).messages
    assert "What is 2\n3 plus 4?" == message.text


# -- limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_keys_limit_is_told_under_the_name_that_was_sent(kit: Kit, http: httpx.Client, name: str) -> None:
    kit.authenticator.keys[KEY] = replace(WHO, max_output_tokens=100)
    answer = ask(http, **{name: 1000})
    assert name == refused(answer)
    assert f"`{name}`" in answer.json()["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("path", "name"), [("/v1/responses", "max_output_tokens"), ("/v1/completions", "max_tokens")])
def test_so_it_is_in_the_other_apis(kit: Kit, http: httpx.Client, path: str, name: str, stream: bool) -> None:
    kit.authenticator.keys[KEY] = replace(WHO, max_output_tokens=100)
    body = {"model": "small", "input": "hi", "stream": stream} | ({"prompt": "hi"} if "completions" in path else {})
    answer = http.post(path, json=body | {name: 1000})
    assert name == refused(answer)
    assert f"`{name}`" in answer.json()["error"]["message"]


def test_a_wish_over_the_context_is_lowered_where_the_policy_says_so(kit: Kit) -> None:
    with serving(kit.gateway(generate={"clamp": True})) as url, httpx.Client(base_url=url) as http:
        http.headers["Authorization"] = f"Bearer {KEY}"
        answer = ask(http, max_tokens=100_000)
        assert 200 == answer.status_code, answer.text
        assert sent(kit).params["max_tokens"] == int(answer.headers["x-penstock-max-tokens"]) < WINDOW
