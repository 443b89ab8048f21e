"""What we bill agrees with the books of an upstream: to the nano where it tells its counts, within 2 % where not."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.billing.costs import cost_of_goods
from app.core.events import Token
from app.engines.tokenizer import estimate
from app.engines.upstream import UpstreamEngine
from tests.contracts.ledger_kit import SqlWorld, sql_world
from tests.kit import Kit, ask

CALLS = 2000
AT_ONCE = 8
WORDS = ["the", "river", "runs", "past", "seven", "mills", "and", "none", "of", "them", "stands", "still"]
COSTS = {pool: {"input": "0.3", "cached_input": "0.1", "output": "0.7"} for pool in "ab"}


@dataclass
class Entry:
    """One call in the upstream's books."""

    prompt: int
    told: bool
    cached: int = 0
    completion: int = 0


@dataclass
class Books(httpx.AsyncBaseTransport):
    """An upstream without a network. What it does with a call is written in the call's `seed`."""

    entries: dict[str, Entry] = field(default_factory=dict)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(await request.aread())
        draw = random.Random(body["seed"])
        kind = draw.choice(["stream", "stream", "along", "whole", "silent", "broken", "refused"])
        if kind == "refused":
            return httpx.Response(503, json={"error": {"message": "busy"}})
        prompt = sum(estimate(message["content"]) for message in body["messages"]) + 3
        told = kind in ("stream", "along", "whole")
        cached = draw.choice([0, prompt // 2]) if kind in ("along", "whole") else 0
        entry = self.entries[request.headers["x-request-id"]] = Entry(prompt, told, cached)
        words = [f"{draw.choice(WORDS)} " for _ in range(min(draw.randint(1, 60), body["max_tokens"]))]
        if kind == "whole":
            entry.completion = len(words) * body.get("n", 1)
            message = {"message": {"content": "".join(words)}, "finish_reason": "stop"}
            choices = [{"index": index, **message} for index in range(body.get("n", 1))]
            return httpx.Response(200, json={"choices": choices, "usage": _usage(entry)})
        return httpx.Response(200, stream=Pieces(self._stream(body, entry, words, kind)))

    async def _stream(self, body: Any, entry: Entry, words: list[str], kind: str) -> AsyncIterator[bytes]:
        for at, word in enumerate(words):
            for index in range(body.get("n", 1)):
                entry.completion += 1
                usage = {"usage": _usage(entry)} if kind == "along" else {}
                yield _event({"choices": [{"index": index, "delta": {"content": word}}], **usage})
            if kind == "broken" and at == len(words) // 2:
                return
        for index in range(body.get("n", 1)):
            yield _event({"choices": [{"index": index, "delta": {}, "finish_reason": "stop"}]})
        if kind == "stream":
            yield _event({"choices": [], "usage": _usage(entry)})
        yield b"data: [DONE]\n\n"


class Pieces(httpx.AsyncByteStream):
    """A body that comes piece by piece."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._pieces:
            yield piece
            await asyncio.sleep(0)


def _event(chunk: object) -> bytes:
    return f"data: {json.dumps(chunk)}\n\n".encode()


def _usage(entry: Entry) -> dict[str, Any]:
    counts = {"prompt_tokens": entry.prompt, "completion_tokens": entry.completion}
    return {**counts, "prompt_tokens_details": {"cached_tokens": entry.cached}}


async def _call(gateway: Any, who: Any, seed: int) -> None:
    draw = random.Random(-seed)
    text = " ".join(draw.choice(WORDS) for _ in range(draw.randint(80, 400)))
    prompt = ask(text, model="small", max_tokens=64, n=draw.choice([1, 1, 1, 2]), seed=seed)
    call, events = gateway.open(who, prompt)
    call.streamed = draw.random() < 0.5
    leaves = draw.choice([None, None, 0, 1, 7])  # after so many pieces
    async with aclosing(events):
        seen = 0
        async for event in events:
            seen += isinstance(event, Token)
            if seen == leaves:
                return


class Rows:
    """In place of the metrics: keeps every row."""

    def __init__(self, rows: dict[str, Any]) -> None:
        self._rows = rows

    def observe(self, row: Any, _: Any = None) -> None:
        self._rows[row.id] = row


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SqlWorld]:
    async with sql_world(f"sqlite:///{tmp_path}/ledger.db") as made:
        yield made


async def test_our_books_agree_with_the_upstreams(world: SqlWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "app.pipeline.stages.generate")
    books = Books()
    engine = UpstreamEngine("http://upstream/v1", "m", client=httpx.AsyncClient(transport=books))
    kit = Kit(engines={"a": engine, "b": engine})  # type: ignore[dict-item]
    kit.ledger = world.ledger  # type: ignore[assignment]
    stages = ["admit", "route", "generate", "moderate", "settle"]
    who = await world.caller()
    rows: dict[str, Any] = {}
    kit.metrics = Rows(rows)  # type: ignore[assignment]
    gateway = kit.gateway(stages=stages, costs=COSTS, generate={"cooldown": 0.001, "recoveries": 0})
    for first in range(0, CALLS, AT_ONCE):
        await asyncio.gather(*(_call(gateway, who, seed) for seed in range(first, first + AT_ONCE)))
    await engine.close()

    assert len(rows) == CALLS
    assert sum(row.cost for row in rows.values()) == (await world.balances(who))[0].spent
    model = gateway.catalog.costs["a"]
    told = unknown = 0
    for id_, entry in books.entries.items():
        row = rows[id_]
        theirs = cost_of_goods(model, entry.prompt, entry.cached, entry.completion)
        if not row.estimated and entry.told:
            told += 1
            assert row.goods == theirs, (row, entry)
        elif entry.prompt > 100:
            unknown += 1
            assert float(row.goods + row.lost) == pytest.approx(float(theirs), rel=0.2), (row, entry)
    estimated = [id_ for id_ in books.entries if rows[id_].estimated]
    ours = sum(float(rows[id_].goods + rows[id_].lost) for id_ in estimated)
    sums = [(one.prompt, one.cached, one.completion) for id_, one in books.entries.items() if id_ in estimated]
    assert ours == pytest.approx(sum(float(cost_of_goods(model, *one)) for one in sums), rel=0.02)
    assert told > CALLS / 5
    assert unknown > CALLS / 5
    refused = [row for id_, row in rows.items() if id_ not in books.entries]
    assert refused
    assert {(row.cost, row.goods, row.lost) for row in refused} == {(0, 0, 0)}
