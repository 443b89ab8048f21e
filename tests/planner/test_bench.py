"""bench/plan.py on an engine that only pretends: it measures, replays, simulates and prints both sides."""

from __future__ import annotations

import argparse
import asyncio

import pytest

from app.planner.fleet import Autoscale
from app.planner.measure import Target
from app.planner.outcome import outcome
from app.planner.simulate import simulate
from app.planner.trace import load, repeated, swinging, synthetic
from bench import plan as bench
from tests.planner.engine import engine
from tests.planner.kit import gpu_scenario, profile

ASKED = argparse.Namespace(calls=12, shrink=0.02, longest=64, answer=6, load="0.5")


def test_prediction_stands_beside_measurement_for_every_goal(capsys: pytest.CaptureFixture[str]) -> None:
    with engine() as fake:
        target = Target(fake.url, "key", "small", 64, 2)
        asyncio.run(bench.compare(target, bench.profiled(target, None), synthetic(40, 2), ASKED))
    shown = capsys.readouterr().out
    assert "12 calls at 50%" in shown
    assert all(sum(line.startswith(name) for line in shown.splitlines()) == 1 for name in bench.GOALS)


def test_calls_that_fail_are_counted_and_left_out_of_both_sides(capsys: pytest.CaptureFixture[str]) -> None:
    with engine() as fake:
        target = Target(fake.url, "key", "small", 64, 2)
        known = bench.profiled(target, None)
        fake.status = 503
        with pytest.raises(bench.ProfileError):
            asyncio.run(bench.compare(target, known, synthetic(40, 2), ASKED))
    assert "503" not in capsys.readouterr().out


def test_a_slice_is_paced_to_the_share_of_the_pool_that_is_asked() -> None:
    calls = bench.shrunk(synthetic(200, 1), argparse.Namespace(calls=100, shrink=0.1, longest=80, answer=9))
    assert max(one.prompt_tokens for one in calls) == 80
    assert max(one.output_tokens for one in calls) == 9
    known = profile()
    half, whole = (load(bench.paced(calls, known, share)).calls_per_second for share in (0.5, 1.0))
    assert pytest.approx(2 * half) == whole
    run = simulate(bench.alone(known), bench.paced(calls, known, 0.2))
    assert {"answered"} == {row.how for row in run.rows}


def test_a_swinging_load_has_the_same_calls_in_the_same_time_slow_at_first() -> None:
    calls = repeated(synthetic(3000, 1, burstiness=0.3), 2)
    swung = swinging(calls, 0.6, 2)
    assert len(calls) == len(swung) == 6000
    assert pytest.approx(load(calls).span_s, rel=0.01) == load(swung).span_s
    assert sorted(one.at for one in swung) == [one.at for one in swung]
    turn = load(calls).span_s / 8
    assert sum(one.at < turn / 2 for one in swung) * 2 < sum(turn * 1.5 < one.at < turn * 2 for one in swung)


def test_a_rule_that_holds_more_replicas_breaches_less_and_costs_more() -> None:
    base, calls = gpu_scenario(cold_start_s=30.0), swinging(synthetic(6000, 1, calls_per_second=40.0), 0.6, 2)
    eager, lazy = (
        outcome(simulate(bench.ruled(base, Autoscale(target_ongoing=target), {}), calls)) for target in (2.0, 200.0)
    )
    assert eager.good > lazy.good
    assert eager.gpus > lazy.gpus
