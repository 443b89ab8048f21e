"""Pricing: exact decimals, the cached part cheaper, never above the worst case."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rules.pricing import NANO, Price, cost, worst_case

PRICE = Price(input=Decimal("0.15"), cached_input=Decimal("0.075"), output=Decimal("0.60"))

money = st.decimals(min_value=0, max_value=10_000, places=6, allow_nan=False, allow_infinity=False)
tokens = st.integers(min_value=0, max_value=10_000_000)


@st.composite
def prices(draw: st.DrawFn) -> Price:
    return Price(draw(money), draw(money), draw(money), draw(st.decimals(min_value=0, max_value=1, places=4)))


def test_a_million_tokens_of_each_kind_cost_the_three_prices() -> None:
    assert Decimal("0.825") == cost(PRICE, 2_000_000, 1_000_000, 1_000_000)


def test_a_call_is_billed_to_the_nano_unit() -> None:
    # 990 x 0.15 + 10 x 0.075 + 7 x 0.60 = 153.45 per million
    assert Decimal("0.000153450") == cost(PRICE, 1000, 10, 7)


def test_half_a_nano_rounds_to_the_even_one() -> None:
    half = Price(Decimal("0.0005"), Decimal(0), Decimal("0.001"))
    assert Decimal("0E-9") == cost(half, 1, 0, 0)  # 0.5 nano
    assert Decimal("2E-9") == cost(half, 3, 0, 0)  # 1.5 nano


def test_a_cache_hit_costs_its_share_of_the_full_price_whatever_was_cached() -> None:
    assert Decimal("0.000021000") == cost(PRICE, 1000, 1000, 100, hit=True)


def test_more_cached_tokens_than_prompt_tokens_count_as_the_whole_prompt() -> None:
    assert cost(PRICE, 10, 10, 0) == cost(PRICE, 10, 99, 0)


def test_money_has_exactly_nine_places() -> None:
    assert cost(PRICE, 0, 0, 0).as_tuple().exponent == -9


@pytest.mark.parametrize("counts", [(-1, 0, 0), (0, -1, 0), (0, 0, -1)])
def test_a_negative_count_is_an_error(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="never negative"):
        cost(PRICE, *counts)


@pytest.mark.parametrize("wrong", [Decimal(-1), Decimal("NaN"), Decimal("Infinity")])
def test_a_price_that_is_no_amount_is_refused_by_name(wrong: Decimal) -> None:
    with pytest.raises(ValueError, match=r"price\.output"):
        Price(Decimal(1), Decimal(1), wrong)


def test_a_hit_dearer_than_a_generation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"price\.hit"):
        Price(Decimal(1), Decimal(1), Decimal(1), hit=Decimal("1.1"))


@given(prices(), tokens, tokens, tokens, tokens, st.booleans())
def test_no_call_costs_more_than_its_worst_case(
    price: Price, prompt: int, cached: int, completion: int, unused: int, hit: bool
) -> None:
    assert cost(price, prompt, cached, completion, hit=hit) <= worst_case(price, prompt, completion + unused)


@given(prices(), tokens, tokens, tokens)
def test_the_rounded_cost_is_within_half_a_nano_of_the_exact_one(
    price: Price, prompt: int, cached: int, completion: int
) -> None:
    served = min(cached, prompt)
    exact = (prompt - served) * price.input + served * price.cached_input + completion * price.output
    assert abs(cost(price, prompt, cached, completion) * 1_000_000 - exact) <= NANO * 1_000_000 / 2
