"""Bad input: each its exact error in OpenAI's shape, none a 500, none a hang, no stack trace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.kit import KEY, Kit, serving

HI = [{"role": "user", "content": "hi"}]
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    kit = Kit()
    with (
        serving(kit.gateway()) as url,
        httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=10) as client,
    ):
        yield client


def error(answer: httpx.Response) -> tuple[int, str | None, str | None]:
    body = answer.json()["error"]
    assert set(body) == {"message", "type", "param", "code"}
    assert "Traceback" not in answer.text
    return answer.status_code, body["code"], body["param"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"[]", "invalid_json"),
        (b'"hi"', "invalid_json"),
        (b'{"model": "\xff\xfe"}', "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
        (b'{"model": NaN}', "invalid_json"),
    ],
)
def test_what_is_not_json_is_said_to_be_so(http: httpx.Client, body: bytes, code: str) -> None:
    assert error(http.post(CHAT, content=body)) == (400, code, None)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"messages": HI}, (400, "missing_required_parameter", "model")),
        ({"model": "auto"}, (400, "missing_required_parameter", "messages")),
        ({"model": "auto", "messages": []}, (400, "empty_array", "messages")),
        ({"model": "auto", "messages": "hi"}, (400, "invalid_type", "messages")),
        ({"model": 7, "messages": HI}, (400, "invalid_type", "model")),
        ({"model": "", "messages": HI}, (400, "invalid_value", "model")),
        ({"model": "gpt-9", "messages": HI}, (404, "model_not_found", "model")),
        ({"model": "auto", "messages": [{"role": "boss", "content": "x"}]}, (400, "invalid_value", "messages[0].role")),
        ({"model": "auto", "messages": [{"content": "x"}]}, (400, "missing_required_parameter", "messages[0].role")),
        ({"model": "auto", "messages": [{"role": "user", "content": 3}]}, (400, "invalid_type", "messages[0].content")),
        ({"model": "auto", "messages": HI, "temperature": "hot"}, (400, "invalid_type", "temperature")),
        ({"model": "auto", "messages": HI, "temperature": 2.1}, (400, "invalid_value", "temperature")),
        ({"model": "auto", "messages": HI, "top_p": -0.1}, (400, "invalid_value", "top_p")),
        ({"model": "auto", "messages": HI, "n": 0}, (400, "invalid_value", "n")),
        ({"model": "auto", "messages": HI, "n": 129}, (400, "invalid_value", "n")),
        ({"model": "auto", "messages": HI, "n": "2"}, (400, "invalid_type", "n")),
        ({"model": "auto", "messages": HI, "max_tokens": 0}, (400, "invalid_value", "max_tokens")),
        ({"model": "auto", "messages": HI, "max_tokens": -5}, (400, "invalid_value", "max_tokens")),
        ({"model": "auto", "messages": HI, "stop": list("abcde")}, (400, "invalid_value", "stop")),
        ({"model": "auto", "messages": HI, "stop": ""}, (400, "invalid_value", "stop")),
        ({"model": "auto", "messages": HI, "stream": "yes"}, (400, "invalid_type", "stream")),
        ({"model": "auto", "messages": HI, "top_logprobs": 3}, (400, None, "top_logprobs")),
        ({"model": "auto", "messages": HI, "stream_options": {"include_usage": True}}, (400, None, "stream_options")),
        (
            {"model": "auto", "messages": HI, "tools": [{"type": "function", "function": {}}]},
            (400, "missing_required_parameter", "tools[0].function.name"),
        ),
        ({"model": "auto", "messages": HI, "functions": [{}]}, (400, "unsupported_parameter", "functions")),
        (
            {"model": "auto", "messages": [{"role": "user", "content": "word " * 9000}]},
            (400, "context_length_exceeded", "messages"),
        ),
    ],
)
def test_a_wrong_value_names_its_parameter(http: httpx.Client, body: dict[str, Any], expected: tuple[Any, ...]) -> None:
    assert error(http.post(CHAT, json=body)) == expected


def test_an_image_is_refused_with_its_type_named(http: httpx.Client) -> None:
    content = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    answer = http.post(CHAT, json={"model": "auto", "messages": [{"role": "user", "content": content}]})
    assert error(answer)[0] == 400
    assert "'image_url' are not supported" in answer.json()["error"]["message"]


def test_a_body_of_10_mb_is_too_large(http: httpx.Client) -> None:
    assert error(http.post(CHAT, content=b"x" * 10_000_000)) == (413, "request_too_large", None)


def test_a_body_that_does_not_say_its_size_is_cut_at_the_limit(http: httpx.Client) -> None:
    endless = (b"x" * 100_000 for _ in range(100))
    assert error(http.post(CHAT, content=endless)) == (413, "request_too_large", None)


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": ""}, {"Authorization": "Bearer"}, {"Authorization": "Basic eA=="}]
)
def test_no_key_is_401_before_the_body_is_read(http: httpx.Client, headers: dict[str, str]) -> None:
    answer = httpx.post(f"{http.base_url}{CHAT}", content=b"{", headers=headers)
    assert error(answer) == (401, "invalid_api_key", None)
    assert "didn't provide" in answer.json()["error"]["message"]


@pytest.mark.parametrize("key", ["sk-wrong", "ä", "x" * 5000])
def test_a_wrong_key_is_401_and_never_quoted(http: httpx.Client, key: str) -> None:
    answer = httpx.post(
        f"{http.base_url}{CHAT}", content=b"{", headers={"Authorization": f"Bearer {key}".encode("latin-1", "replace")}
    )
    assert error(answer) == (401, "invalid_api_key", None)
    assert key not in answer.text


def test_other_vendors_key_headers_are_taken(http: httpx.Client) -> None:
    for header in ("x-api-key", "api-key"):
        assert httpx.get(f"{http.base_url}/v1/models", headers={header: KEY}).status_code == 200


def test_unknown_paths_and_methods_have_openais_shape(http: httpx.Client) -> None:
    assert error(http.get("/v1/nothing")) == (404, "unknown_url", None)
    assert error(http.get(CHAT)) == (405, "method_not_allowed", None)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-10, 200)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["model", "messages", "stream", "stream_options", "n", "stop", "seed", "temperature", "max_tokens",
          "logprobs", "top_logprobs", "logit_bias", "response_format", "tools", "metadata"]  # fmt: skip


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_no_json_whatever_makes_a_500(http: httpx.Client, body: dict[str, Any]) -> None:
    answer = http.post(CHAT, json={"model": "auto", "messages": HI, **body})
    assert answer.status_code in (200, 400, 404)
    if answer.status_code != 200:
        error(answer)
