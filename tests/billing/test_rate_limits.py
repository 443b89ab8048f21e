"""Token buckets: a burst, then the rate; days that are full at midnight; and waiting as long as told is enough."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.billing.rate_limits import DAY, Bucket, capacity, give_back, kept, refill, take, wait, window
from app.core.ports import Limit, Window

NOW = 1_700_000_000.0  # 6,400 s before midnight UTC
MIDNIGHT = NOW + 6_400
times = st.floats(min_value=0, max_value=2e9)
bursts = st.sampled_from([0.1, 0.5, 1.0, 2.0, 60.0])
steps = st.lists(st.tuples(st.floats(min_value=0, max_value=30), st.integers(min_value=1, max_value=40)), max_size=40)


def minute(amount: int, burst: float = 1.0) -> Limit:
    return Limit("key:k", "tokens", "minute", amount, burst)


def day(amount: int) -> Limit:
    return Limit("key:k", "tokens", "day", amount)


limits_ = st.one_of(
    st.builds(minute, st.integers(min_value=1, max_value=1_000_000), bursts),
    st.builds(day, st.integers(min_value=1, max_value=1_000_000)),
)


# -- a minute --------------------------------------------------------------------------------------


def test_a_bucket_never_used_is_full() -> None:
    assert Bucket(60.0, NOW) == refill(None, minute(60), NOW)


def test_a_bucket_refills_by_a_sixtieth_of_its_limit_a_second() -> None:
    assert Bucket(10.0, NOW + 10) == refill(Bucket(0.0, NOW), minute(60), NOW + 10)


def test_a_bucket_never_holds_more_than_its_limit() -> None:
    assert refill(Bucket(0.0, NOW), minute(60), NOW + 3600).level == 60.0


def test_a_burst_holds_more_minutes_or_fewer_but_refills_as_fast() -> None:
    assert refill(None, minute(60, 2.0), NOW).level == 120.0
    assert refill(None, minute(60, 0.5), NOW).level == 30.0
    assert [1.0, 1.0] == [refill(Bucket(0.0, NOW), minute(60, burst), NOW + 1).level for burst in (0.5, 2.0)]


def test_however_small_the_burst_one_request_fits() -> None:
    assert capacity(minute(2, 0.1)) == 1.0


def test_a_lowered_limit_cuts_what_was_saved_up() -> None:
    assert refill(Bucket(100.0, NOW), minute(60), NOW).level == 60.0


def test_a_clock_that_steps_back_refills_nothing_and_takes_nothing() -> None:
    assert Bucket(5.0, NOW) == refill(Bucket(5.0, NOW), minute(60), NOW - 30)


def test_taking_leaves_the_rest() -> None:
    assert Bucket(7.0, NOW) == take(Bucket(10.0, NOW), 3)


def test_taking_more_than_there_is_takes_nothing() -> None:
    assert take(Bucket(10.0, NOW), 11) is None


def test_what_was_not_used_comes_back_up_to_the_limit() -> None:
    assert give_back(Bucket(10.0, NOW), minute(60), 5, NOW).level == 15.0
    assert give_back(Bucket(58.0, NOW), minute(60), 5, NOW).level == 60.0


def test_what_was_used_beyond_the_reservation_is_owed() -> None:
    owing = give_back(Bucket(1.0, NOW), minute(60), -3, NOW)
    assert owing.level == -2.0
    assert window(owing, minute(60)).remaining == 0


def test_a_window_says_the_limit_what_is_left_and_the_time_until_the_bucket_is_full() -> None:
    assert Window(60, 45, 15.0) == window(Bucket(45.0, NOW), minute(60))
    assert Window(60, 60, 60.0) == window(Bucket(60.0, NOW), minute(60, 2.0))


# -- a day -----------------------------------------------------------------------------------------


def used(amount: int, limit: Limit, now: float = NOW) -> Bucket:
    """The limit's bucket as it is stored once `amount` was taken."""
    return kept(Bucket(limit.amount - amount, now), limit)


def test_a_day_does_not_refill_before_midnight_utc_and_then_is_full() -> None:
    empty = used(100, day(100))
    assert refill(empty, day(100), MIDNIGHT - 0.001).level == 0.0
    assert Bucket(100.0, MIDNIGHT) == refill(empty, day(100), MIDNIGHT)


def test_what_is_owed_at_midnight_is_forgiven() -> None:
    assert refill(used(150, day(100)), day(100), MIDNIGHT).level == 100.0


def test_a_clock_that_steps_back_over_midnight_does_not_begin_the_day_again() -> None:
    stored = used(70, day(100), MIDNIGHT)
    assert Bucket(30.0, MIDNIGHT) == refill(stored, day(100), MIDNIGHT - 60)
    assert refill(stored, day(100), MIDNIGHT + 60).level == 30.0


def test_a_changed_days_limit_leaves_what_was_taken_taken() -> None:
    assert refill(used(70, day(100)), day(500), NOW).level == 430.0
    assert refill(used(70, day(100)), day(50), NOW).level == -20.0


def test_what_an_earlier_day_lent_is_not_given_to_this_one() -> None:
    assert Bucket(0.0, MIDNIGHT) == give_back(Bucket(0.0, MIDNIGHT), day(100), 90, NOW)
    assert Bucket(90.0, MIDNIGHT - 1) == give_back(Bucket(0.0, MIDNIGHT - 1), day(100), 90, NOW)


def test_a_days_window_is_full_again_at_midnight() -> None:
    assert Window(100, 40, 6_400.0) == window(Bucket(40.0, NOW), day(100))
    assert Window(100, 100, 0.0) == window(Bucket(100.0, NOW), day(100))


# -- waiting ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [minute(60), day(60)])
def test_waiting_is_useless_for_more_than_the_whole_limit(limit: Limit) -> None:
    assert wait(Bucket(60.0, NOW), limit, 61) == 0.0
    assert wait(Bucket(0.0, NOW), limit, 61) == 0.0


@pytest.mark.parametrize("limit", [minute(60), day(60)])
def test_nothing_to_wait_for_when_there_is_enough(limit: Limit) -> None:
    assert wait(Bucket(60.0, NOW), limit, 60) == 0.0


def test_a_spent_day_is_waited_for_until_midnight() -> None:
    assert wait(Bucket(0.0, NOW), day(60), 1) == 6_400.0


@given(limits_, times, st.data())
def test_after_waiting_as_long_as_told_the_take_succeeds(limit: Limit, now: float, data: st.DataObject) -> None:
    most = capacity(limit)
    amount = data.draw(st.integers(min_value=1, max_value=int(most)))
    bucket = Bucket(data.draw(st.floats(min_value=-most, max_value=most)), now)
    later = now + wait(bucket, limit, amount)
    assert take(refill(kept(bucket, limit), limit, later), amount) is not None


# -- any order -------------------------------------------------------------------------------------


@given(st.integers(min_value=1, max_value=200), bursts, steps)
def test_no_more_is_ever_taken_than_one_burst_and_the_rate(
    amount: int, burst: float, attempts: list[tuple[float, int]]
) -> None:
    limit = minute(amount, burst)
    now, taken, bucket = NOW, 0, refill(None, limit, NOW)
    for pause, wanted in attempts:
        now += pause
        bucket = refill(bucket, limit, now)
        if left := take(bucket, wanted):
            bucket, taken = left, taken + wanted
    assert taken <= capacity(limit) + amount * (now - NOW) / 60 + 0.001


@given(st.integers(min_value=1, max_value=200), st.lists(st.tuples(st.integers(0, 40_000), st.integers(1, 40))))
def test_no_day_ever_uses_more_than_its_limit_though_calls_settle_the_day_after(
    amount: int, calls: list[tuple[int, int]]
) -> None:
    limit, stored, now, taken = day(amount), None, NOW, {}
    before: tuple[int, float] | None = None
    for pause, wanted in calls:
        now += pause
        bucket = refill(stored, limit, now)
        if before:  # the call before used nothing of what it took
            bucket = give_back(bucket, limit, *before)
            taken[before[1] // DAY] -= before[0]
            before = None
        if left := take(bucket, wanted):
            bucket, before = left, (wanted, now)
            taken[now // DAY] = taken.get(now // DAY, 0) + wanted
            assert taken[now // DAY] <= amount
        stored = kept(bucket, limit)


@given(st.integers(min_value=1, max_value=1_000_000), st.floats(0, 1), st.floats(0, 120))
def test_refilling_in_two_steps_is_refilling_in_one(amount: int, share: float, pause: float) -> None:
    limit, start = minute(amount), Bucket(amount * share, 0.0)
    halfway = refill(refill(start, limit, pause / 2), limit, pause)
    assert halfway.level == pytest.approx(refill(start, limit, pause).level)
