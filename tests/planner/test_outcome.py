"""Money and sizes: what is billed is what billing bills, and a size is the smallest that does."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from app.billing.pricing import Price, charge
from app.planner.fleet import Size
from app.planner.outcome import JUDGE_LOAD, outcome, revenue_of, times
from app.planner.scenario import PoolPlan
from app.planner.simulate import simulate
from app.planner.sizing import sized
from app.planner.trace import DAY_S, Arrival, load, synthetic
from tests.planner.kit import SURE, gpu_scenario, graph, poisson, pool, profile


def test_revenue_is_what_billing_would_charge() -> None:
    plan = gpu_scenario(cache_hits=0.3)
    prices = {tier.name: Price(*(Decimal(str(part)) for part in tier.price)) for tier in plan.tiers}
    rows = simulate(plan, synthetic(400, 3)).rows
    assert {"answered", "cached"} == {row.how for row in rows}
    for row in rows:
        billed = charge(
            prices[row.tier], row.prompt_tokens, row.cached_tokens, row.output_tokens, hit=row.how == "cached"
        )
        assert pytest.approx(float(billed.total), abs=2e-9) == revenue_of(row, plan)


def test_a_fleet_costs_what_it_holds_whether_it_works_or_not() -> None:
    trace = synthetic(200, 3, calls_per_second=2.0)
    for count in (2, 6):
        fleet = graph(pool(size=Size(count), gpu_hour=2.0, profile=profile(gpus=4.0)))
        found = outcome(simulate(fleet, trace))
        assert pytest.approx(count * 4 * 2.0 * 24) == found.money.gpus
        assert pytest.approx(count * 4) == found.gpus


def test_an_upstream_costs_its_tokens() -> None:
    bought = graph(PoolPlan("up", 100_000, bought=(1.0, 0.5, 2.0)))
    trace = [Arrival(float(n), 1000, 500) for n in range(10)]
    found = outcome(simulate(bought, trace))
    a_day = 10 * DAY_S / load(trace).span_s
    assert pytest.approx(a_day * (1000 * 1.0 + 500 * 2.0) / 1e6) == found.money.upstream
    assert 0 == found.money.gpus


def test_refused_and_failed_calls_bring_no_revenue() -> None:
    trace = [Arrival(0.0, 100, 10)] * 10
    found = outcome(simulate(graph(max_in_flight=0), trace))
    assert (10, 0.0, 0.0) == (found.shed, found.money.revenue, found.goodput)


def test_more_hits_never_raise_the_cost() -> None:
    trace = synthetic(1500, 3, calls_per_second=6.0)
    cost = [sized(gpu_scenario(cache_hits=hits), trace).outcome.money.cost for hits in (0.0, 0.3, 0.6, 0.95)]
    assert sorted(cost, reverse=True) == cost
    assert cost[-1] < cost[0]


def test_a_size_keeps_the_service_level_and_one_replica_less_does_not() -> None:
    trace = poisson(800, 20.0, prompt=200, output=20)
    fit = sized(graph(pool(size=Size(1, max_ongoing=1000))), trace)
    assert fit.met
    assert fit.outcome.good >= 0.95
    fewer = simulate(graph().fixed({"a": fit.replicas["a"] - 1}), trace)
    assert outcome(fewer).good < 0.95


def test_a_service_level_that_no_size_keeps_is_said_and_not_bought() -> None:
    slow = graph(assumed=replace(SURE, target_gap_s=0.005))
    fit = sized(slow, poisson(200, 2.0, output=20))
    assert not fit.met
    assert fit.replicas["a"] <= 2


def test_a_pool_without_calls_gets_no_replica() -> None:
    fit = sized(gpu_scenario(routing=False), synthetic(300, 1))
    assert 0 == fit.replicas["mistral-7b"] == fit.replicas["mistral-small-24b"]
    assert fit.replicas["llama-70b"] >= 1


def test_first_tokens_that_come_late_grow_what_reads_and_slow_ones_what_writes() -> None:
    split = graph(pool(size=Size(1, max_ongoing=1000), prefill=Size(1, max_ongoing=1000)))
    reading = sized(split, poisson(400, 10.0, prompt=400, output=2)).replicas
    assert reading["a/prefill"] > reading["a"]


def test_equal_installations_side_by_side_multiply_all_but_the_latency() -> None:
    one = outcome(simulate(gpu_scenario(), synthetic(300, 1)))
    five = times(one, 5)
    assert pytest.approx(5 * one.money.cost) == five.money.cost
    assert pytest.approx(5 * one.gpus) == five.gpus
    assert (one.first_s, one.money.cost_per_million) == (five.first_s, five.money.cost_per_million)


def test_judges_are_given_room_to_breathe() -> None:
    found = outcome(simulate(gpu_scenario(), synthetic(1500, 1)))
    for judge in found.judges.values():
        assert judge.busy <= judge.needed * JUDGE_LOAD + 1e-9
