"""The model keeps the laws of queues, loses no call, and answers the same to the same question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from app.planner.fleet import Autoscale, Size
from app.planner.outcome import outcome, spread
from app.planner.profile import DecodePoint
from app.planner.scenario import PoolPlan
from app.planner.simulate import Graph, simulate
from app.planner.stats import Histogram, Station
from app.planner.trace import Arrival, load, synthetic
from tests.planner.kit import SURE, gpu_scenario, graph, poisson, pool, profile, values


def test_a_call_alone_takes_its_prompt_and_its_steps() -> None:
    (row,) = simulate(graph(), [Arrival(0.0, 100, 11)]).rows
    assert ("answered", pytest.approx(0.1), pytest.approx(0.2), pytest.approx(0.01)) == (
        row.how, row.first_s, row.whole_s, row.gap_s,
    )  # fmt: skip


def test_answers_side_by_side_share_their_steps() -> None:
    rows = simulate(graph(), [Arrival(0.0, 1, 101), Arrival(0.0, 1, 101)]).rows
    assert all(row.whole_s == pytest.approx(1.0, abs=0.02) for row in rows)


def test_a_prompt_that_comes_holds_up_the_tokens_of_the_others() -> None:
    alone = simulate(graph(), [Arrival(0.0, 10, 100)]).rows[0]
    beside = simulate(graph(), [Arrival(0.0, 10, 100), Arrival(0.5, 500, 1)])
    held_up = next(row for row in beside.rows if row.output_tokens == 100)
    assert pytest.approx(alone.whole_s + 0.5, abs=0.02) == held_up.whole_s


def test_split_pools_do_not_let_a_prompt_hold_up_tokens() -> None:
    split = graph(pool(prefill=Size(1, max_ongoing=256)))
    alone = simulate(split, [Arrival(0.0, 10, 100)]).rows[0]
    rows = simulate(split, [Arrival(0.0, 10, 100), Arrival(0.5, 500, 1)]).rows
    assert pytest.approx(alone.whole_s) == next(row for row in rows if row.output_tokens == 100).whole_s


def test_the_first_token_of_a_split_pool_waits_for_its_prompts_keys_and_values() -> None:
    """100 tokens of 1,000 bytes over 1 MB/s: 0.1 s, after 0.1 s of reading and before a step of 10 ms."""
    slow_link = graph(pool(prefill=Size(1)), assumed=replace(SURE, kv_link=1e6))
    assert pytest.approx(0.21) == simulate(slow_link, [Arrival(0.0, 100, 5)]).rows[0].first_s


def test_an_answer_that_has_ended_is_no_context_of_the_next_one() -> None:
    reading = graph(pool(profile=profile(kv_read_s=1e-5)))
    first, second = simulate(reading, [Arrival(0.0, 100, 50), Arrival(10.0, 100, 50)]).rows
    assert pytest.approx(first.whole_s) == second.whole_s
    assert first.whole_s > 0.1 + 49 * (0.01 + 100 * 1e-5)


def test_of_two_replicas_the_less_busy_one_gets_the_call() -> None:
    one_at_a_time = graph(pool(size=Size(2), profile=profile(max_batch=1)))
    rows = simulate(one_at_a_time, [Arrival(0.0, 100, 3000), *(Arrival(1.0 + n, 100, 1) for n in range(20))]).rows
    assert all(row.first_s == pytest.approx(0.1) for row in rows)


def test_a_call_that_has_ended_makes_room_at_the_gateway() -> None:
    rows = simulate(graph(max_in_flight=1), [Arrival(float(n), 100, 5) for n in range(10)]).rows
    assert {"answered"} == {row.how for row in rows}


def test_the_kv_cache_bounds_the_answers_at_once() -> None:
    small = graph(pool(profile=profile(kv_tokens=250)))
    rows = simulate(small, [Arrival(0.0, 100, 100), Arrival(0.0, 100, 100)]).rows
    first, second = sorted(row.whole_s for row in rows)
    assert pytest.approx(2 * first, rel=0.02) == second


@pytest.mark.parametrize("load_share", [0.3, 0.6, 0.8])
def test_the_busy_share_of_a_server_is_rate_times_service(load_share: float) -> None:
    """The utilisation law: one prompt at a time, each 0.1 s."""
    one_at_a_time = graph(pool(profile=profile(max_batch=1)))
    run = simulate(one_at_a_time, poisson(6000, load_share / 0.1))
    served = sum(1 for row in run.rows if row.how == "answered")
    assert pytest.approx(served * 0.1 / run.end_s) == run.fleets["a"].counts.busy_s / run.end_s
    assert pytest.approx(load_share, rel=0.05) == run.fleets["a"].counts.busy_s / run.end_s


def test_the_mean_wait_of_one_server_is_that_of_an_m_d_1_queue() -> None:
    """Pollaczek and Khinchine: wait = load * service / (2 * (1 - load)) for equal services."""
    one_at_a_time = graph(pool(profile=profile(max_batch=1)))
    rows = simulate(one_at_a_time, poisson(40_000, 6.0)).rows
    waited = sum(row.first_s for row in rows) / len(rows) - 0.1
    assert pytest.approx(0.6 * 0.1 / (2 * 0.4), rel=0.08) == waited


def test_the_calls_seen_in_the_engine_are_their_rate_times_their_time_in_it() -> None:
    """Little's law: what a sampler counts in the fleet, against what the calls say of themselves."""
    trace, env, seen = poisson(3000, 5.0, output=50), simpy.Environment(), []
    running = Graph(env, graph(), len(trace))

    def sample() -> Iterator[simpy.Event]:
        while True:
            yield env.timeout(0.05)
            seen.append(running.fleets["a"].ongoing)

    env.process(running.arrivals(trace))
    env.process(sample())
    env.run(until=running.all_ended)
    rate, time_in_it = len(trace) / env.now, sum(row.whole_s for row in running.rows) / len(trace)
    assert pytest.approx(rate * time_in_it, rel=0.03) == sum(seen) / len(seen)
    assert sum(one.output_tokens for one in trace) == running.fleets["a"].counts.output_tokens


def test_a_station_is_a_queue_before_servers() -> None:
    two = Station(2)
    assert [1.0, 1.0, 2.0, 2.5] == [two.leave(at, 1.0) for at in (0.0, 0.0, 0.0, 1.5)]
    assert pytest.approx(4.0 / (2 * 4.0)) == two.utilisation(4.0)


def test_percentiles_of_a_histogram_are_within_a_bin() -> None:
    found = Histogram()
    for number in range(1, 101):
        found.add(number / 1000, times=number)
    exact = spread([number / 1000 for number in range(1, 101) for _ in range(number)])
    assert pytest.approx([exact.p50, exact.p95, exact.p99], rel=0.011) == [found.percentile(p) for p in (50, 95, 99)]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    replicas=st.integers(1, 4),
    max_ongoing=st.integers(1, 8),
    max_queued=st.integers(0, 30),
    failures=st.sampled_from([0.0, 20_000.0]),
    hits=st.sampled_from([0.0, 0.3, 1.0]),
    in_flight=st.sampled_from([5, 10**6]),
    patience=st.sampled_from([0.2, 10**6]),
    scaled=st.booleans(),
    split=st.booleans(),
    batch=st.sampled_from([1, 4, 256]),
)
def test_every_call_ends_once_as_answered_cached_shed_or_failed(
    *, seed: int, replicas: int, max_ongoing: int, max_queued: int, failures: float, hits: float, in_flight: int,
    patience: float, scaled: bool, split: bool, batch: int,
) -> None:  # fmt: skip
    rule = Autoscale(1, 4, 2.0, downscale_delay_s=20) if scaled else None
    size = Size(replicas, max_ongoing, max_queued, autoscale=rule, cold_start_s=5, failures_per_day=failures)
    one = pool(size=size, prefill=size if split else None, profile=profile(max_batch=batch))
    assumed = replace(SURE, cache_hits=hits, seed=seed)
    plan = graph(one, assumed=assumed, max_in_flight=in_flight, first_token_s=patience, deadline_s=patience * 20)
    trace = synthetic(150, seed, calls_per_second=20.0)
    run = simulate(plan, trace)
    ended = Counter(row.how for row in run.rows)
    assert len(trace) == sum(ended[how] for how in ("answered", "cached", "shed", "failed")) == len(run.rows)
    assert sorted(one.prompt_tokens for one in trace) == sorted(row.prompt_tokens for row in run.rows)
    assert all(0 <= row.first_s <= row.whole_s + 1e-9 for row in run.rows)
    found = outcome(run)
    assert len(trace) == found.answered + found.cached + found.shed + found.failed


def test_the_same_seed_gives_the_same_run_and_another_another() -> None:
    trace = synthetic(800, 5)
    one, again = (outcome(simulate(gpu_scenario(failures_per_day=20.0), trace)) for _ in range(2))
    assert one == again
    assert one != outcome(simulate(gpu_scenario(failures_per_day=20.0, seed=2), trace))


def test_more_replicas_never_worsen_the_latest_first_tokens() -> None:
    trace = synthetic(1500, 4, calls_per_second=3.0)
    late = [
        spread(values(simulate(graph(pool(size=Size(count, max_ongoing=256))), trace).rows, "first_s")).p99
        for count in (1, 2, 4, 8, 16)
    ]
    assert sorted(late, reverse=True) == late
    assert late[-1] < late[0] / 2


@pytest.mark.parametrize("key", ["cache_hits", "prefix_share"])
def test_caches_only_ever_take_work_away(key: str) -> None:
    trace = synthetic(1500, 4, calls_per_second=3.0)
    busy = []
    for share in (0.0, 0.2, 0.5, 0.9):
        run = simulate(graph(pool(size=Size(4, max_ongoing=256))).named("x", **{key: share}), trace)
        busy.append(run.fleets["a"].counts.busy_s)
    assert sorted(busy, reverse=True) == busy
    assert busy[-1] < busy[0] * 0.8


def test_a_hit_is_no_work_and_a_miss_is() -> None:
    all_hits = simulate(graph(assumed=replace(SURE, cache_hits=1.0)), synthetic(50, 1))
    assert {"cached"} == {row.how for row in all_hits.rows}
    assert 0 == all_hits.fleets["a"].counts.busy_s


def test_a_full_queue_sheds_and_a_gateway_at_its_bound_does() -> None:
    trace = [Arrival(0.0, 100, 10)] * 10
    queue = simulate(graph(pool(size=Size(1, max_ongoing=2, max_queued=3))), trace)
    assert Counter({(None, "answered"): 5, ("queue full", "shed"): 5}) == Counter((r.why, r.how) for r in queue.rows)
    gateway = simulate(graph(max_in_flight=4), trace)
    assert 6 == sum((row.why, row.how) == ("gateway", "shed") for row in gateway.rows)


def test_a_call_without_a_first_token_in_time_fails() -> None:
    queued = graph(pool(size=Size(1, max_ongoing=1)), first_token_s=0.15)
    rows = simulate(queued, [Arrival(0.0, 100, 50), Arrival(0.0, 100, 50)]).rows
    assert Counter({("answered", None): 1, ("failed", "late"): 1}) == Counter((row.how, row.why) for row in rows)


def test_a_prompt_that_no_pool_holds_fails_and_never_waits() -> None:
    (row,) = simulate(graph(), [Arrival(0.0, 100_001, 1)]).rows
    assert ("failed", "too long", 0.0) == (row.how, row.why, row.whole_s)


def test_what_one_pool_sheds_another_takes() -> None:
    pools = pool("a", Size(1, max_ongoing=1, max_queued=0)), pool("b", Size(1, max_ongoing=100))
    rows = simulate(graph(*pools), [Arrival(0.0, 100, 10)] * 6).rows
    assert {"answered"} == {row.how for row in rows}
    assert {"a", "b"} == {row.pool for row in rows}


def test_an_upstream_serves_at_its_own_pace() -> None:
    bought = graph(PoolPlan("up", 100_000, bought=(1.0, 0.5, 2.0)))
    (row,) = simulate(bought, [Arrival(0.0, 100, 11)]).rows
    assert ("up", pytest.approx(0.6), pytest.approx(0.015)) == (row.pool, row.first_s, row.gap_s)


def test_lost_replicas_come_back_and_their_calls_are_tried_again() -> None:
    size = Size(2, max_ongoing=256, cold_start_s=5.0, failures_per_day=2000.0)
    run = simulate(graph(pool(size=size), recoveries=50), poisson(800, 4.0, output=100))
    assert run.fleets["a"].failures > 3
    assert {"answered"} == {row.how for row in run.rows}


def test_without_recoveries_a_lost_replicas_calls_fail() -> None:
    size = Size(2, max_ongoing=256, cold_start_s=5.0, failures_per_day=2000.0)
    run = simulate(graph(pool(size=size), recoveries=0), poisson(800, 4.0, output=100))
    assert any((row.how, row.why) == ("failed", "lost") for row in run.rows)


def test_autoscaling_grows_under_load_after_a_cold_start_and_shrinks_after_it() -> None:
    rule = Autoscale(1, 8, target_ongoing=4.0, downscale_delay_s=60)
    fleet = Size(1, max_ongoing=64, autoscale=rule, cold_start_s=20)
    rush = poisson(600, 8.0, output=50)
    calm = [replace(one, at=one.at * 40 + rush[-1].at) for one in poisson(60, 8.0, output=50)]
    run = simulate(graph(pool(size=fleet)), [*rush, *calm])
    assert run.fleets["a"].most_replicas > 1
    mean = run.fleets["a"].replica_seconds(run.end_s) / run.end_s
    assert 1.0 < mean < run.fleets["a"].most_replicas


def test_routing_splits_the_calls_as_the_shares_say_and_off_all_go_to_the_largest() -> None:
    trace = synthetic(3000, 2)
    on = Counter(row.tier for row in simulate(gpu_scenario(), trace).rows)
    assert pytest.approx(0.9, abs=0.03) == on["small"] / 3000
    assert pytest.approx(0.03, abs=0.015) == on["large"] / 3000
    off = simulate(gpu_scenario(routing=False), trace).rows
    assert {"large"} == {row.tier for row in off}


def test_scores_choose_the_tier_by_min_complexity() -> None:
    rows = simulate(gpu_scenario(scores=(0.1, 0.5, 0.99)), synthetic(900, 2)).rows
    share = Counter(row.tier for row in rows)
    assert all(0.25 < share[tier] / 900 < 0.42 for tier in ("small", "medium", "large"))


def test_long_prompts_take_no_tier_below_the_configured_one() -> None:
    rows = simulate(gpu_scenario(), [Arrival(float(n), 9000, 5) for n in range(200)]).rows
    assert {"medium", "large"} == {row.tier for row in rows}


def test_a_prefix_that_a_replica_has_read_is_not_read_again() -> None:
    told = replace(SURE, prefix_share=1.0)
    first, second = simulate(
        graph(assumed=told), [Arrival(0.0, 1024, 1, (1, 2)), Arrival(10.0, 1100, 1, (1, 2, 3))]
    ).rows
    assert (0, 1024) == (first.cached_tokens, second.cached_tokens)
    assert second.first_s < first.first_s / 5


def test_the_prefix_router_sends_a_prompt_to_who_has_read_it() -> None:
    told = replace(SURE, prefix_share=1.0)
    trace = [Arrival(float(n), 1024, 1, (n % 4 * 10, n % 4 * 10 + 1)) for n in range(200)]
    hits = {
        prefixed: sum(
            row.cached_tokens > 0
            for row in simulate(graph(pool(size=Size(4, prefix_router=prefixed)), assumed=told), trace).rows
        )
        for prefixed in (True, False)
    }
    assert 196 == hits[True]
    assert hits[False] < 196


def test_a_longer_step_of_a_larger_batch_is_what_the_profile_says() -> None:
    slow = profile(decode=[DecodePoint(batch=1, step_s=0.01), DecodePoint(batch=3, step_s=0.03)])
    rows = simulate(graph(pool(profile=slow)), [Arrival(0.0, 1, 200), Arrival(0.0, 1, 200)]).rows
    assert all(row.gap_s == pytest.approx(0.02, rel=0.02) for row in rows)


def test_the_load_of_a_run_is_that_of_its_trace() -> None:
    trace = synthetic(100, 1)
    assert load(trace) == simulate(graph(), trace).load
