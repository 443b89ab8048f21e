"""Nobody is answered with what was said to another: the semantic cache, over HTTP, in every API that it serves."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.api.whose import NOT_IDENTITY
from app.testing.fakes import FakeEngine
from tests.kit import KEY, Kit, ask, run, serving

ASKED = "Which plan does the account have?"
BODIES: Mapping[str, Mapping[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": ASKED}]},
    "/v1/messages": {"messages": [{"role": "user", "content": ASKED}], "max_tokens": 9},
    "/v1/responses": {"input": ASKED},
}
PATHS = sorted(BODIES)
NAMING = {
    "/v1/chat/completions": ["user", "safety_identifier", "metadata.user_id", "metadata.customer", "prompt_cache_key"],
    "/v1/messages": ["metadata.user_id"],
    "/v1/responses": ["user", "safety_identifier", "metadata.user_id", "prompt_cache_key"],
}
fresh = itertools.count()


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    kit = Kit(engines={"a": FakeEngine("An answer."), "b": FakeEngine("An answer.")})
    with (
        serving(kit.gateway(cache={"max_compared_chars": 0})) as base,
        httpx.Client(base_url=base, headers={"authorization": f"Bearer {KEY}"}, timeout=30) as made,
    ):
        yield made


def result(client: httpx.Client, path: str, version: int, **fields: Any) -> str:
    """What the lookup came to. version: asked anew, so that no earlier example left anything."""
    body: dict[str, Any] = {"model": "small", "temperature": 0, **BODIES[path], **fields}
    question = f"{ASKED} {version}"
    if "input" in body:
        body["input"] = question
    else:
        body["messages"] = [*body["messages"][:-1], {**body["messages"][-1], "content": question}]
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-penstock-cache-decision"].partition(";")[0]


def field(name: str, value: Any) -> dict[str, Any]:
    outer, _, inner = name.partition(".")
    return {outer: {inner: value}} if inner else {outer: value}


@pytest.mark.parametrize("path", PATHS)
def test_the_same_request_is_answered_from_the_cache(client: httpx.Client, path: str) -> None:
    version = next(fresh)
    assert [result(client, path, version) for _ in "12"] == ["result=miss", "result=exact"]


@pytest.mark.parametrize(("path", "name"), [(path, name) for path in PATHS for name in NAMING[path]])
def test_another_end_user_is_never_answered_with_what_was_said_to_one(
    client: httpx.Client, path: str, name: str
) -> None:
    version = next(fresh)
    found = [result(client, path, version, **field(name, who)) for who in ("u1", "u2", "u1")]
    assert found == ["result=miss", "result=miss", "result=exact"]


NAMES = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=24).filter(lambda name: name not in NOT_IDENTITY)
VALUES = st.one_of(st.booleans(), st.integers(-9, 9), st.text(max_size=6), st.lists(st.integers(0, 3), max_size=2))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(PATHS), name=NAMES, value=VALUES)
def test_a_field_that_nobody_has_heard_of_tells_two_requests_apart(
    client: httpx.Client, path: str, name: str, value: Any
) -> None:
    version = next(fresh)
    assert result(client, path, version) == "result=miss"
    assert result(client, path, version, **{f"x_{name}": value}) != "result=exact"


@pytest.mark.parametrize(
    "fields",
    [
        {"seed": 7},
        {"top_p": 0.5},
        {"max_tokens": 5},
        {"stop": ["x"]},
        {"logit_bias": {"3": 1}},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"response_format": {"type": "json_object"}},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]},
        {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": ASKED}]},
        {"messages": [{"role": "user", "content": ASKED, "name": "nora"}]},
    ],
)
def test_a_changed_parameter_is_never_answered_from_the_cache(client: httpx.Client, fields: dict[str, Any]) -> None:
    version = next(fresh)
    path = "/v1/chat/completions"
    assert result(client, path, version) == "result=miss"
    refused = client.post(path, json={"model": "small", **BODIES[path], **fields}).status_code == 400
    assert refused or result(client, path, version, **fields) != "result=exact"


@settings(max_examples=50, deadline=None)
@given(name=st.text(min_size=1, max_size=12).filter(lambda name: name not in {*NOT_IDENTITY, "n"}), value=VALUES)
async def test_a_parameter_of_any_name_is_part_of_the_question(name: str, value: Any) -> None:
    """Of the stage itself: whatever a request model lets through."""
    gateway = Kit().gateway()
    params = {} if name in ("logprobs", "top_logprobs", "tools", "functions", "temperature") else {name: value}
    await run(gateway, ask(ASKED))
    call, _ = await run(gateway, ask(ASKED, **params))
    assert call.hit == (not params)


def test_a_question_about_its_asker_is_neither_kept_nor_served_where_nobody_is_named(client: httpx.Client) -> None:
    path = "/v1/chat/completions"
    own = {"messages": [{"role": "user", "content": "What does my plan cost?"}], "model": "small", "temperature": 0}
    headers = [client.post(path, json=own).headers["x-penstock-cache-decision"] for _ in "12"]
    assert all("result=bypass" in header and "why=asker" in header for header in headers)
    named = [client.post(path, json={**own, "user": "u1"}).headers["x-penstock-cache-decision"] for _ in "12"]
    assert named[1].startswith("result=exact")
