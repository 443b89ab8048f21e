"""Requests that are no calls cost nothing, and each key has so many a minute of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from app.testing.fakes import FakeAuthenticator
from tests.kit import KEY, WHO, Kit, serving

HI = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}
FREE = [
    ("GET", "/v1/models", None),
    ("GET", "/v1/responses/resp_1", None),
    ("DELETE", "/v1/responses/resp_1", None),
    ("POST", "/v1/responses/input_tokens", {"model": "small", "input": "Hi"}),
    ("POST", "/v1/messages/count_tokens", HI),
    ("POST", "/tokenize", {"prompt": "Hi"}),
]


@pytest.fixture
def url() -> Iterator[str]:
    kit = Kit(authenticator=FakeAuthenticator({KEY: WHO, "sk-other": replace(WHO, key_id="key_2")}))
    with serving(kit.gateway(admit={"free_per_minute": 3})) as base:
        yield base


def ask(url: str, method: str, path: str, body: object, key: str = KEY) -> httpx.Response:
    return httpx.request(method, url + path, json=body, headers={"Authorization": f"Bearer {key}"})


@pytest.mark.parametrize(("method", "path", "body"), FREE, ids=[f"{method} {path}" for method, path, _ in FREE])
def test_a_keys_free_requests_are_so_many_a_minute(url: str, method: str, path: str, body: object) -> None:
    answers = [ask(url, method, path, body) for _ in range(4)]
    assert [False, False, False, True] == [answer.status_code == 429 for answer in answers]
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert 429 == ask(url, *FREE[0]).status_code
    assert 429 != ask(url, method, path, body, "sk-other").status_code


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/responses/compact"])
def test_calls_are_the_ledgers_to_limit(url: str, path: str) -> None:
    body = HI if "responses" not in path else {"model": "small", "input": "Hi"}
    assert [200] * 5 == [ask(url, "POST", path, body).status_code for _ in range(5)]


def test_without_a_limit_there_is_none() -> None:
    with serving(Kit().gateway(admit={"free_per_minute": 0})) as base:
        assert {200} == {ask(base, *FREE[0]).status_code for _ in range(20)}
