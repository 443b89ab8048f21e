"""Tool calls through every stage: scrubbed and guarded on the way in, moderated and restored on the way out."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import openai
import pytest

from app.core.events import Message, Prompt, Refusal, Token, ToolDelta, Usage
from app.core.ports import Generation
from app.testing.fakes import FakeScrubber
from tests.kit import KEY, Kit, run, serving

TOOLS = [{"type": "function", "function": {"name": "mail", "parameters": {"type": "object"}}}]
NAME = 'Ada "the first" Lovelace'


class Caller:
    """An engine that calls a tool with these arguments, a few characters at a time."""

    def __init__(self, *arguments: str, step: int = 3) -> None:
        self.arguments = arguments
        self.step = step
        self.requests: list[Generation] = []

    async def generate(self, request: Generation) -> AsyncGenerator[Token | Usage, None]:
        self.requests.append(request)
        yield Token("Let me see. ")
        for index, arguments in enumerate(self.arguments):
            yield Token("", tool=ToolDelta(index, "", f"call_{index}", "mail"))
            for at in range(0, len(arguments), self.step):
                yield Token("", tool=ToolDelta(index, arguments[at : at + self.step]))
        yield Token("", finish_reason="tool_calls")
        yield Usage(10, 5, 0)

    async def ready(self) -> bool:
        return True


def kit(engine: Caller) -> Kit:
    return Kit(engines={"a": engine, "b": engine}, scrubber=FakeScrubber(names=[NAME]))  # type: ignore[dict-item]


async def test_personal_data_in_an_earlier_calls_arguments_does_not_reach_the_engine() -> None:
    engine = Caller("{}")
    calls = [{"id": "c", "type": "function", "function": {"name": "mail", "arguments": json.dumps({"to": "Ada"})}}]
    messages = (
        Message("user", "Write to Ada"),
        Message("assistant", "", {"tool_calls": calls}),
        Message("tool", "Ada wrote back", {"tool_call_id": "c"}),
    )
    made = Kit(engines={"a": engine, "b": engine}, scrubber=FakeScrubber(names=["Ada"]))  # type: ignore[dict-item]
    await run(made.gateway(), Prompt(messages, "small", {"tools": TOOLS}))
    (request,) = engine.requests
    sent = json.dumps([message.wire() for message in request.messages])
    assert "Ada" not in sent
    assert 3 == sent.count("<PERSON_1>")
    assert {"to": "<PERSON_1>"} == json.loads(request.messages[1].extra["tool_calls"][0]["function"]["arguments"])


@pytest.mark.parametrize("step", [1, 4, 100])
async def test_originals_come_back_in_streamed_arguments_and_the_json_stays_whole(step: int) -> None:
    engine = Caller(json.dumps({"to": "<PERSON_1>"}), json.dumps({"cc": "<PERSON_1>", "n": 1}), step=step)
    _, events = await run(
        kit(engine).gateway(), Prompt((Message("user", f"Write to {NAME}"),), "small", {"tools": TOOLS})
    )
    joined: dict[int, str] = {}
    for event in events:
        if isinstance(event, Token) and event.tool:
            joined[event.tool.index] = joined.get(event.tool.index, "") + event.tool.arguments
    assert {"to": NAME} == json.loads(joined[0])
    assert {"cc": NAME, "n": 1} == json.loads(joined[1])


async def test_toxic_arguments_are_stopped_and_no_part_of_the_word_has_left() -> None:
    engine = Caller(json.dumps({"text": "you are an idiot indeed"}), step=2)
    _, events = await run(kit(engine).gateway(moderate={"thresholds": {"toxicity": 0.5}, "stride": 4}),
                          Prompt((Message("user", "hi"),), "small"))  # fmt: skip
    left = "".join(event.said for event in events if isinstance(event, Token))
    assert "idiot" not in left
    assert [0] == [event.choice for event in events if isinstance(event, Refusal)]


async def test_a_tool_call_is_never_answered_from_the_cache() -> None:
    engine = Caller("{}")
    gateway = kit(engine).gateway()
    for _ in range(2):
        await run(gateway, Prompt((Message("user", "What time is it?"),), "small"))
    assert 2 == len(engine.requests)


def ask(client: openai.OpenAI, **more: Any) -> Any:
    return client.chat.completions.create(
        model="small",
        messages=[{"role": "user", "content": "hi"}],
        tools=TOOLS,
        **more,  # type: ignore[arg-type]
    )


def test_the_openai_client_reads_tool_calls_whole_and_streamed() -> None:
    made = kit(Caller('{"a": 1}', '{"b": 2}'))
    with serving(made.gateway()) as url:
        client = openai.OpenAI(api_key=KEY, base_url=f"{url}/v1", max_retries=0)
        whole = ask(client, tool_choice="auto", parallel_tool_calls=True).choices[0]
        assert "tool_calls" == whole.finish_reason
        assert "Let me see. " == whole.message.content
        assert [("mail", '{"a": 1}'), ("mail", '{"b": 2}')] == [
            (call.function.name, call.function.arguments) for call in whole.message.tool_calls
        ]
        with client.chat.completions.stream(
            model="small",
            messages=[{"role": "user", "content": "hi"}],
            tools=TOOLS,  # type: ignore[arg-type]
        ) as stream:
            final = stream.get_final_completion().choices[0]
        assert ["call_0", "call_1"] == [call.id for call in final.message.tool_calls or ()]
        assert ['{"a": 1}', '{"b": 2}'] == [call.function.arguments for call in final.message.tool_calls or ()]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "function", "function": {"name": "no spaces"}}]}, "tools"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
    ],
)
def test_a_wrong_tool_is_refused_with_its_parameter_named(fields: dict[str, Any], param: str) -> None:
    with serving(Kit().gateway()) as url:
        body = {"model": "small", "messages": [{"role": "user", "content": "hi"}], **fields}
        answer = httpx.post(f"{url}/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {KEY}"})
    assert 400 == answer.status_code
    said = answer.json()["error"]
    assert param in f"{said['param']} {said['message']}"
