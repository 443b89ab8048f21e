"""No body whatever, on no route, is a fault of the server's; and every refusal has the API's shape."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.api.openai.chat.request import ChatRequest
from tests.examples import examples
from tests.kit import KEY, Kit, serving

HI = [{"role": "user", "content": "hi"}]
VALID: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "small", "messages": HI},
    "/v1/completions": {"model": "small", "prompt": "hi"},
    "/v1/responses": {"model": "small", "input": "hi"},
    "/v1/responses/input_tokens": {"model": "small", "input": "hi"},
    "/v1/messages": {"model": "small", "messages": HI, "max_tokens": 9},
    "/v1/messages/count_tokens": {"model": "small", "messages": HI},
    "/v1/embeddings": {"model": "embedding", "input": "hi"},
    "/v1/moderations": {"model": "moderation", "input": "hi"},
    "/tokenize": {"messages": HI},
    "/detokenize": {"tokens": [1]},
}
WORDS = st.sampled_from(
    [
        *("role", "content", "type", "text", "user", "assistant", "tool", "system", "function", "custom", "name"),
        *("json_schema", "arguments", "tool_calls", "parameters", "schema", "properties", "auto", "required"),
        *("allowed_tools", "image_url"),
    ]
)
TEXT = st.text(st.characters(exclude_categories=[]), max_size=8) | WORDS
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
TURN = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"])},
    optional={"content": JSON, "tool_calls": st.lists(JSON, max_size=2), "name": TEXT, "tool_call_id": TEXT},
)
FIELDS = sorted({*ChatRequest.model_fields, *(name for body in VALID.values() for name in body), "system", "thinking"})


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with (
        serving(Kit().gateway()) as url,
        httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=20) as client,
    ):
        yield client


def answered(http: httpx.Client, path: str, content: bytes) -> None:
    answer = http.post(path, content=content)
    assert answer.status_code < 500, (path, content, answer.text)
    if answer.status_code == 200:
        return
    error = answer.json()["error"]
    assert error["message"]
    assert error["type"]
    assert answer.headers["x-request-id"]
    assert not any(word in answer.text for word in ("pydantic", "Traceback", "dictionary", "validation error"))
    if not path.startswith("/v1/messages"):
        assert {"message", "type", "param", "code"} == error.keys()
        assert error["param"] != ""


@pytest.mark.parametrize("path", VALID)
@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=JSON, fields=st.dictionaries(st.sampled_from(FIELDS) | TEXT, JSON, max_size=3), data=st.binary(max_size=40))
def test_any_json_is_answered_or_refused(
    http: httpx.Client, path: str, body: Any, fields: dict[str, Any], data: bytes
) -> None:
    answered(http, path, json.dumps(body).encode())
    answered(http, path, json.dumps(VALID[path] | fields).encode())
    answered(http, path, data)


@settings(max_examples=examples(120), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(turns=st.lists(TURN, max_size=4), tools=st.lists(JSON, max_size=2), choice=JSON, format_=JSON)
def test_any_conversation_is_answered_or_refused(
    http: httpx.Client, turns: list[Any], tools: list[Any], choice: Any, format_: Any
) -> None:
    body = VALID["/v1/chat/completions"]
    for more in (
        {"messages": [*turns, *HI]},
        {"messages": turns},
        {"tools": tools, "tool_choice": choice},
        {"response_format": format_},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": format_}}},
    ):
        answered(http, "/v1/chat/completions", json.dumps(body | more).encode())
