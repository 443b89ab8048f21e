"""What a key's terms let a call do: models, sizes, regions, price lists, limits of a tier, kept contents."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from app.core.events import Failure, Prompt, Refusal
from app.core.ports import Limit, Principal
from app.pipeline.gateway import Gateway
from app.testing.fakes import FakeComplexity, FakeLedger
from tests.kit import KEY, PRICE, WHO, Kit, ask, collect, graph, text_of


async def refused(kit: Kit, who: Principal, prompt: Prompt, **policy: Any) -> Refusal:
    """Ask as `who`; the refusal that must come."""
    kit.authenticator.keys[KEY] = who
    _, events = kit.gateway(**policy).open(who, prompt)
    (refusal,) = await collect(events)
    assert isinstance(refusal, Refusal)
    return refusal


async def answered(gateway: Gateway, who: Principal, prompt: Prompt) -> Any:
    call, events = gateway.open(who, prompt)
    seen = await collect(events)
    assert not [event for event in seen if isinstance(event, Refusal | Failure)]
    assert text_of(seen)
    return call


async def test_a_key_may_ask_only_for_the_models_of_its_terms() -> None:
    kit = Kit()
    who = replace(WHO, models=frozenset({"small"}))
    refusal = await refused(kit, who, ask("hi", model="large"))
    assert (403, "model_not_found", "model") == (refusal.error.status, refusal.error.code, refusal.error.param)
    assert "small" in refusal.error.message
    await answered(kit.gateway(), who, ask("hi", model="small"))


async def test_output_tokens_above_the_terms_are_refused_and_unsaid_ones_are_capped() -> None:
    kit = Kit()
    who = replace(WHO, max_output_tokens=3)
    refusal = await refused(kit, who, ask("hi", max_tokens=4))
    assert (400, "max_tokens") == (refusal.error.status, refusal.error.param)
    await answered(kit.gateway(), who, ask("one two three four five six"))
    assert 3 == kit.engines["a"].requests[-1].params["max_tokens"]


async def test_a_prompt_above_the_terms_context_length_is_refused_before_anything_is_reserved() -> None:
    kit = Kit()
    refusal = await refused(kit, replace(WHO, context_length=5), ask("many words " * 20))
    assert "context_length_exceeded" == refusal.error.code
    assert kit.ledger.held == {}


async def test_a_call_is_answered_only_where_the_tenants_data_may_go() -> None:
    kit = Kit()
    pools = {name: {"kind": "fake", "model_id": f"model-{name}", "region": where} for name, where in
             (("a", "us"), ("b", "eu"))}  # fmt: skip
    gateway = Gateway(graph(pools=pools), kit.gateway().ports)
    gateway.apply(kit.gateway().policy)
    resident = replace(WHO, regions=frozenset({"eu"}))
    call = await answered(gateway, resident, ask("hi", model="auto"))  # small is in the us, so it overflows
    assert ("b", "eu") == (call.pool, call.region)
    _, events = gateway.open(resident, ask("hi", model="small"))
    (refusal,) = await collect(events)
    assert isinstance(refusal, Refusal)
    assert (403, "region_not_allowed") == (refusal.error.status, refusal.error.code)


async def test_a_tenants_price_list_is_what_it_is_billed_at_and_every_row_names_its_version() -> None:
    kit = Kit()
    gateway = kit.gateway(price_lists={"contract": {"small": {**PRICE, "output": "20"}}})
    plain = await answered(gateway, WHO, ask("hi"))
    special = await answered(gateway, replace(WHO, price_list="contract", tenant="globex"), ask("hi"))
    one, two = kit.rows
    assert one.completion_tokens == two.completion_tokens > 0
    assert one.output_cost * 10 == two.output_cost
    assert (one.cost, two.cost) == (Decimal(plain.cost), Decimal(special.cost))
    assert one.cost == one.input_cost + one.cached_cost + one.output_cost
    assert ("default@", "contract@") == (one.price_list[:8], two.price_list[:9])


async def test_a_row_tells_the_model_that_answered_and_what_it_cost_us() -> None:
    kit = Kit()
    goods = {"a": {"input": "1", "cached_input": "1", "output": "1"}}
    await answered(kit.gateway(costs=goods), WHO, ask("hi"))
    (row,) = kit.rows
    assert "model-a" == row.model_id
    assert Decimal(row.prompt_tokens + row.completion_tokens) / 1_000_000 == row.goods


async def test_auto_takes_the_next_cheaper_tier_when_the_limit_of_the_right_one_is_reached() -> None:
    kit = Kit(complexity=FakeComplexity(full=2))
    who = replace(WHO, limits=(Limit("key:key_1", "requests", "day", 1, model="large"),))
    gateway = kit.gateway()
    first = await answered(gateway, who, ask("hard one"))
    second = await answered(gateway, who, ask("another hard one"))
    assert ("large", "small") == (first.tier, second.tier)


async def test_a_tier_asked_for_by_name_is_refused_at_its_limit() -> None:
    kit = Kit()
    who = replace(WHO, limits=(Limit("tenant:acme", "requests", "day", 1, model="large"),))
    await answered(kit.gateway(), who, ask("hi", model="large"))
    refusal = await refused(kit, who, ask("hi", model="large"))
    assert (429, "rate_limit_exceeded") == (refusal.error.status, refusal.error.code)
    assert "requests per day of this tenant and `large`" in refusal.error.message
    assert (refusal.error.retry_after or 0) > 1


async def test_a_request_larger_than_its_limit_ever_holds_is_told_not_to_retry() -> None:
    kit = Kit()
    who = replace(WHO, limits=(Limit("key:key_1", "tokens", "minute", 10),))
    refusal = await refused(kit, who, ask("hi", max_tokens=50))
    assert 429 == refusal.error.status
    assert "too large" in refusal.error.message
    assert {"x-should-retry": "false"} == refusal.error.headers


async def test_a_budget_that_is_spent_names_whose_it_is_and_is_not_retried() -> None:
    kit = Kit(ledger=FakeLedger(balances={"acme": Decimal(0)}))
    refusal = await refused(kit, WHO, ask("hi"))
    assert (429, "insufficient_quota") == (refusal.error.status, refusal.error.code)
    assert "its tenant" in refusal.error.message
    assert "false" == refusal.error.headers["x-should-retry"]


@pytest.mark.parametrize("keeps", [True, False])
async def test_contents_are_kept_for_the_tenants_that_want_it_and_for_no_other(keeps: bool) -> None:
    kit = Kit()
    call = await answered(kit.gateway(), replace(WHO, keeps_content=keeps), ask("Hello there"))
    if not keeps:
        assert {} == kit.contents.kept
        return
    body = json.loads(kit.contents.kept[call.id])
    assert {"messages": [{"role": "user", "content": "Hello there"}], "answer": "You said: Hello there"} == body


async def test_the_policy_tells_the_ledger_what_to_watch_and_how_long_a_call_may_take() -> None:
    kit = Kit()
    kit.gateway(alerts={"budget_percents": [90], "breaker": {"multiple": 3}}, generate={"deadline": 30})
    assert kit.ledger.watched is not None
    abuse_policy, hold = kit.ledger.watched
    assert ((90,), 3) == (abuse_policy.alerts, abuse_policy.breaker_multiple)
    assert hold > 30
