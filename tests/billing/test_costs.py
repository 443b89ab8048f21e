"""Cost of goods: exact, by pool, nothing for what costs nothing."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.billing.costs import CostModel, cost_of_goods
from app.billing.pricing import Price, cost
from app.config import ConfigError, parse_policy
from app.routing.catalog import ModelCatalog
from tests.kit import graph, policy

OURS = {"gpu_hour": 3.6, "gpus": 2, "input_tokens_per_second": 20_000, "output_tokens_per_second": 2_000}
UPSTREAM = {"input": 2, "cached_input": 0.5, "output": 8}

tokens = st.integers(min_value=0, max_value=10_000_000)
amounts = st.decimals(min_value=0, max_value=10_000, places=6)
rates = st.decimals(min_value=Decimal("0.001"), max_value=1_000_000, places=3)


def model(**entry: Any) -> CostModel:
    return ModelCatalog.of(graph(), policy(costs={"a": entry})).costs["a"]


def test_our_replica_costs_its_gpus_for_the_seconds_that_the_tokens_take() -> None:
    # 7.2 an hour is 0.002 a second; 40,000 tokens take 2 s to read, 6,000 take 3 s to write
    assert Decimal("0.010000000") == cost_of_goods(model(**OURS), 40_000, 0, 6_000)


def test_what_the_prefix_cache_served_takes_our_replica_no_time() -> None:
    assert Decimal("0.002000000") == cost_of_goods(model(**OURS), 40_000, 20_000, 0)


def test_one_gpu_is_meant_where_none_is_counted() -> None:
    uncounted = {name: value for name, value in OURS.items() if name != "gpus"}
    assert model(**uncounted) == model(**{**OURS, "gpus": 1})


def test_an_upstream_costs_its_prices_for_a_million_tokens() -> None:
    assert Decimal("10.500000000") == cost_of_goods(model(**UPSTREAM), 2_000_000, 1_000_000, 1_000_000)


def test_a_pool_without_an_entry_costs_nothing() -> None:
    assert Decimal(0) == cost_of_goods(ModelCatalog.of(graph(), policy()).costs.get("a"), 1000, 0, 1000)


def test_a_share_of_an_hour_that_is_no_finite_decimal_rounds_once_at_the_nano() -> None:
    third = CostModel.hosted(Decimal(1), Decimal(3), Decimal(1))  # 1 / 3600 a second
    assert Decimal("0.000092593") == cost_of_goods(third, 1, 0, 0)
    assert Decimal("0.092592593") == cost_of_goods(third, 1000, 0, 0)


def test_half_a_nano_rounds_to_the_even_one() -> None:
    half = CostModel.bought(Decimal("0.0005"), Decimal(0), Decimal(0))
    assert [Decimal(0), Decimal("2e-9")] == [cost_of_goods(half, 1, 0, 0), cost_of_goods(half, 3, 0, 0)]


@pytest.mark.parametrize("counts", [(-1, 0, 0), (0, -1, 0), (0, 0, -1)])
def test_a_negative_count_is_an_error_also_where_nothing_is_paid(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="never negative"):
        cost_of_goods(None, *counts)


@given(amounts, amounts, amounts, tokens, tokens, tokens)
def test_an_upstream_resold_at_its_own_prices_leaves_no_margin(
    read: Decimal, cached: Decimal, written: Decimal, prompt: int, served: int, completion: int
) -> None:
    sold = cost(Price(read, cached, written), prompt, served, completion)
    assert sold == cost_of_goods(CostModel.bought(read, cached, written), prompt, served, completion)


@given(amounts, rates, rates, rates, tokens, tokens, tokens)
def test_the_goods_of_a_replica_are_within_half_a_nano_of_the_exact_ones(
    hour: Decimal, reads: Decimal, writes: Decimal, gpus: Decimal, prompt: int, served: int, completion: int
) -> None:
    seconds = Fraction(max(0, prompt - served)) / Fraction(reads) + Fraction(completion) / Fraction(writes)
    exact = seconds * Fraction(hour) * Fraction(gpus) / 3600
    rounded = Fraction(cost_of_goods(CostModel.hosted(hour, reads, writes, gpus), prompt, served, completion))
    assert abs(rounded - exact) <= Fraction(1, 2 * 10**9)


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"gpu_hour": 1, "input_tokens_per_second": 1},
        {"input": 1, "output": 1},
        {**UPSTREAM, "gpus": 2},
        {**OURS, **UPSTREAM},
    ],
)
def test_goods_that_are_neither_ours_nor_an_upstreams_are_refused_with_both_ways(entry: dict[str, Any]) -> None:
    message = (
        "costs.a: write gpu_hour, input_tokens_per_second, output_tokens_per_second (and gpus) for replicas of ours, "
        "or cached_input, input, output for an upstream"
    )
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_policy({**policy().model_dump(mode="json"), "costs": {"a": entry}})


def test_goods_survive_the_way_through_json() -> None:
    before = policy(costs={"a": OURS, "b": UPSTREAM})
    assert before == parse_policy(before.model_dump(mode="json"))
