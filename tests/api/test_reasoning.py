"""What a model thinks goes out in each API under the name that its clients read, and through every stage before."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import httpx
import pytest

from app.api.parts_in_turn import PartsInTurn
from app.core.events import Token, ToolDelta, Usage
from app.core.ports import Generation
from tests.kit import KEY, Kit, serving


class Thinker:
    """An engine that thinks `thought`, then answers."""

    def __init__(self, thought: str) -> None:
        self.thought = thought

    async def generate(self, _: Generation) -> AsyncGenerator[Token | Usage, None]:
        for word in self.thought.split(" "):
            yield Token(f"{word} ", kind="reasoning")
        yield Token("42", finish_reason="stop")
        yield Usage(7, 5, 0, 3)

    async def ready(self) -> bool:
        return True


def client(thought: str = "let me think", **policy: Any) -> Iterator[httpx.Client]:
    world = Kit(engines=dict.fromkeys("ab", Thinker(thought)))  # type: ignore[arg-type]
    with (
        serving(world.gateway(**policy)) as base,
        httpx.Client(base_url=base, headers={"authorization": f"Bearer {KEY}"}) as made,
    ):
        yield made


@pytest.fixture
def api() -> Iterator[httpx.Client]:
    yield from client()


def asked(text: str = "hi") -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


def test_chat_tells_it_under_both_names_and_counts_it(api: httpx.Client) -> None:
    said = api.post("/v1/chat/completions", json={"model": "small", "messages": asked()}).json()
    message = said["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"], message["reasoning"]) == (
        "42",
        "let me think ",
        "let me think ",
    )
    assert said["usage"]["completion_tokens_details"]["reasoning_tokens"] == 3


def test_a_chat_stream_tells_it_before_the_answer(api: httpx.Client) -> None:
    body = {"model": "small", "messages": asked("hi you"), "stream": True}
    deltas = [one["choices"][0]["delta"] for one in events(api.post("/v1/chat/completions", json=body))]
    assert "".join(delta.get("reasoning_content") or "" for delta in deltas) == "let me think "
    assert "".join(delta.get("content") or "" for delta in deltas) == "42"


@pytest.mark.parametrize("stream", [False, True])
def test_messages_tells_it_to_who_asks(api: httpx.Client, stream: bool) -> None:
    body = {"model": "small", "max_tokens": 50, "messages": asked(f"hi {stream}"), "stream": stream}
    kinds = []
    for thinking in ({"type": "adaptive"}, {"type": "enabled", "budget_tokens": 1024}, None):
        answer = api.post("/v1/messages", json=body | ({"thinking": thinking} if thinking else {}))
        blocks = answer.json()["content"] if not stream else _blocks(events(answer))
        kinds.append([(block["type"], block.get("thinking") or block.get("text")) for block in blocks])
        api.headers["cache-control"] = "no-cache"
    assert kinds[:2] == [[("thinking", "let me think "), ("text", "42")]] * 2
    assert kinds[2] == [("text", "42")]


def _blocks(said: list[dict[str, Any]]) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    for one in said:
        if one["type"] == "content_block_start":
            assert one["index"] == len(blocks)
            blocks.append(one["content_block"])
        elif one["type"] == "content_block_delta":
            for name in ("text", "thinking"):
                blocks[one["index"]][name] = blocks[one["index"]].get(name, "") + one["delta"].get(name, "")
    return blocks


@pytest.mark.parametrize("stream", [False, True])
def test_responses_tells_it_as_an_item_of_its_own(api: httpx.Client, stream: bool) -> None:
    answer = api.post("/v1/responses", json={"model": "small", "input": f"hi {stream}", "stream": stream})
    whole = events(answer)[-1]["response"] if stream else answer.json()
    thought, message = whole["output"]
    assert (thought["type"], thought["content"]) == ("reasoning", [{"type": "reasoning_text", "text": "let me think "}])
    assert message["content"][0]["text"] == "42"
    assert whole["usage"]["output_tokens_details"]["reasoning_tokens"] == 3
    if stream:
        deltas = [one["delta"] for one in events(answer) if one["type"] == "response.reasoning_text.delta"]
        assert "".join(deltas) == "let me think "


def test_completions_leave_it_out(api: httpx.Client) -> None:
    assert api.post("/v1/completions", json={"model": "small", "prompt": "hi"}).json()["choices"][0]["text"] == "42"
    raw = api.post("/v1/completions", json={"model": "small", "prompt": "hi", "stream": True}).text
    assert "think" not in raw


def test_thoughts_are_moderated_like_text() -> None:
    for made in client("you are an idiot"):
        said = made.post("/v1/chat/completions", json={"model": "small", "messages": asked()}).json()["choices"][0]
        assert said["finish_reason"] == "content_filter"
        assert "idiot" not in json.dumps(said)


def test_thoughts_get_the_originals_back() -> None:
    for made in client("ask <PERSON_1> first"):
        body = {"model": "small", "messages": asked("I am Ada Lovelace.")}
        message = made.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]
        assert message["reasoning_content"] == "ask Ada Lovelace first "


def test_an_answer_from_the_cache_is_the_answer_alone(api: httpx.Client) -> None:
    body = {"model": "small", "messages": asked("What is six times seven?"), "temperature": 0}
    first, second = (api.post("/v1/chat/completions", json=body) for _ in range(2))
    assert second.headers["x-penstock-cache"] != first.headers["x-penstock-cache"]
    assert second.json()["choices"][0]["message"]["content"] == "42"


def call(index: int, arguments: str) -> Token:
    return Token("", tool=ToolDelta(index, arguments))


def test_parts_that_come_in_turns_are_told_one_after_the_other() -> None:
    turns = PartsInTurn()
    sent = [Token("a"), call(0, '{"a":'), Token("b"), call(1, "{"), call(0, "1}"), call(1, "}"), Token("c")]
    told = [one for token in [*sent, Token("", finish_reason="stop")] for one in turns.feed(token)]
    assert told == [
        Token("a"),
        call(0, '{"a":'),
        call(0, "1}"),
        call(1, "{"),
        call(1, "}"),
        Token("b"),
        Token("c"),
        Token("", finish_reason="stop"),
    ]


def test_a_call_that_is_whole_lets_the_next_one_begin_at_once() -> None:
    turns = PartsInTurn()
    told = [len(list(turns.feed(token))) for token in (call(0, "{}"), call(1, "{}"), Token("a"))]
    assert told == [1, 1, 1]
