"""A request is refused by a budget that it would pass, wherever its length stands, in each API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from app.testing.fakes import FakeLedger
from tests.kit import KEY, Kit, serving

LONG = "x" * 2000
SCHEMA = {"type": "object", "properties": {f"p{i}": {"type": "string", "description": LONG} for i in range(20)}}
PARAMETERS = {"type": "object", "properties": {"a": {"type": "string"}}}
FUNCTIONS = [{"name": f"f{i}", "description": LONG, "parameters": PARAMETERS} for i in range(100)]
CHAT = [{"type": "function", "function": function} for function in FUNCTIONS]
ANTHROPIC = [{"name": f"f{i}", "description": LONG, "input_schema": PARAMETERS} for i in range(100)]
RESPONSES = [{"type": "function", **function} for function in FUNCTIONS]
USER = {"role": "user", "content": "hi"}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
CALLED = {
    "role": "assistant",
    "tool_calls": [
        {"id": f"c{i}", "type": "function", "function": {"name": "f", "arguments": json.dumps({"a": LONG})}}
        for i in range(9)
    ],
}
RESULTS = [{"role": "tool", "tool_call_id": f"c{i}", "content": "y"} for i in range(9)]
ASKED: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", {"messages": [USER], "tools": CHAT}),
    ("/v1/chat/completions", {"messages": [USER], "response_format": JSON_SCHEMA}),
    ("/v1/chat/completions", {"messages": [USER, CALLED, *RESULTS]}),
    ("/v1/messages", {"messages": [USER], "tools": ANTHROPIC}),
    ("/v1/messages", {"messages": [USER], "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}),
    ("/v1/responses", {"input": "hi", "tools": RESPONSES}),
    ("/v1/responses", {"input": "hi", "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}}}),
]  # fmt: skip
LIMITS = {"/v1/chat/completions": "max_tokens", "/v1/messages": "max_tokens", "/v1/responses": "max_output_tokens"}


@pytest.fixture
def kit() -> Kit:
    made = Kit()
    made.ledger = FakeLedger({"acme": Decimal("0.001")})
    return made


@pytest.fixture
def api(kit: Kit) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {KEY}"}
    with serving(kit.gateway()) as base, httpx.Client(base_url=base, headers=headers) as client:
        yield client


@pytest.mark.parametrize(("path", "body"), ASKED, ids=lambda value: str(value)[:40])
def test_a_long_request_passes_no_small_budget(kit: Kit, api: httpx.Client, path: str, body: dict[str, Any]) -> None:
    answer = api.post(path, json={"model": "small", LIMITS[path]: 16, **body})
    assert answer.status_code in (400, 429), answer.text
    assert kit.engines["a"].requests == []
    assert kit.ledger.balances["acme"] == Decimal("0.001")


@pytest.mark.parametrize("path", LIMITS)
def test_a_short_request_fits_it(api: httpx.Client, path: str) -> None:
    body = {"input": "hi"} if path == "/v1/responses" else {"messages": [USER]}
    assert api.post(path, json={"model": "small", LIMITS[path]: 16, **body}).status_code == 200


def test_what_is_counted_is_what_is_reserved(kit: Kit, api: httpx.Client) -> None:
    kit.ledger.balances["acme"] = Decimal(10)
    body = {"model": "small", "messages": [USER], "tools": ANTHROPIC[:3]}
    counted = api.post("/v1/messages/count_tokens", json=body).json()["input_tokens"]
    kit.engines["a"].usage_along = False
    kit.engines["a"].fail = "before_first"
    api.post("/v1/messages", json={**body, "max_tokens": 16})
    assert counted >= 3 * len(LONG) // 4
    given = kit.engines["a"].requests[0]
    assert len(json.dumps(given.params["tools"])) // 4 <= counted + 1
