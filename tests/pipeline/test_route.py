"""The route stage: what decides beside the score, and what it tells of its decision."""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import Any

import httpx
import pytest

from app.config import ConfigError, parse_policy
from app.core.events import Message, Prompt, Token
from app.core.ports import PortError
from app.testing.fakes import FakeEncoder, FakeLedger
from tests.kit import KEY, PRICE, WHO, Kit, ask, collect, policy, run, serving

TIERS = {
    name: {"min_complexity": above, "pools": {"a": 1}, "price": {"input": 1, "cached_input": 1, "output": 1}}
    for name, above in (("small", 0), ("medium", 0.3), ("large", 0.7))
}
EASY, HARD = "and now?", " ".join(["word"] * 90)
STAGES = ["admit", "route", "generate", "settle"]


def kit_gateway(kit: Kit | None = None, **route: Any) -> Any:
    return (kit or Kit()).gateway(stages=STAGES, tiers=TIERS, route=route)


def talk(*texts: str, model: str = "auto") -> Prompt:
    """A conversation whose last turn is the user's."""
    roles = ("user", "assistant")
    return Prompt(tuple(Message(roles[at % 2], text) for at, text in enumerate(texts)), model)


async def decided(gateway: Any, prompt: Prompt) -> tuple[str | None, Any]:
    call, _ = await run(gateway, prompt)
    return call.tier, call.trail["route"].get("by")


@pytest.mark.parametrize(
    ("trait", "params"),
    [
        ("tools", {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}),
        ("json_schema", {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}}),
        ("json_schema", {"structured_outputs": {"json": {"type": "object"}}}),
    ],
)
async def test_a_trait_raises_an_easy_prompt_to_its_tier(trait: str, params: dict[str, Any]) -> None:
    gateway = kit_gateway(min_tier={trait: "medium"})
    assert await decided(gateway, ask(EASY, **params)) == ("medium", trait)
    assert await decided(gateway, ask(EASY + "?")) == ("small", "score")


async def test_a_long_prompt_takes_at_least_its_tier_though_its_question_is_short() -> None:
    gateway = kit_gateway(min_tier={"long_context": "large"}, long_context=200)
    assert await decided(gateway, ask(EASY, system="lorem ipsum " * 200)) == ("large", "long_context")


async def test_a_rule_never_lowers_what_the_score_asks_for() -> None:
    gateway = kit_gateway(min_tier={"tools": "medium"})
    prompt = ask(HARD, tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}])
    assert await decided(gateway, prompt) == ("large", "score")


async def test_a_pinned_tier_overrules_rules_and_score() -> None:
    gateway = kit_gateway(min_tier={"tools": "large"})
    prompt = ask(HARD, model="small", tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}])
    assert await decided(gateway, prompt) == ("small", None)


async def test_a_conversation_takes_no_weaker_tier_than_before() -> None:
    gateway = kit_gateway()
    assert await decided(gateway, talk(HARD)) == ("large", "score")
    assert await decided(gateway, talk(HARD, "an answer", EASY)) == ("large", "conversation")
    assert await decided(gateway, talk(HARD, "an answer", EASY, "another", EASY)) == ("large", "conversation")


async def test_a_tool_loop_stays_on_its_tier() -> None:
    gateway = kit_gateway()
    await decided(gateway, talk(HARD, "an answer", EASY))
    called = {"tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}
    loop = (*talk(HARD, "an answer", EASY).messages, Message("assistant", "", called), Message("tool", "42"))
    assert await decided(gateway, Prompt(loop)) == ("large", "conversation")


async def test_another_gateway_scores_the_last_turn_of_a_conversation_it_has_not_seen() -> None:
    assert await decided(kit_gateway(), talk(HARD, "an answer", EASY)) == ("large", "conversation")


async def test_another_tenants_equal_conversation_is_another_one() -> None:
    from dataclasses import replace

    gateway = kit_gateway()
    first = talk(EASY, "an answer", HARD)
    await decided(gateway, first)
    call, events = gateway.open(replace(WHO, tenant="other"), Prompt((*first.messages[:2], Message("user", "ok"))))
    await collect(events)
    assert call.tier == "small"


async def test_sticky_0_scores_every_turn_by_itself() -> None:
    gateway = kit_gateway(sticky=0)
    await decided(gateway, talk(HARD))
    assert await decided(gateway, talk(HARD, "an answer", EASY)) == ("small", "score")


class FailsForAnother(FakeEncoder):
    """Dies of every text but one."""

    async def encode(self, texts: Any) -> Any:
        if list(texts) != [EASY]:
            raise PortError("encoder", "gone")
        return await super().encode(texts)


async def test_an_earlier_turn_that_cannot_be_scored_does_not_fail_the_call() -> None:
    gateway = kit_gateway(Kit(encoder=FailsForAnother()))
    assert await decided(gateway, talk(HARD, "an answer", EASY)) == ("small", "score")


async def test_shares_that_leave_their_target_are_told_once_and_again_when_they_are_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "app.pipeline.stages.route")
    kit = Kit()
    drift = {"shares": {"small": 0.9, "medium": 0.07, "large": 0.03}, "margin": 0.2, "window": 20}
    gateway = kit_gateway(kit, drift=drift)
    for _ in range(60):
        await decided(gateway, ask(HARD))
    exported, _ = kit.metrics.export()
    assert b"penstock_route_drift 0.9" in exported
    assert b'penstock_routes_total{by="score",tier="large"} 60.0' in exported
    for _ in range(120):
        await decided(gateway, ask(EASY))
    assert b"penstock_route_drift 0.0" in kit.metrics.export()[0]
    told = [record.getMessage() for record in caplog.records if "routing" in record.getMessage()]
    assert ["routing drifts", "routing is back on target"] == [text.split(":")[0] for text in told]


def test_the_decision_stands_in_a_header() -> None:
    with serving(kit_gateway()) as url:
        body = {"model": "auto", "messages": [{"role": "user", "content": EASY}]}
        answer = httpx.post(f"{url}/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {KEY}"})
        assert answer.headers["x-penstock-route"] == "score=0.02; above=0; by=score"
        pinned = httpx.post(
            f"{url}/v1/chat/completions", json=body | {"model": "small"}, headers={"Authorization": f"Bearer {KEY}"}
        )
        assert "x-penstock-route" not in pinned.headers


@pytest.mark.parametrize(
    ("route", "fault"),
    [
        ({"min_tier": {"tools": "huge"}}, "route.min_tier.tools: `huge` is not known: choose"),
        ({"min_tier": {"images": "small"}}, "min_tier"),
        ({"drift": {"shares": {"tiny": 1.0}}}, "route.drift.shares: `tiny` is not known: choose"),
        ({"drift": {"shares": {"small": 0.5}}}, "they add up to 0.5"),
    ],
)
def test_a_rule_for_what_there_is_not_is_refused(route: dict[str, Any], fault: str) -> None:
    document = policy().model_dump(mode="json", exclude_none=True) | {"route": route}
    with pytest.raises(ConfigError, match=fault):
        parse_policy(document)


async def test_a_routed_call_holds_no_more_than_its_tier_can_cost() -> None:
    kit = Kit(ledger=FakeLedger({"acme": Decimal(1)}))
    dear = {"input": "100", "cached_input": "100", "output": "200"}
    tiers = {
        "small": {"min_complexity": 0, "pools": {"a": 1}, "price": PRICE},
        "large": {"min_complexity": 0.5, "pools": {"b": 1}, "price": dear},
    }
    call, events = kit.gateway(tiers=tiers).open(WHO, ask("hi"))
    async for event in events:
        if isinstance(event, Token):
            break
    assert (call.tier, call.reservation and call.reservation.cost < Decimal("0.01")) == ("small", True)
    assert kit.ledger.balances["acme"] > Decimal("0.99")
    await events.aclose()
