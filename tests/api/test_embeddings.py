"""`/v1/embeddings` through the official openai client, over a real server; once with the real encoder."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from app.api.stored.idempotency import Idempotency
from app.core.ports import PortError
from app.db.store import Store
from app.installation.secrets import Secrets
from app.models.encoder import MiniLMEncoder
from app.pipeline.stages.consult import AT_ONCE
from app.testing.fakes import FakeAuthenticator, FakeEncoder, FakeLedger
from tests.kit import KEY, WHO, Kit, limited, serving, until
from tests.words import WORDS, vocabulary

PATH = "/v1/embeddings"
AUTH = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture
def kit() -> Kit:
    return Kit()


@pytest.fixture
def url(kit: Kit) -> Iterator[str]:
    with serving(kit.gateway(), kit.metrics) as base:
        yield base


@pytest.fixture
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(api_key=KEY, base_url=f"{url}/v1", max_retries=0)


def post(url: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{url}{PATH}", json={"model": "embedding", "input": "hello"} | body, headers=AUTH, timeout=30)


async def test_each_input_gets_its_own_vector_in_its_place(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="embedding", input=["red river", "blue sky", "red river"])
    expected = await FakeEncoder().encode(["red river", "blue sky", "red river"])
    assert [0, 1, 2] == [one.index for one in answer.data]
    assert np.array_equal(expected, np.array([one.embedding for one in answer.data], np.float32))
    assert ("list", "all-minilm-l6-v2") == (answer.object, answer.model)
    assert (6, 6) == (answer.usage.prompt_tokens, answer.usage.total_tokens)


def test_base64_is_little_endian_float32_and_says_the_same_as_numbers(url: str) -> None:
    coded = post(url, encoding_format="base64").json()["data"][0]["embedding"]
    plain = post(url, encoding_format="float").json()["data"][0]["embedding"]
    assert np.array_equal(np.frombuffer(base64.b64decode(coded), "<f4"), np.array(plain, np.float32))
    assert isinstance(post(url).json()["data"][0]["embedding"], list)


def test_fewer_dimensions_are_the_first_ones_at_unit_length(client: openai.OpenAI) -> None:
    whole = client.embeddings.create(model="embedding", input="hello").data[0].embedding
    short = client.embeddings.create(model="embedding", input="hello", dimensions=64).data[0].embedding
    first = np.array(whole[:64])
    assert np.allclose(first / np.linalg.norm(first), short, atol=1e-6)
    assert pytest.approx(1, abs=1e-6) == float(np.linalg.norm(short))


def test_more_dimensions_than_the_model_has_are_refused_and_cost_nothing(kit: Kit, url: str) -> None:
    assert 200 == post(url, dimensions=384).status_code
    answer = post(url, dimensions=385)
    assert (400, "dimensions") == (answer.status_code, answer.json()["error"]["param"])
    assert ("refused", 0, 0) == (kit.rows[-1].outcome, kit.rows[-1].cost, kit.rows[-1].prompt_tokens)


def test_a_call_is_billed_once_at_its_own_price(kit: Kit) -> None:
    price = {"input": "3", "cached_input": "3", "output": "0"}
    with serving(kit.gateway(embeddings={"model_id": "mini", "price": price}), kit.metrics) as url:
        answer = post(url, model="mini", input=["four letters each word", "and four more here"])
    (row,) = kit.rows
    tokens = answer.json()["usage"]["prompt_tokens"]
    assert (22 // 4 + 18 // 4, "ok", "embedding", "mini") == (tokens, row.outcome, row.tier, row.model_id)
    assert (Decimal(tokens * 3) / 1_000_000, 0) == (row.cost, row.completion_tokens)
    assert (row.id, str(row.cost)) == (answer.headers["x-penstock-call"], answer.headers["x-penstock-cost"])
    assert b'penstock_calls_total{outcome="ok",tier="embedding"} 1.0' in kit.metrics.export()[0]
    assert "four" not in str(row)


def test_a_price_list_of_a_contract_may_price_embeddings(kit: Kit) -> None:
    price = {"input": "1000000", "cached_input": "1000000", "output": "0"}
    kit.authenticator.keys[KEY] = replace(WHO, price_list="acme-2026")
    with serving(kit.gateway(price_lists={"acme-2026": {"embedding": price}})) as url:
        post(url)
    assert 1 == kit.rows[0].cost


def test_limits_hold_and_a_short_text_reserves_little() -> None:
    kit = Kit(authenticator=FakeAuthenticator({KEY: limited(tokens=40)}))
    with serving(kit.gateway()) as url:
        assert 200 == post(url).status_code
        denied = post(url, input=["word"] * 20)
    assert (429, "rate_limit_exceeded") == (denied.status_code, denied.json()["error"]["code"])
    assert ["ok", "refused"] == [row.outcome for row in kit.rows]
    assert {} == kit.ledger.held


def test_a_keys_context_length_is_for_each_text_and_not_for_all_together(kit: Kit, url: str) -> None:
    kit.authenticator.keys[KEY] = replace(WHO, context_length=10)
    assert 200 == post(url, input=["four" * 10] * 5).status_code
    assert 400 == post(url, input=["four" * 11]).status_code


def test_a_budget_that_is_spent_refuses() -> None:
    kit = Kit(ledger=FakeLedger(balances={WHO.tenant: Decimal(0)}))
    with serving(kit.gateway()) as url:
        answer = post(url)
    assert (429, "insufficient_quota") == (answer.status_code, answer.json()["error"]["code"])


def test_a_key_needs_the_scope(kit: Kit, url: str) -> None:
    kit.authenticator.keys[KEY] = replace(WHO, scopes=frozenset({"chat"}))
    assert 403 == post(url).status_code
    kit.authenticator.keys[KEY] = replace(WHO, scopes=frozenset({"embeddings"}))
    assert 200 == post(url).status_code


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"input": ""}, (400, "invalid_value", "input")),
        ({"input": ["a", ""]}, (400, "invalid_value", "input[1]")),
        ({"input": []}, (400, "invalid_value", "input")),
        ({"input": ["a"] * 2049}, (400, "invalid_value", "input")),
        ({"input": [1, 2]}, (400, "unsupported_parameter", "input")),
        ({"input": "four" * 8193}, (400, "context_length_exceeded", "input")),
        ({"input": ["four" * 8000] * 38}, (400, "invalid_value", "input")),
        ({"input": None}, (400, "invalid_type", "input")),
        ({"dimensions": 0}, (400, "invalid_value", "dimensions")),
        ({"encoding_format": "hex"}, (400, "invalid_value", "encoding_format")),
        ({"model": "auto"}, (404, "model_not_found", "model")),
    ],
)
def test_what_cannot_be_embedded_is_refused_with_its_parameter(
    url: str, body: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    answer = post(url, **body)
    error = answer.json()["error"]
    assert expected == (answer.status_code, error["code"], error["param"])


@pytest.mark.parametrize("ids", [[64, 15140], [[64], [15140]]])
def test_token_ids_are_refused_with_the_setting_of_the_client_that_sends_them(
    kit: Kit, tmp_path: Path, ids: list[Any]
) -> None:
    gateway = kit.gateway()
    gateway.ports = replace(gateway.ports, tokenizer=vocabulary(tmp_path))
    with serving(gateway) as url:
        answer = post(url, input=ids)
    assert (400, "input") == (answer.status_code, answer.json()["error"]["param"])
    assert "check_embedding_ctx_length=False" in answer.json()["error"]["message"]
    assert [] == kit.encoder.calls


def test_token_ids_are_read_by_the_gateways_tokenizer_where_the_policy_says_they_are_its(
    kit: Kit, tmp_path: Path
) -> None:
    gateway = kit.gateway(api={"token_ids": True})
    gateway.ports = replace(gateway.ports, tokenizer=vocabulary(tmp_path))
    with serving(gateway) as url:
        post(url, input=[WORDS["hello"], WORDS["world"]])
        post(url, input=[[WORDS["hello"]], [WORDS["world"]]])
    assert [("hello world",), ("hello", "world")] == kit.encoder.calls


def test_many_inputs_go_to_the_encoder_a_few_at_a_time(kit: Kit, client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="embedding", input=[f"text {number}" for number in range(2048)])
    assert 2048 == len(answer.data)
    assert {AT_ONCE} == {len(texts) for texts in kit.encoder.calls}
    assert 1 == len(kit.rows)


async def test_a_client_that_hangs_up_pays_for_what_was_embedded(kit: Kit, url: str) -> None:
    kit.encoder.delay = 0.2
    async with httpx.AsyncClient() as http:
        body = {"model": "embedding", "input": ["four"] * AT_ONCE * 20}
        with pytest.raises(httpx.ReadTimeout):
            await http.post(f"{url}{PATH}", json=body, headers=AUTH, timeout=0.7)
    await until(lambda: kit.rows)
    assert "hangup" == kit.rows[0].outcome
    assert AT_ONCE <= kit.rows[0].prompt_tokens < AT_ONCE * 20


def test_an_encoder_that_is_gone_is_503_and_one_that_is_late_504(kit: Kit, url: str) -> None:
    kit.encoder.error = PortError("encoder", "gone")
    assert (503, "stage_unavailable") == ((lost := post(url)).status_code, lost.json()["error"]["code"])
    slow = Kit(encoder=FakeEncoder(delay=5))
    with serving(slow.gateway(generate={"deadline": 0.2})) as other:
        assert (504, "timeout") == ((late := post(other)).status_code, late.json()["error"]["code"])
    assert ["failed", "failed"] == [row.outcome for row in (*kit.rows, *slow.rows)]


def test_a_request_sent_again_is_answered_again_and_billed_once(kit: Kit, tmp_path: Path) -> None:
    kept = Idempotency(Store(f"sqlite:///{tmp_path}/ledger.db"), Secrets("the secret of an installation for tests"))
    with serving(kit.gateway(), idempotency=kept) as url:
        headers = AUTH | {"Idempotency-Key": "order-7"}
        body = {"model": "embedding", "input": "hello"}
        first, again = (httpx.post(f"{url}{PATH}", json=body, headers=headers) for _ in range(2))
    assert (200, first.content) == (again.status_code, again.content)
    assert 1 == len(kit.rows)


def test_both_names_are_listed_and_can_be_looked_up(client: openai.OpenAI) -> None:
    assert {"embedding", "all-minilm-l6-v2"} <= {model.id for model in client.models.list()}
    assert "embedding" == client.models.retrieve("embedding").id


def test_a_chat_with_the_encoder_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="auto"):
        client.chat.completions.create(model="embedding", messages=[{"role": "user", "content": "hi"}])


def test_a_tier_of_that_name_is_refused_at_load() -> None:
    tier = {"min_complexity": 0, "pools": {"a": 1}, "price": {"input": "1", "cached_input": "1", "output": "1"}}
    with pytest.raises(ValueError, match="billed as `embedding`"):
        Kit().gateway(tiers={"embedding": tier})


def test_the_real_encoder_puts_like_meanings_together() -> None:
    with serving(Kit(encoder=MiniLMEncoder()).gateway()) as url:
        client = openai.OpenAI(api_key=KEY, base_url=f"{url}/v1", max_retries=0)
        texts = ["A cat sleeps on the sofa.", "A kitten naps on the couch.", "The central bank raised rates."]
        cat, kitten, bank = (np.array(one.embedding) for one in client.embeddings.create(
            model="all-minilm-l6-v2", input=texts
        ).data)  # fmt: skip
    assert (384,) == cat.shape
    assert cat @ kitten > 0.5
    assert cat @ bank < 0.3
