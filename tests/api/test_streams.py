"""Streams that hold: alive while they wait, no faster than who reads them, whole although an engine was lost."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator
from itertools import count
from typing import Any

import httpx
import openai
import psutil
import pytest

from app.core.events import Token, Usage
from app.core.ports import Generation
from app.testing.fakes import FakeEngine
from tests.kit import KEY, Kit, serving, until

HI = [{"role": "user", "content": "Hello there"}]
AUTH = {"Authorization": f"Bearer {KEY}"}
ALIVE = ": keep-alive"
QUICK = {"keep_alive": 0.1}


def body(**more: Any) -> dict[str, Any]:
    return {"model": "small", "messages": HI, "stream": True, **more}


def lines(url: str, **more: Any) -> tuple[int, list[str]]:
    answer = httpx.post(f"{url}/v1/chat/completions", json=body(**more), headers=AUTH, timeout=30)
    return answer.status_code, [line for line in answer.text.split("\n\n") if line]


def said(data: list[str]) -> str:
    chunks = [json.loads(line[6:]) for line in data if line.startswith("data: {")]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


def kit(*args: Any, **options: Any) -> Kit:
    return Kit(engines={"a": FakeEngine(*args, **options), "b": FakeEngine()})


def test_a_stream_that_waits_for_its_first_token_says_that_it_is_alive() -> None:
    with serving(kit("hi there", delay=0.5).gateway(generate=QUICK)) as url:
        status, got = lines(url)
    assert (200, ALIVE, "data: [DONE]") == (status, got[0], got[-1])
    assert 3 <= got.count(ALIVE) <= 5
    assert said(got) == "hi there"
    assert json.loads(got[got.count(ALIVE)][6:])["model"] == "model-a"


def test_a_stream_with_long_gaps_says_so_in_each_and_the_official_client_reads_over_it() -> None:
    with serving(kit("one two three", tokens_per_second=4).gateway(generate=QUICK)) as url:
        _, got = lines(url)
        stream = openai.OpenAI(api_key=KEY, base_url=f"{url}/v1").chat.completions.create(
            model="small",
            messages=HI,  # type: ignore[arg-type]
            stream=True,
            extra_headers={"Cache-Control": "no-cache"},
        )
        read = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    after = got[next(at for at, line in enumerate(got) if "one" in line) :]
    assert ALIVE in after
    assert said(got) == read == "one two three"


def test_a_stream_that_always_has_something_to_say_says_only_that() -> None:
    with serving(kit("one two three").gateway(generate=QUICK)) as url:
        assert all(line.startswith("data: ") for line in lines(url)[1])


def test_before_the_first_keep_alive_an_error_has_its_own_status_and_after_it_is_an_event() -> None:
    broken = {"fail": "before_first"}
    with serving(kit(**broken).gateway(generate=QUICK)) as url:
        early, answer = lines(url)
    with serving(kit(delay=0.3, **broken).gateway(generate=QUICK)) as url:
        late, got = lines(url)
    assert (503, "no_healthy_pool") == (early, json.loads(answer[0])["error"]["code"])
    assert (200, ALIVE, "no_healthy_pool") == (late, got[0], json.loads(got[-1][6:])["error"]["code"])


async def test_the_first_token_leaves_at_once() -> None:
    slow = kit("word " * 1000, tokens_per_second=5)
    with serving(slow.gateway()) as url:
        async with (
            httpx.AsyncClient() as http,
            http.stream("POST", f"{url}/v1/chat/completions", json=body(), headers=AUTH) as answer,
        ):
            async for line in answer.aiter_lines():
                if "word" in line:
                    break
            assert slow.engines["a"].running == 1  # it has minutes to say yet


def test_a_lost_engine_is_not_seen_by_who_reads_the_stream() -> None:
    with serving(kit("one two three four", fail="mid_stream", failures=2).gateway()) as url:
        _, got = lines(url, stream_options={"include_usage": True})
    assert said(got) == "one two three four"
    assert got[-1] == "data: [DONE]"
    assert json.loads(got[-2][6:])["usage"]["completion_tokens"] == 4
    assert len({json.loads(line[6:])["id"] for line in got[:-1]}) == 1


def test_a_lost_engine_of_a_structured_answer_is_an_error_that_says_why() -> None:
    with serving(kit("one two three four", fail="mid_stream").gateway()) as url:
        _, got = lines(url, response_format={"type": "json_object"})
    error = json.loads(got[-1][6:])["error"]
    assert ("engine_lost", "server_error") == (error["code"], error["type"])
    assert "response_format" in error["message"]


def test_tool_calls_stream_with_index_id_name_and_arguments_in_pieces() -> None:
    engine = kit(tools=[("weather", '{"city": "Paris"}'), ("clock", "{}")])
    tools = [{"type": "function", "function": {"name": name}} for name in ("weather", "clock")]
    with serving(engine.gateway()) as url:
        _, got = lines(url, tools=tools)
        silent = lines(url, tools=tools, tool_choice="none")[1]
    deltas = [json.loads(line[6:])["choices"][0] for line in got[:-1]]
    pieces = [piece for delta in deltas for piece in delta["delta"].get("tool_calls", ())]
    assert [(0, "weather"), (1, "clock")] == [(p["index"], p["function"]["name"]) for p in pieces if "id" in p]
    assert '{"city": "Paris"}' == "".join(p["function"]["arguments"] for p in pieces if p["index"] == 0)
    assert "tool_calls" == deltas[-1]["finish_reason"]
    assert said(silent) == "You said: Hello there"


class Endless(FakeEngine):
    """Says a kilobyte at a time, for ever; `produced` counts the bytes."""

    produced = 0

    async def _stream(self, request: Generation) -> AsyncGenerator[Token | Usage, None]:
        for number in count(1):
            await asyncio.sleep(0)
            self.produced += 1024
            yield Usage(1, number)
            yield Token("x" * 1023 + " ")


async def still(engine: Endless) -> int:
    """Wait until the engine says nothing for a second; the bytes it has said."""
    async with asyncio.timeout(60):
        while (before := engine.produced) == 0 or (await asyncio.sleep(1) or engine.produced) != before:
            await asyncio.sleep(0.01)
    return before


@pytest.mark.parametrize("whose", ["moderated", "unmoderated"])
async def test_an_endless_answer_to_a_client_that_reads_a_byte_a_second_waits_in_no_memory(whose: str) -> None:
    engine = Endless()
    stages = ["admit", "route", "generate", *(["moderate"] if whose == "moderated" else []), "settle"]
    endless = Kit(engines={"a": engine, "b": FakeEngine()})
    memory = psutil.Process().memory_info
    with serving(endless.gateway(stages=stages, generate={"keep_alive": 0.2})) as url:
        host, port = url.removeprefix("http://").split(":")
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((host, int(port)))
        content = json.dumps(body()).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        client.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        before = memory().rss
        client.recv(1)
        full = await still(engine)  # the buffers of two kernels' sockets are full by then
        for _ in range(2):
            client.recv(1)
            await still(engine)
        assert full > 0
        assert engine.produced - full < 64 * 1024
        assert engine.produced < 16 * 2**20
        assert memory().rss - before < 64 * 2**20
        assert engine.running == 1
        client.close()
        await until(lambda: engine.running == 0 and endless.rows)
    assert endless.rows[0].outcome == "hangup"
