"""The arithmetic of batches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.batches.scheduling import LONGEST_PAUSE, free_slots, narrower, pause, serial, turns, wider

COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 20), min_size=1)


@given(concurrency=st.integers(1, 1000), online=st.integers(0, 1000), yield_at=st.integers(0, 1000))
def test_batches_take_all_of_an_idle_gateway_less_of_a_busy_one_and_nothing_of_a_full_one(
    concurrency: int, online: int, yield_at: int
) -> None:
    free = free_slots(concurrency, online, yield_at)
    assert concurrency == free_slots(concurrency, 0, yield_at)
    assert (free == 0) == (online > yield_at)
    assert free_slots(concurrency, online + 1, yield_at) <= free <= concurrency


@given(waiting=COUNTS, running=COUNTS, wanted=st.integers(0, 60))
def test_turns_waste_no_place_and_keep_tenants_even(
    waiting: dict[str, int], running: dict[str, int], wanted: int
) -> None:
    given_ = turns(waiting, running, {}, wanted)
    assert min(wanted, sum(waiting.values())) == sum(given_.values())
    for name, lines in given_.items():
        assert 0 < lines <= waiting[name]
        for other, had in waiting.items():
            if given_.get(other, 0) < had:  # it had more: then nobody was far ahead of it
                held = running.get(other, 0) + given_.get(other, 0)
                assert running.get(name, 0) + lines <= held + 1


def test_of_tenants_with_as_many_lines_the_one_served_longest_ago_is_next() -> None:
    assert {"b": 1} == turns({"a": 9, "b": 9}, {}, {"a": 2.0, "b": 1.0}, 1)


def test_a_serial_is_the_same_for_the_same_attempt_and_for_no_other() -> None:
    serials = [serial(f"batch_{b}", n, attempt) for b in range(5) for n in range(5) for attempt in range(5)]
    assert 125 == len(set(serials))
    assert serials[0] == serial("batch_0", 0, 0)
    assert 24 == len(serials[0])


@given(st.integers(0, 10_000), st.none() | st.floats(0, 1e6))
def test_pauses_grow_heed_the_server_and_never_pass_a_minute(attempt: int, asked: float | None) -> None:
    wait = pause(attempt, asked)
    assert min(asked or 0, LONGEST_PAUSE) <= wait <= LONGEST_PAUSE
    assert wait <= pause(attempt + 1, asked)


@given(st.floats(1, 1000))
def test_a_width_falls_fast_rises_slowly_and_never_reaches_nothing(width: float) -> None:
    assert 1 <= narrower(width) <= width
    assert width < wider(width) <= width + 1
