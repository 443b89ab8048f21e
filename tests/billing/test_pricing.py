"""Pricing: exact decimals, the cached part cheaper, never above the worst case; and whose price list holds."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.billing.pricing import FREE, NANO, Charge, Price, PriceBook, PriceList, charge, cost, worst_case
from app.config import ConfigError, parse_policy
from app.routing.catalog import ModelCatalog
from tests.kit import graph, policy

PRICE = Price(input=Decimal("0.15"), cached_input=Decimal("0.075"), output=Decimal("0.60"))

money = st.decimals(min_value=0, max_value=10_000, places=6, allow_nan=False, allow_infinity=False)
tokens = st.integers(min_value=0, max_value=10_000_000)


@st.composite
def prices(draw: st.DrawFn) -> Price:
    hit = draw(st.decimals(min_value=0, max_value=1, places=4))
    batch = draw(st.decimals(min_value=Decimal("0.0001"), max_value=1, places=4))
    return Price(draw(money), draw(money), draw(money), hit, batch)


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


@pytest.mark.parametrize("wrong", [Decimal(0), Decimal("1.01")])
def test_a_batch_that_is_free_or_dearer_than_single_calls_is_refused(wrong: Decimal) -> None:
    with pytest.raises(ValueError, match=r"price\.batch"):
        replace(PRICE, batch=wrong)


@pytest.mark.parametrize("wrong", [Decimal(-1), Decimal("NaN"), Decimal("Infinity")])
def test_a_price_that_is_no_amount_is_refused_by_name(wrong: Decimal) -> None:
    with pytest.raises(ValueError, match=r"price\.output"):
        Price(Decimal(1), Decimal(1), wrong)


def test_a_hit_dearer_than_a_generation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"price\.hit"):
        Price(Decimal(1), Decimal(1), Decimal(1), hit=Decimal("1.1"))


def test_a_batch_call_costs_its_share_of_every_part() -> None:
    half = Charge(Decimal("0.075000000"), Decimal("0.037500000"), Decimal("0.300000000"))
    assert half == charge(PRICE, 2_000_000, 1_000_000, 1_000_000, batch=True)


def test_a_hit_in_a_batch_costs_both_shares() -> None:
    assert Decimal("0.000010500") == cost(PRICE, 1000, 0, 100, hit=True, batch=True)


def test_a_part_without_tokens_costs_nothing_however_the_others_round() -> None:
    odd = Price(Decimal("0.0006"), Decimal("0.0006"), Decimal("0.0006"))
    assert Charge(NANO, Decimal("0E-9"), Decimal("0E-9")) == charge(odd, 1, 0, 1)  # 0.6 + 0.6 nano make 1.2


@given(prices(), tokens, tokens, tokens, st.booleans(), st.booleans())
def test_the_parts_sum_to_the_bill_and_none_is_negative(
    price: Price, prompt: int, cached: int, completion: int, hit: bool, batch: bool
) -> None:
    parts = charge(price, prompt, cached, completion, hit=hit, batch=batch)
    assert parts.input + parts.cached + parts.output == parts.total
    assert parts.total == cost(price, prompt, cached, completion, hit=hit, batch=batch)
    assert min(parts.input, parts.cached, parts.output) >= 0


@given(prices(), tokens, tokens, tokens)
def test_each_part_is_within_a_nano_of_its_exact_cost(price: Price, prompt: int, cached: int, completion: int) -> None:
    served = min(cached, prompt)
    exact = ((prompt - served) * price.input, served * price.cached_input, completion * price.output)
    parts = charge(price, prompt, cached, completion)
    billed = (parts.input, parts.cached, parts.output)
    assert all(abs(a * 1_000_000 - b) <= NANO * 1_000_000 for a, b in zip(billed, exact, strict=True))


@given(prices(), tokens, tokens, tokens, tokens, st.booleans(), st.booleans())
def test_no_call_costs_more_than_its_worst_case(
    price: Price, prompt: int, cached: int, completion: int, unused: int, hit: bool, batch: bool
) -> None:
    spent = charge(price, prompt, cached, completion, hit=hit, batch=batch).total
    assert spent <= worst_case(price, prompt, completion + unused, batch=batch)
    assert spent <= worst_case(price, prompt, completion + unused)


@given(prices(), tokens, tokens, tokens, st.booleans(), st.booleans())
def test_the_rounded_cost_is_within_half_a_nano_of_the_exact_one(
    price: Price, prompt: int, cached: int, completion: int, hit: bool, batch: bool
) -> None:
    served = 0 if hit else min(cached, prompt)
    share = (price.hit if hit else 1) * (price.batch if batch else Decimal(1))
    exact = (prompt - served) * price.input + served * price.cached_input + completion * price.output
    spent = cost(price, prompt, cached, completion, hit=hit, batch=batch)
    assert abs(spent * 1_000_000 - exact * share) <= NANO * 1_000_000 / 2


# -- price lists -----------------------------------------------------------------------------------

DEAR = {"input": "9", "cached_input": "9", "output": "9"}
CHEAP = {"input": "0.4", "cached_input": "0.2", "output": "0.8"}


def catalog(**changes: Any) -> ModelCatalog:
    """Tier `small` is served by model-a, `large` by model-b, both at the kit's price."""
    return ModelCatalog.of(graph(), policy(**changes))


def test_a_contract_sets_the_tiers_it_names_and_leaves_the_others_standard() -> None:
    book = catalog(price_lists={"acme": {"large": CHEAP}}).prices
    assert Decimal("0.4") == book.price("acme", "large").input
    assert book.price(None, "small") == book.price("acme", "small")
    assert Decimal(1) == book.price(None, "large").input


def test_a_model_may_be_priced_apart_from_its_tier() -> None:
    book = catalog(model_prices={"model-b": DEAR}).prices
    assert Decimal(9) == book.price(None, "large", "model-b").input
    assert Decimal(1) == book.price(None, "large", "model-a").input
    assert Decimal(1) == book.price(None, "large").input


def test_a_call_that_overflowed_pays_the_tier_it_was_promised() -> None:
    assert Decimal(1) == catalog(model_prices={"model-b": DEAR}).prices.price(None, "small", "model-b").input


def test_a_contracts_tier_price_holds_for_a_model_that_is_priced_apart() -> None:
    book = catalog(model_prices={"model-b": DEAR}, price_lists={"acme": {"large": CHEAP}}).prices
    assert Decimal("0.4") == book.price("acme", "large", "model-b").input
    assert [Decimal("0.4")] == [price.input for price in book.worst("acme", ["large"])]


def test_a_call_without_a_tier_or_of_one_no_longer_offered_is_free() -> None:
    book = catalog().prices
    assert [FREE, FREE] == [book.price(None, None), book.price(None, "gone")]


def test_the_worst_cases_are_the_tiers_and_their_models_own_prices() -> None:
    book = catalog(model_prices={"model-b": DEAR}).prices
    assert [1] == [price.input for price in book.worst(None, ["small"])]
    assert [1, 9] == [price.input for price in book.worst(None, ["large"])]
    assert [] == book.worst(None, [])


names = st.sampled_from(["s", "m", "l"])
models = st.sampled_from(["x", "y"])
lists = st.builds(
    PriceList,
    st.just("std"),
    st.dictionaries(names, prices(), min_size=1),
    st.dictionaries(st.tuples(names, models), prices()),
)


@given(lists, st.dictionaries(names, prices()), st.sets(names), names, models | st.none())
def test_whatever_a_call_ends_at_was_among_its_worst_cases(
    standard: PriceList, own: dict[str, Price], asked: set[str], tier: str, model: str | None
) -> None:
    book = PriceBook(standard, {"acme": own})
    for name in (None, "acme", "gone"):
        priced = tier in standard.tiers or (tier, model) in standard.apart or (name == "acme" and tier in own)
        known = book.worst(name, {tier, *asked}) if priced else [FREE]
        assert book.price(name, tier, model) in known


def test_a_usage_row_names_the_list_and_the_hash_of_its_prices() -> None:
    book = catalog(price_list="eu-2", price_lists={"acme": {"large": CHEAP}}).prices
    assert re.fullmatch(r"eu-2@[0-9a-f]{8}", book.version(None))
    assert re.fullmatch(r"acme@[0-9a-f]{8}", book.version("acme"))
    assert book.version(None) == book.version("eu-2")
    assert book.version("acme")[-8:] != book.version(None)[-8:]


def test_a_list_that_left_the_config_falls_back_to_the_standard_one_and_says_so() -> None:
    book = catalog().prices
    assert f"{book.version(None)} instead of gold" == book.version("gold")
    assert book.price(None, "large") == book.price("gold", "large")


@pytest.mark.parametrize("part", ["input", "cached_input", "output", "hit", "batch"])
def test_any_changed_price_is_another_version_of_its_list(part: str) -> None:
    changed = catalog(model_prices={"model-b": {**CHEAP, part: "0.3"}}).prices.version(None)
    assert catalog(model_prices={"model-b": CHEAP}).prices.version(None) != changed


def test_a_standard_price_that_a_contract_leaves_alone_is_part_of_the_contracts_version() -> None:
    before = catalog(price_lists={"acme": {"large": CHEAP}})
    tiers = {**policy().model_dump()["tiers"], "small": {"min_complexity": 0, "pools": {"a": 1}, "price": DEAR}}
    after = catalog(price_lists={"acme": {"large": CHEAP}}, tiers=tiers)
    assert before.prices.version("acme") != after.prices.version("acme")


def test_the_same_price_written_otherwise_is_the_same_version() -> None:
    longer = {name: f"{value}00" for name, value in CHEAP.items()}
    assert catalog(model_prices={"model-b": CHEAP}).prices.version(None) == catalog(
        model_prices={"model-b": longer}
    ).prices.version(None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"price_lists": {"acme": {"huge": CHEAP}}},
            "price_lists.acme: `huge` is not known: choose from embedding, large, moderation, small",
        ),
        ({"price_lists": {"default": {}}}, "price_lists.default: that is the standard list"),
        ({"model_prices": {"m": {**CHEAP, "batch": 0}}}, "model_prices.m.batch: Input should be greater than 0"),
    ],
)
def test_price_lists_that_cannot_hold_are_refused_with_the_key(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_policy({**policy().model_dump(mode="json"), **changes})
