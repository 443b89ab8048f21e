"""Plain HTTP: HEAD, OPTIONS, Allow, browsers of other origins, and what clients of other servers ask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.kit import KEY, Kit, serving
from tests.words import vocabulary

PAGE = "https://app.example.com"
AUTH = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with serving(Kit().gateway()) as url, httpx.Client(base_url=url, headers=AUTH, timeout=20) as client:
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator[httpx.Client]:
    origins = [PAGE, "https://*.example.org"]
    with (
        serving(Kit().gateway(api={"origins": origins})) as url,
        httpx.Client(base_url=url, headers=AUTH | {"Origin": PAGE}, timeout=20) as client,
    ):
        yield client


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/health", "/metrics", "/v1/models", "/openapi.json"])
def test_head_is_get_without_the_body(http: httpx.Client, path: str) -> None:
    got, head = http.get(path), http.head(path)
    assert 200 == got.status_code == head.status_code
    assert got.content
    assert b"" == head.content
    assert got.headers["content-type"] == head.headers["content-type"]
    assert head.headers["x-request-id"]


def test_the_root_says_who_is_there(http: httpx.Client) -> None:
    said = httpx.get(f"{http.base_url}/").json()
    assert "penstock" == said["name"]
    assert said["version"]
    assert 200 == http.get(said["docs"]).status_code


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/"])
def test_models_are_listed_with_a_slash_too_many_as_well(http: httpx.Client, path: str) -> None:
    assert "list" == http.get(path).json()["object"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("PUT", "/v1/models", "GET, HEAD"),
        ("OPTIONS", "/v1/models", "GET, HEAD"),
        ("PATCH", "/v1/responses/resp_1", "DELETE, GET, HEAD"),
        ("HEAD", "/v1/embeddings", "POST"),
    ],
)
def test_allow_names_every_method_of_the_path(http: httpx.Client, method: str, path: str, allowed: str) -> None:
    answer = http.request(method, path)
    assert (405, allowed) == (answer.status_code, answer.headers["allow"])
    assert method == "HEAD" or "method_not_allowed" == answer.json()["error"]["code"]


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
def test_ranking_is_refused_in_words(http: httpx.Client, path: str) -> None:
    answer = http.post(path, json={"query": "a", "documents": ["b"]})
    assert (404, "unsupported_endpoint") == (answer.status_code, answer.json()["error"]["code"])
    assert "/v1/embeddings" in answer.json()["error"]["message"]


def test_who_counts_tokens_themselves_is_told_of_the_tokenizer(tmp_path: Path) -> None:
    gateway = Kit().gateway()
    with serving(gateway) as url:
        assert "unsupported_parameter" == httpx.get(f"{url}/tokenizer_info", headers=AUTH).json()["error"]["code"]
        gateway.ports = replace(gateway.ports, tokenizer=vocabulary(tmp_path))
        assert "assistant:" in httpx.get(f"{url}/tokenizer_info", headers=AUTH).json()["chat_template"]
        assert 401 == httpx.get(f"{url}/tokenizer_info").status_code


# -- browsers -----------------------------------------------------------------------------------


def preflight(client: httpx.Client, origin: str = PAGE, **headers: str) -> httpx.Response:
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    return client.options("/v1/chat/completions", headers={"Origin": origin} | asks | headers)


@pytest.mark.parametrize("origin", [PAGE, "https://a.example.org"])
def test_a_page_of_the_config_may_ask(browser: httpx.Client, origin: str) -> None:
    answer = preflight(browser, origin)
    assert (204, b"") == (answer.status_code, answer.content)
    assert origin == answer.headers["access-control-allow-origin"]
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "authorization" in answer.headers["access-control-allow-headers"]
    assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://app.example.com",
        "https://app.example.com.evil",
        "null",
        "https://x/.example.org",
    ],
)
def test_another_page_may_not(browser: httpx.Client, origin: str) -> None:
    asked = preflight(browser, origin)
    assert (403, "origin_not_allowed") == (asked.status_code, asked.json()["error"]["code"])
    sent = browser.get("/v1/models", headers={"Origin": origin})
    assert not [one for one in (asked, sent) if "access-control-allow-origin" in one.headers]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"model": "small", "messages": [{"role": "user", "content": "hi"}]}),
        ("/v1/chat/completions", {"model": "small", "stream": True, "messages": [{"role": "user", "content": "hi"}]}),
        ("/v1/chat/completions", {"model": "none"}),
        ("/v1/nowhere", {}),
        ("/v1/messages", {}),
    ],
)
def test_a_page_may_read_every_answer_and_its_headers(
    browser: httpx.Client, path: str, body: dict[str, object]
) -> None:
    answer = browser.post(path, json=body)
    assert PAGE == answer.headers["access-control-allow-origin"]
    shown = answer.headers["access-control-expose-headers"].split(", ")
    told = [name for name in answer.headers if name.startswith(("x-p", "x-r", "openai-", "retry-", "request-id"))]
    assert "x-request-id" in told
    assert set(told) <= set(shown)


def test_without_origins_there_is_no_word_of_them(http: httpx.Client) -> None:
    assert 405 == preflight(http).status_code
    assert "access-control-allow-origin" not in http.get("/v1/models", headers={"Origin": PAGE}).headers


def test_a_changed_policy_reaches_browsers_at_once() -> None:
    kit = Kit()
    gateway = kit.gateway()
    with serving(gateway) as url, httpx.Client(base_url=url, headers=AUTH) as client:
        assert 405 == preflight(client).status_code
        gateway.apply(kit.gateway(api={"origins": ["*"]}).policy)
        assert (204, "*") == ((a := preflight(client)).status_code, a.headers["access-control-allow-origin"])
