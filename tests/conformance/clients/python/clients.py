"""Clients from PyPI, unmodified, against a Penstock that runs. Prints a line of JSON for each feature that was tried.

Runs in an environment of its own, with `requirements.txt` beside it. PENSTOCK_URL, PENSTOCK_KEY, PENSTOCK_MODEL say
where it is.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any, Literal

URL, KEY = os.environ["PENSTOCK_URL"], os.environ["PENSTOCK_KEY"]
MODEL = os.environ.get("PENSTOCK_MODEL", "small")
HI: Any = [{"role": "user", "content": "Say hello."}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Rome", "Oslo"]}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER: Any = {"type": "function", "function": {"name": "weather", "description": "The weather", "parameters": SCHEMA}}
TRIED: list[tuple[str, str, Callable[[], Any]]] = []


def feature(client: str, name: str) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    def register(run: Callable[[], Any]) -> Callable[[], Any]:
        TRIED.append((client, name, run))
        return run

    return register


def openai_client() -> Any:
    from openai import OpenAI

    return OpenAI(api_key=KEY, base_url=f"{URL}/v1", max_retries=0)


@feature("openai (python)", "chat")
def openai_chat() -> None:
    answer = openai_client().chat.completions.create(model=MODEL, messages=HI, max_tokens=16)
    assert answer.choices[0].message.content


@feature("openai (python)", "stream")
def openai_stream() -> None:
    with openai_client().chat.completions.stream(model=MODEL, messages=HI, max_tokens=16) as stream:
        assert stream.get_final_completion().choices[0].message.content


@feature("openai (python)", "tools")
def openai_tools() -> None:
    asked: Any = {"model": MODEL, "tools": [WEATHER], "max_tokens": 64, "temperature": 0}
    said = openai_client().chat.completions.create(messages=HI, tool_choice="required", **asked).choices[0].message
    assert json.loads(said.tool_calls[0].function.arguments)["city"] in {"Rome", "Oslo"}
    turns = [*HI, said, {"role": "tool", "tool_call_id": said.tool_calls[0].id, "content": "It rains."}]
    assert openai_client().chat.completions.create(messages=turns, tool_choice="none", **asked).choices


@feature("openai (python)", "structured")
def openai_structured() -> None:
    from pydantic import BaseModel

    class Kind(BaseModel):
        kind: Literal["a", "b"]

    parsed = openai_client().chat.completions.parse(model=MODEL, messages=HI, response_format=Kind, max_tokens=120)
    assert parsed.choices[0].message.parsed.kind in {"a", "b"}


@feature("openai (python)", "responses")
def openai_responses() -> None:
    first = openai_client().responses.create(model=MODEL, input="Say hello.", max_output_tokens=16)
    again: Any = [*HI, *[item.model_dump() for item in first.output], {"role": "user", "content": "Again."}]
    assert openai_client().responses.create(model=MODEL, input=again, max_output_tokens=16).output_text


@feature("openai (python)", "errors")
def openai_errors() -> None:
    import openai

    try:
        openai_client().chat.completions.create(model="no-such-model", messages=HI)
    except openai.NotFoundError as error:
        assert error.request_id
    else:
        raise AssertionError("no error")


@feature("anthropic (python)", "chat")
def anthropic_chat() -> None:
    assert _anthropic().messages.create(model=MODEL, messages=HI, max_tokens=16).content[0].text


@feature("anthropic (python)", "stream")
def anthropic_stream() -> None:
    with _anthropic().messages.stream(model=MODEL, messages=HI, max_tokens=16) as stream:
        assert stream.get_final_message().content[0].text


@feature("anthropic (python)", "tools")
def anthropic_tools() -> None:
    tool: Any = {"name": "weather", "input_schema": SCHEMA}
    asked: Any = {"model": MODEL, "tools": [tool], "max_tokens": 64}
    answer = _anthropic().messages.create(messages=HI, tool_choice={"type": "any"}, **asked)
    used = next(block for block in answer.content if block.type == "tool_use")
    result = {"type": "tool_result", "tool_use_id": used.id, "content": "It rains."}
    turns = [*HI, {"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
    assert _anthropic().messages.create(messages=turns, tool_choice={"type": "none"}, **asked).content


@feature("anthropic (python)", "batches")
def anthropic_batches() -> None:
    import time

    params: Any = {"model": MODEL, "max_tokens": 8, "messages": HI}
    batch = _anthropic().messages.batches.create(requests=[{"custom_id": "a", "params": params}])
    for _ in range(60):
        if _anthropic().messages.batches.retrieve(batch.id).processing_status == "ended":
            break
        time.sleep(1)
    (line,) = list(_anthropic().messages.batches.results(batch.id))
    assert (line.custom_id, line.result.type) == ("a", "succeeded")


@feature("anthropic (python)", "errors")
def anthropic_errors() -> None:
    import anthropic

    try:
        _anthropic().messages.create(model="no-such-model", messages=HI, max_tokens=8)
    except anthropic.NotFoundError as error:
        assert error.body["error"]["type"] == "not_found_error"
    else:
        raise AssertionError("no error")


def _anthropic() -> Any:
    import anthropic

    return anthropic.Anthropic(api_key=KEY, base_url=URL, max_retries=0)


@feature("openai-agents", "tools")
def agents() -> None:
    from agents import Agent, ModelSettings, Runner, function_tool, set_default_openai_client, set_tracing_disabled
    from openai import AsyncOpenAI

    set_tracing_disabled(True)
    set_default_openai_client(AsyncOpenAI(api_key=KEY, base_url=f"{URL}/v1", max_retries=0))

    @function_tool
    def weather(city: Literal["Rome", "Oslo"]) -> str:
        """The weather of a city."""
        return f"It rains in {city}."

    settings = ModelSettings(tool_choice="required", max_tokens=64)
    agent = Agent(name="a", model=MODEL, tools=[weather], model_settings=settings)
    done = asyncio.run(Runner.run(agent, "What is the weather in Rome?", max_turns=3))
    assert any(item.type == "tool_call_item" for item in done.new_items)


@feature("langchain-openai", "chat")
def langchain_openai() -> None:
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model=MODEL, api_key=KEY, base_url=f"{URL}/v1", max_retries=0, max_tokens=48)
    assert model.invoke("Say hello.").content
    assert "".join(str(chunk.content) for chunk in model.stream("Say hello."))


@feature("langchain-openai", "tools")
def langchain_tools() -> None:
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model=MODEL, api_key=KEY, base_url=f"{URL}/v1", max_retries=0, max_tokens=64)
    assert model.bind_tools([]).invoke("Say hello.").content
    called = model.bind_tools([WEATHER], tool_choice="required").invoke("What is the weather in Rome?")
    assert called.tool_calls[0]["args"]["city"] in {"Rome", "Oslo"}


@feature("langchain-anthropic", "chat")
def langchain_anthropic() -> None:
    from langchain_anthropic import ChatAnthropic

    model = ChatAnthropic(model_name=MODEL, api_key=KEY, base_url=URL, max_retries=0, max_tokens=48)
    assert model.invoke("Say hello.").content
    assert any(chunk.content for chunk in model.stream("Say hello."))


@feature("llama-index", "chat")
def llama_index() -> None:
    model = _llama_index()
    assert model.complete("Say hello.").text


@feature("llama-index", "structured")
def llama_index_structured() -> None:
    from pydantic import BaseModel

    class Town(BaseModel):
        city: Literal["Rome", "Oslo"]

    assert _llama_index().as_structured_llm(Town).complete("Rome is a city.").raw.city in {"Rome", "Oslo"}


def _llama_index() -> Any:
    from llama_index.llms.openai_like import OpenAILike

    return OpenAILike(
        model=MODEL, api_base=f"{URL}/v1", api_key=KEY, is_chat_model=True, is_function_calling_model=True,
        max_tokens=96, max_retries=0, context_window=2048,
    )  # fmt: skip


@feature("pydantic-ai", "structured")
def pydantic_ai() -> None:
    from pydantic import BaseModel
    from pydantic_ai import Agent, NativeOutput
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    class Town(BaseModel):
        city: Literal["Rome", "Oslo"]

    model = OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=f"{URL}/v1", api_key=KEY))
    agent = Agent(model, output_type=NativeOutput(Town), model_settings={"max_tokens": 120})
    assert agent.run_sync("Rome is a city.").output.city in {"Rome", "Oslo"}


@feature("instructor", "structured")
def instructor_tools() -> None:
    import instructor
    from pydantic import BaseModel

    class Town(BaseModel):
        city: Literal["Rome", "Oslo"]

    client = instructor.from_openai(openai_client(), mode=instructor.Mode.TOOLS)
    found = client.chat.completions.create(model=MODEL, messages=HI, response_model=Town, max_tokens=96, max_retries=0)
    assert found.city in {"Rome", "Oslo"}


@feature("litellm (SDK)", "chat")
def litellm_sdk() -> None:
    import litellm

    for name, base in ((f"openai/{MODEL}", f"{URL}/v1"), (f"anthropic/{MODEL}", URL)):
        answer = litellm.completion(model=name, api_base=base, api_key=KEY, messages=HI, num_retries=0)
        assert answer.choices[0].message.content, name
        pieces = litellm.completion(model=name, api_base=base, api_key=KEY, messages=HI, stream=True, max_tokens=16)
        assert any(piece.choices[0].delta.content for piece in pieces), name


@feature("haystack", "chat")
def haystack() -> None:
    from haystack.components.generators.chat import OpenAIChatGenerator
    from haystack.dataclasses import ChatMessage
    from haystack.utils import Secret

    maker = OpenAIChatGenerator(
        api_key=Secret.from_token(KEY), model=MODEL, api_base_url=f"{URL}/v1", generation_kwargs={"max_tokens": 16}
    )
    assert maker.run([ChatMessage.from_user("Say hello.")])["replies"][0].text


@feature("dspy", "chat")
def dspy_chat() -> None:
    import dspy

    model = dspy.LM(f"openai/{MODEL}", api_base=f"{URL}/v1", api_key=KEY, max_tokens=16, cache=False, num_retries=0)
    assert len(model("Say hello.", n=2, temperature=1.0)) == 2


def main() -> None:
    for client, name, run in TRIED:
        try:
            run()
            ok, detail = True, ""
        except Exception as error:  # noqa: BLE001 - whatever a client raises is the finding
            ok, detail = False, f"{type(error).__name__}: {error}"[:300]
        print(json.dumps({"client": client, "feature": name, "ok": ok, "detail": detail}), flush=True)


if __name__ == "__main__":
    main()
