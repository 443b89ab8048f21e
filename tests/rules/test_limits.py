"""Token buckets: a burst of one minute's worth, then the rate, and waiting as long as told is enough."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rules.limits import Bucket, give_back, refill, remaining, reset, take, wait

NOW = 1_700_000_000.0
limits_ = st.integers(min_value=1, max_value=1_000_000)
times = st.floats(min_value=0, max_value=2e9)
steps = st.lists(st.tuples(st.floats(min_value=0, max_value=30), st.integers(min_value=1, max_value=40)), max_size=40)


def test_a_bucket_never_used_is_full() -> None:
    assert Bucket(60.0, NOW) == refill(None, 60, NOW)


def test_a_bucket_refills_by_a_sixtieth_of_its_limit_a_second() -> None:
    assert Bucket(10.0, NOW + 10) == refill(Bucket(0.0, NOW), 60, NOW + 10)


def test_a_bucket_never_holds_more_than_its_limit() -> None:
    assert refill(Bucket(0.0, NOW), 60, NOW + 3600).level == 60.0


def test_a_lowered_limit_cuts_what_was_saved_up() -> None:
    assert refill(Bucket(100.0, NOW), 60, NOW).level == 60.0


def test_a_clock_that_steps_back_refills_nothing_and_takes_nothing() -> None:
    assert Bucket(5.0, NOW) == refill(Bucket(5.0, NOW), 60, NOW - 30)


def test_taking_leaves_the_rest() -> None:
    assert Bucket(7.0, NOW) == take(Bucket(10.0, NOW), 3)


def test_taking_more_than_there_is_takes_nothing() -> None:
    assert take(Bucket(10.0, NOW), 11) is None


def test_what_was_not_used_comes_back_up_to_the_limit() -> None:
    assert give_back(Bucket(10.0, NOW), 60, 5).level == 15.0
    assert give_back(Bucket(58.0, NOW), 60, 5).level == 60.0


def test_what_was_used_beyond_the_reservation_is_owed() -> None:
    owing = give_back(Bucket(1.0, NOW), 60, -3)
    assert owing.level == -2.0
    assert remaining(owing) == 0


def test_reset_is_the_time_until_the_bucket_is_full() -> None:
    assert reset(Bucket(45.0, NOW), 60) == 15.0


def test_waiting_is_useless_for_more_than_the_whole_limit() -> None:
    assert wait(Bucket(60.0, NOW), 60, 61) == 0.0


def test_nothing_to_wait_for_when_there_is_enough() -> None:
    assert wait(Bucket(60.0, NOW), 60, 60) == 0.0


@given(limits_, times, st.data())
def test_after_waiting_as_long_as_told_the_take_succeeds(limit: int, now: float, data: st.DataObject) -> None:
    amount = data.draw(st.integers(min_value=1, max_value=limit))
    level = data.draw(st.floats(min_value=-limit, max_value=limit))
    later = now + wait(Bucket(level, now), limit, amount)
    assert take(refill(Bucket(level, now), limit, later), amount) is not None


@given(st.integers(min_value=1, max_value=200), steps)
def test_no_more_is_ever_taken_than_one_burst_and_the_rate(limit: int, attempts: list[tuple[float, int]]) -> None:
    now, taken, bucket = NOW, 0, refill(None, limit, NOW)
    for pause, amount in attempts:
        now += pause
        bucket = refill(bucket, limit, now)
        if left := take(bucket, amount):
            bucket, taken = left, taken + amount
    assert taken <= limit * (1 + (now - NOW) / 60) + 0.001


@given(limits_, st.floats(min_value=0, max_value=1), st.floats(min_value=0, max_value=120))
def test_refilling_in_two_steps_is_refilling_in_one(limit: int, share: float, pause: float) -> None:
    start = Bucket(limit * share, 0.0)
    halfway = refill(refill(start, limit, pause / 2), limit, pause)
    assert halfway.level == pytest.approx(refill(start, limit, pause).level)
