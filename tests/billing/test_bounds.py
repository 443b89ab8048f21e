"""No told count leaves its bounds, and none costs more than was reserved."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.billing.bounds import Bounds, affordable, closest
from app.billing.pricing import Price, charge, worst_case
from app.core.events import Usage

counts = st.integers(-(10**13), 10**13)
told = st.builds(Usage, counts, counts, counts, counts, st.booleans())
amounts = st.decimals(0, 1000, places=3)
prices = st.builds(Price, amounts, amounts, amounts)


@given(told, st.integers(1, 5000), st.integers(1, 5000), st.integers(0, 5000))
def test_every_count_is_within_its_bounds(usage: Usage, own: int, least: int, most: int) -> None:
    bounds = Bounds(least, least + most, most)
    used = bounds.believed(usage, own, 0)
    assert least <= used.prompt <= least + most
    assert 0 <= used.completion <= (most or 10**13)
    assert 0 <= used.cached <= used.prompt
    assert 0 <= used.reasoning <= used.completion


def test_a_count_within_its_bounds_is_believed_as_it_is() -> None:
    usage = Bounds(1, 8192, 100).believed(Usage(70, 5, 3, 2), 9, 1)
    assert (usage, usage.estimated) == (Usage(70, 5, 3, 2), False)


def test_our_own_count_stands_in_and_says_so() -> None:
    usage = Bounds(1, 8192, 100).believed(Usage(0, 5), 9, 1)
    assert (usage, usage.estimated) == (Usage(9, 5), True)


def test_text_that_came_cannot_have_had_no_tokens() -> None:
    usage = Bounds(20, 8192, 100).believed(Usage(1, 1), 30, 7)
    assert (usage, usage.estimated) == (Usage(20, 7), True)


@given(st.builds(Usage, st.integers(0, 10**9), st.integers(0, 500), st.integers(0, 10**9)), prices, st.booleans())
def test_no_usage_costs_more_than_was_reserved(usage: Usage, price: Price, batch: bool) -> None:
    reserved = worst_case(price, 1000, 500, batch=batch)
    paid = affordable(usage, price, reserved, batch=batch)
    assert charge(price, paid.prompt, paid.cached, paid.completion, batch=batch).total <= reserved
    assert paid.completion == usage.completion


def test_what_the_reservation_pays_is_not_cut() -> None:
    price = Price(Decimal(1), Decimal(1), Decimal(2))
    assert affordable(Usage(1500, 0), price, worst_case(price, 1000, 500)) == Usage(1500, 0)


@pytest.mark.parametrize(("pieces", "counted", "right"), [(20, 15, 20), (1, 250, 250), (1000, 250, 250), (3, 0, 3)])
def test_pieces_are_tokens_unless_our_count_is_far_from_it(pieces: int, counted: int, right: int) -> None:
    assert closest(pieces, counted) == right
