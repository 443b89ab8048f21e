"""Anthropic's clients find its shapes on every path: errors, models, limits in the words that agents parse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import anthropic
import httpx
import pytest

from app.api.anthropic.limits import in_anthropics_words
from app.core import errors
from app.core.ports import PortError
from tests.kit import KEY, WHO, Kit, limited, serving

VERSION = {"anthropic-version": "2023-06-01"}
OURS = {"x-api-key": KEY}
BEARER = {"authorization": f"Bearer {KEY}"}
HI: dict[str, Any] = {"model": "small", "max_tokens": 8, "messages": [{"role": "user", "content": "Hello there"}]}


@pytest.fixture
def kit() -> Kit:
    return Kit()


@pytest.fixture
def url(kit: Kit) -> Iterator[str]:
    with serving(kit.gateway(), kit.metrics) as base:
        yield base


@pytest.fixture
def client(url: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key=KEY, base_url=url, max_retries=0)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/v1/messages/nothing", BEARER, 404),
        ("POST", "/v1/messages/count_tokens/more", BEARER, 404),
        ("GET", "/v1/messages", BEARER, 405),
        ("POST", "/v1/complete", BEARER, 404),
        ("GET", "/v1/nothing", VERSION, 404),
        ("GET", "/v1/nothing", OURS, 404),
        ("DELETE", "/v1/models", OURS, 405),
        ("GET", "/v1/models", VERSION, 401),
        ("GET", "/v1/models/claude-unknown", OURS, 404),
    ],
)
def test_an_error_has_anthropics_shape_wherever_its_clients_ask(
    url: str, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    answer = httpx.request(method, url + path, headers=headers)
    body = answer.json()
    assert (status, "error") == (answer.status_code, body["type"])
    assert {"type", "message"} == set(body["error"])
    assert body["request_id"] == answer.headers["request-id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/models/unknown", "/v1/chat/completions/more"])
def test_everybody_elses_errors_have_openais_shape(url: str, path: str) -> None:
    assert {"message", "type", "param", "code"} == set(httpx.get(url + path, headers=BEARER).json()["error"])


def test_what_breaks_outside_a_route_has_anthropics_shape_too(url: str, kit: Kit) -> None:
    faults: list[Exception] = [PortError("ledger", "is down"), RuntimeError("a secret of the caller's")]

    async def identify(_: str) -> None:
        raise faults.pop(0)

    kit.authenticator.identify = identify  # type: ignore[method-assign, assignment]
    told = [httpx.get(f"{url}/v1/models", headers=OURS | VERSION) for _ in range(2)]
    assert [(529, "overloaded_error"), (500, "api_error")] == [
        (one.status_code, one.json()["error"]["type"]) for one in told
    ]
    assert "secret" not in told[1].text


def test_models_are_listed_page_by_page_in_anthropics_shape(client: anthropic.Anthropic, url: str) -> None:
    whole = [one.id for one in client.models.list(limit=2)]
    first = client.models.list(limit=2)
    assert whole == [one["id"] for one in httpx.get(f"{url}/v1/models", headers=BEARER).json()["data"]]
    assert (whole[:2], True, whole[0], whole[1]) == (
        [one.id for one in first.data], first.has_more, first.first_id, first.last_id
    )  # fmt: skip
    before = client.models.list(limit=1, before_id=whole[2])
    assert [whole[1]] == [one.id for one in before.data]
    small = client.models.retrieve("small")
    assert ("model", "small", "small") == (small.type, small.id, small.display_name)
    assert isinstance(small.created_at, datetime)
    with pytest.raises(anthropic.BadRequestError, match="limit"):
        client.models.list(limit=0)


def test_a_prompt_that_is_too_long_is_told_in_the_words_that_agents_parse(
    kit: Kit, client: anthropic.Anthropic
) -> None:
    long = HI | {"messages": [{"role": "user", "content": "word " * 20_000}]}
    with pytest.raises(anthropic.BadRequestError) as known:
        client.messages.create(**long)
    kit.engines["a"].context = 1  # the engine counts otherwise
    with pytest.raises(anthropic.BadRequestError) as counted:
        client.messages.create(**HI)
    for failed in (known, counted):
        found = re.fullmatch(r"prompt is too long: (\d+) tokens > (\d+) maximum", str(failed.value.api_message))
        assert found is not None
        assert int(found[1]) > int(found[2])


def test_max_tokens_above_the_context_is_told_in_the_words_that_agents_parse() -> None:
    class Asked:
        prompt_tokens_low, prompt_tokens_high, max_completion = 900, 950, 200

    told = in_anthropics_words(errors.context_length(1000), Asked())  # type: ignore[arg-type]
    assert "input length and `max_tokens` exceed context limit: 900 + 200 > 1000" in told.message


def test_max_tokens_is_lowered_to_what_pool_and_key_allow_and_the_answer_says_so(kit: Kit, url: str) -> None:
    kit.authenticator.keys["sk-short"] = replace(WHO, max_output_tokens=3)
    for key, asked in ((KEY, 32_000), ("sk-short", 32_000), (KEY, 7)):
        answer = httpx.post(f"{url}/v1/messages", json=HI | {"max_tokens": asked}, headers={"x-api-key": key})
        assert 200 == answer.status_code, answer.text
        sent = kit.engines["a"].requests[-1].params["max_tokens"]
        assert (str(sent) if sent < asked else None) == answer.headers.get("x-penstock-max-tokens")
        assert sent <= asked
    window = kit.gateway().catalog.context["a"]
    first, short, _ = (request.params["max_tokens"] for request in kit.engines["a"].requests)
    assert window - 100 < first < window
    assert 3 == short


def test_an_answer_that_is_cut_by_the_lowered_limit_stops_for_max_tokens(kit: Kit, url: str) -> None:
    kit.authenticator.keys["sk-short"] = replace(WHO, max_output_tokens=3)
    answer = httpx.post(f"{url}/v1/messages", json=HI | {"max_tokens": 999}, headers={"x-api-key": "sk-short"})
    assert ("max_tokens", 3) == (answer.json()["stop_reason"], answer.json()["usage"]["output_tokens"])


def test_an_error_names_fields_as_anthropics_api_does(kit: Kit, url: str) -> None:
    kit.authenticator.keys["sk-full"] = limited(tokens=10)
    told = httpx.post(f"{url}/v1/messages", json=HI | {"max_tokens": 5000}, headers={"x-api-key": "sk-full"})
    assert 429 == told.status_code
    renamed = in_anthropics_words(errors.too_many_tokens(5)).message
    assert "`max_tokens`" in renamed
    assert "max_completion_tokens" not in told.text + renamed


@pytest.mark.parametrize("stream", [False, True])
def test_rate_limits_are_told_in_anthropics_headers(kit: Kit, url: str, stream: bool) -> None:
    kit.authenticator.keys["sk-limited"] = limited(requests=10, tokens=1000)
    answer = httpx.post(f"{url}/v1/messages", json=HI | {"stream": stream}, headers={"x-api-key": "sk-limited"})
    told = {name.removeprefix("anthropic-ratelimit-") for name in answer.headers if name.startswith("anthropic-")}
    assert {f"{what}-{kind}" for what in ("requests", "tokens") for kind in ("limit", "remaining", "reset")} == told
    assert "10" == answer.headers["anthropic-ratelimit-requests-limit"]
    assert datetime.fromisoformat(answer.headers["anthropic-ratelimit-tokens-reset"])
