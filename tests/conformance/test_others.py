"""Other clients against the real graph: the official anthropic one, LangChain's ChatOpenAI, litellm."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from tests.graph import Graph

HI: Any = [{"role": "user", "content": "Say hello."}]
TOOL: Any = {
    "name": "weather",
    "description": "The weather of a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Rome", "Oslo"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
}


@pytest.fixture(scope="module")
def claude(graph: Graph) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key=graph.key, base_url=graph.url, max_retries=0, timeout=120)


def test_a_message_whole_and_streamed(claude: anthropic.Anthropic) -> None:
    whole = claude.messages.create(model="small", messages=HI, max_tokens=8)
    assert whole.content[0].type == "text"
    assert whole.content[0].text
    assert whole.stop_reason in {"end_turn", "max_tokens"}
    assert whole.usage.input_tokens > 0
    with claude.messages.stream(model="small", messages=HI, max_tokens=8) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == final.content[0].text  # type: ignore[union-attr]
    assert final.usage.output_tokens > 0


def test_a_tool_that_must_be_used_comes_as_a_block(claude: anthropic.Anthropic) -> None:
    answer = claude.messages.create(
        model="small", messages=HI, tools=[TOOL], tool_choice={"type": "any"}, max_tokens=64
    )
    (used,) = [block for block in answer.content if block.type == "tool_use"][:1]
    assert used.name == "weather"
    assert used.input["city"] in {"Rome", "Oslo"}  # type: ignore[index]
    assert answer.stop_reason == "tool_use"


def test_tokens_are_counted_without_a_call(claude: anthropic.Anthropic) -> None:
    short = claude.messages.count_tokens(model="small", messages=HI).input_tokens
    long = claude.messages.count_tokens(model="small", messages=HI * 9).input_tokens
    assert 0 < short < long


def test_errors_arrive_as_anthropics_classes(graph: Graph, claude: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.create(model="claude-unknown", messages=HI, max_tokens=8)
    with pytest.raises(anthropic.BadRequestError):
        claude.messages.create(model="small", messages=HI, max_tokens=8, extra_body={"temperature": 7})
    stranger = anthropic.Anthropic(api_key="sk-wrong", base_url=graph.url, max_retries=0)
    with pytest.raises(anthropic.AuthenticationError):
        stranger.messages.create(model="small", messages=HI, max_tokens=8)


async def test_langchain_invokes_streams_and_binds_tools(graph: Graph) -> None:
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(
        model="small", api_key=graph.key, base_url=f"{graph.url}/v1", max_retries=0, temperature=0, max_tokens=48
    )
    answer = await model.ainvoke("Say hello.")
    assert answer.content
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] > 0
    assert "".join([str(chunk.content) async for chunk in model.astream("Say hello.")])
    bound = model.bind_tools([{"type": "function", "function": {**TOOL, "parameters": TOOL["input_schema"]}}],
                             tool_choice="required")  # fmt: skip
    (call,) = (await bound.ainvoke("What is the weather in Rome?")).tool_calls[:1]
    assert call["args"]["city"] in {"Rome", "Oslo"}


def test_litellm_completes_streams_and_maps_errors(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm

    to: Any = {"api_base": f"{graph.url}/v1", "api_key": graph.key, "messages": HI, "max_tokens": 8}
    whole = litellm.completion(model="openai/small", **to)
    assert whole.choices[0].message.content
    chunks = list(litellm.completion(model="openai/small", stream=True, **to))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    with pytest.raises(litellm.AuthenticationError):
        litellm.completion(model="openai/small", **{**to, "api_key": "sk-wrong"})
    with pytest.raises(litellm.NotFoundError):
        litellm.completion(model="openai/unknown", **to)
