"""Other names of models, as people bring them along from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from app.batches.check import Checker
from app.batches.runner import LineRunner
from app.config import ConfigError
from tests.batch_kit import task
from tests.kit import KEY, WHO, Kit, serving

HI = [{"role": "user", "content": "hi"}]
ALIASES = {
    "gpt-4o-mini": "small",
    "gpt-*": "large",
    "claude-*": "large",
    "text-embedding-3-small": "embedding",
    "omni-moderation-latest": "moderation",
    "best": "model-b",
    "*-latest": "auto",
}


@pytest.fixture
def kit() -> Kit:
    return Kit()


@pytest.fixture
def http(kit: Kit) -> Iterator[httpx.Client]:
    with (
        serving(kit.gateway(aliases=ALIASES)) as url,
        httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=20) as client,
    ):
        yield client


def asked(http: httpx.Client, path: str, model: str) -> httpx.Response:
    body: dict[str, Any] = {
        "/v1/chat/completions": {"messages": HI},
        "/v1/completions": {"prompt": "hi"},
        "/v1/messages": {"messages": HI, "max_tokens": 9},
        "/v1/messages/count_tokens": {"messages": HI},
        "/v1/responses": {"input": "hi"},
        "/v1/responses/input_tokens": {"input": "hi"},
    }.get(path, {"input": "hi"})
    return http.post(path, json={"model": model, **body})


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses"])
@pytest.mark.parametrize(
    ("alias", "model", "tier"),
    [
        ("gpt-4o-mini", "model-a", "small"),
        ("gpt-5", "model-b", "large"),
        ("claude-opus-9", "model-b", "large"),
        ("best", "model-b", "large"),
        ("some-latest", "model-a", "small"),
    ],
)
def test_an_alias_is_answered_and_billed_as_what_it_stands_for(
    kit: Kit, http: httpx.Client, path: str, alias: str, model: str, tier: str
) -> None:
    answer = asked(http, path, alias)
    assert 200 == answer.status_code, answer.text
    assert model == answer.json()["model"]
    assert tier == kit.rows[-1].tier


@pytest.mark.parametrize(
    ("path", "alias"),
    [
        ("/v1/embeddings", "text-embedding-3-small"),
        ("/v1/embeddings", "embedding"),
        ("/v1/moderations", "omni-moderation-latest"),
        ("/v1/moderations", "moderation"),
        ("/v1/messages/count_tokens", "claude-x"),
        ("/v1/responses/input_tokens", "gpt-5"),
    ],
)
def test_so_it_is_where_no_engine_answers(http: httpx.Client, path: str, alias: str) -> None:
    assert 200 == asked(http, path, alias).status_code


def test_a_name_that_nothing_fits_is_still_not_found(http: httpx.Client) -> None:
    assert 404 == asked(http, "/v1/chat/completions", "llama").status_code
    assert 404 == asked(http, "/v1/embeddings", "gpt-5").status_code


def test_a_keys_models_are_looked_up_by_what_the_alias_stands_for(kit: Kit, http: httpx.Client) -> None:
    kit.authenticator.keys[KEY] = replace(WHO, models=frozenset({"small"}))
    assert 200 == asked(http, "/v1/chat/completions", "gpt-4o-mini").status_code
    assert 403 == asked(http, "/v1/chat/completions", "gpt-5").status_code


def test_exact_aliases_are_listed_and_every_one_is_found(http: httpx.Client) -> None:
    names = [one["id"] for one in http.get("/v1/models").json()["data"]]
    assert {"gpt-4o-mini", "best", "small"} <= set(names)
    assert not [name for name in names if "*" in name]
    assert "claude-x" == http.get("/v1/models/claude-x").json()["id"]
    assert 404 == http.get("/v1/models/llama").status_code


async def test_a_batchs_lines_may_use_them(kit: Kit) -> None:
    state = await LineRunner(kit.gateway(aliases=ALIASES), None, None).state()  # type: ignore[arg-type]
    checker = Checker("/v1/chat/completions", state.models["/v1/chat/completions"], 10)
    for model in ("gpt-4o-mini", "claude-x", "llama"):
        checker.take(0, json.dumps(task(model, body={"model": model, "messages": HI})).encode())
    assert ["gpt-4o-mini", "claude-x"] == [entry.custom_id for entry in checker.entries]
    assert ["model_not_found"] == [problem.code for problem in checker.problems]


@pytest.mark.parametrize(
    ("alias", "to"), [("small", "large"), ("model-a", "large"), ("x", "gpt-9"), ("embedding", "small")]
)
def test_an_alias_of_nothing_or_in_place_of_a_model_is_refused(alias: str, to: str) -> None:
    with pytest.raises(ConfigError, match=f"aliases.{alias}"):
        Kit().gateway(aliases={alias: to})
