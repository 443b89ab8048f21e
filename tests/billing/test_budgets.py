"""Budgets' periods, alerts and the spend breaker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.billing.budgets import Pace, crossed, period_start

NOW = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC
WINDOW, NORM = 300.0, 604_800.0
STILL = Pace(0.0, 0.0, 0.0)
moments = st.datetimes(datetime(2001, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC)).map(datetime.timestamp)  # noqa: DTZ001


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


# -- periods ---------------------------------------------------------------------------------------


def test_a_total_began_with_time() -> None:
    assert period_start("total", NOW) == 0.0


def test_a_day_begins_at_midnight_utc() -> None:
    assert at("2023-11-14") == period_start("day", NOW)


def test_a_month_begins_with_its_first_day_utc() -> None:
    assert at("2023-11-01") == period_start("month", NOW)


def test_the_last_moment_of_a_leap_day_is_still_february() -> None:
    assert at("2024-02-01") == period_start("month", at("2024-02-29T23:59:59.999999"))
    assert at("2024-03-01") == period_start("month", at("2024-03-01"))


@given(moments, st.sampled_from(["day", "month"]))
def test_a_period_began_before_now_and_began_when_it_began(now: float, period: str) -> None:
    start = period_start(period, now)
    assert start <= now
    assert start == period_start(period, start)
    longest = timedelta(days=1 if period == "day" else 31).total_seconds()
    assert now - start < longest


@given(moments, moments, st.sampled_from(["day", "month"]))
def test_periods_follow_each_other_as_time_does(one: float, other: float, period: str) -> None:
    earlier, later = sorted((one, other))
    assert period_start(period, earlier) <= period_start(period, later)


# -- alerts ----------------------------------------------------------------------------------------


def test_nothing_is_told_below_the_first_percentage() -> None:
    assert crossed(499, 1000, 0, (50, 80, 100)) == []


def test_a_percentage_is_reached_to_the_nano() -> None:
    assert crossed(500, 1000, 0, (50, 80, 100)) == [50]


def test_a_jump_over_two_tells_of_both_the_lower_first() -> None:
    assert crossed(900, 1000, 0, (100, 80, 50)) == [50, 80]


def test_what_was_told_is_not_told_again() -> None:
    assert crossed(1000, 1000, 80, (50, 80, 100)) == [100]
    assert crossed(5000, 1000, 100, (50, 80, 100)) == []


def test_a_budget_of_nothing_has_no_percentages() -> None:
    assert crossed(1, 0, 0, (50,)) == []


@given(st.lists(st.integers(0, 400), max_size=30), st.integers(1, 2000))
def test_whatever_the_steps_each_percentage_is_told_once_and_only_when_reached(costs: list[int], budget: int) -> None:
    spent, highest, told = 0, 0, []
    for cost in costs:
        spent += cost
        for percent in crossed(spent, budget, highest, (50, 80, 100)):
            told.append(percent)
            highest = percent
    assert [percent for percent in (50, 80, 100) if spent * 100 >= budget * percent] == told


# -- the breaker -----------------------------------------------------------------------------------


def steady(pace: Pace, rate: float, seconds: int, step: int = 60) -> Pace:
    """`rate` nano a second, from `pace.rated` on."""
    for _ in range(seconds // step):
        pace = pace.after(int(rate * step), pace.rated + step, WINDOW, NORM)
    return pace


def runs_away(pace: Pace, cost: int, *, floor: float = 1.0, after: float = 0.0) -> bool:
    before = pace.after(0, pace.rated + after, WINDOW, NORM)
    spent = before.after(cost, before.rated, WINDOW, NORM)
    return spent.runs_away(before, 10, floor, WINDOW, NORM)


def test_a_sum_fades_to_a_third_within_its_window() -> None:
    pace = STILL.after(1000, NOW, WINDOW, NORM).after(0, NOW + WINDOW, WINDOW, NORM)
    assert pace.fast == pytest.approx(367.9, abs=0.1)
    assert pace.norm == pytest.approx(999.5, abs=0.1)


def test_steady_spending_shows_as_its_rate_in_both_sums() -> None:
    pace = steady(STILL, 100, 30 * 86_400)
    assert pace.fast / WINDOW == pytest.approx(100, rel=0.15)
    assert pace.norm / NORM == pytest.approx(100, rel=0.02)


def test_spending_as_always_does_not_run_away() -> None:
    assert runs_away(steady(STILL, 100, 30 * 86_400), 6000) is False


def test_ten_times_the_norm_within_the_window_runs_away() -> None:
    used = steady(STILL, 100, 30 * 86_400)
    assert runs_away(used, int(9.5 * 100 * WINDOW)) is True
    assert runs_away(used, int(8.5 * 100 * WINDOW)) is False


def test_below_the_floor_times_the_multiple_nothing_runs_away_however_small_the_norm() -> None:
    assert runs_away(STILL, int(10 * 50 * WINDOW), floor=50) is False
    assert runs_away(STILL, int(10 * 50 * WINDOW) + 1, floor=50) is True


def test_a_burst_is_forgotten_once_its_window_is_long_past() -> None:
    burst = STILL.after(int(9 * 50 * WINDOW), NOW, WINDOW, NORM)
    assert runs_away(burst, int(2 * 50 * WINDOW), floor=50) is True
    assert runs_away(burst, int(2 * 50 * WINDOW), floor=50, after=10 * WINDOW) is False


def test_a_clock_that_steps_back_fades_nothing_and_loses_nothing() -> None:
    pace = STILL.after(1000, NOW, WINDOW, NORM)
    assert Pace(1500.0, 1500.0, NOW) == pace.after(500, NOW - 30, WINDOW, NORM)
