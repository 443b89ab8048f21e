"""Thresholds from past scores, and whether live shares still fit them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config.route import Route
from app.routing.calibration import cuts
from app.routing.drift import Drift
from app.routing.stickiness import Conversations

SHARES = (0.9, 0.07, 0.03)


def test_a_thousand_different_scores_are_split_as_wanted() -> None:
    found = cuts([at / 1000 for at in range(1000)], SHARES)
    assert [0.9, 0.07, 0.03] == [cut.got for cut in found]
    assert [0.0, 0.8995, 0.9695] == [cut.min_complexity for cut in found]


@given(st.lists(st.floats(0, 1), min_size=1), st.sampled_from([SHARES, (1.0,), (0.5, 0.5), (0.0, 1.0), (1.0, 0.0)]))
def test_thresholds_rise_and_every_score_has_a_tier(scores: list[float], shares: tuple[float, ...]) -> None:
    found = cuts(scores, shares)
    assert found[0].min_complexity == 0
    assert [cut.min_complexity for cut in found] == sorted(cut.min_complexity for cut in found)
    assert all(0 <= cut.min_complexity <= 1 for cut in found)
    assert sum(cut.got for cut in found) == pytest.approx(1)


def test_equal_scores_stay_together() -> None:
    assert [1.0, 0.0] == sorted((cut.got for cut in cuts([0.4] * 100, (0.5, 0.5))), reverse=True)


def test_no_scores_is_said() -> None:
    with pytest.raises(ValueError, match="no scores"):
        cuts([], SHARES)


def test_drift_waits_for_a_full_window() -> None:
    drift = Drift({"small": 0.9, "large": 0.1}, 0.05, 100)
    assert not any(drift.count("large") for _ in range(99))
    assert drift.count("large")
    assert drift.out > 0.05


def test_shares_on_target_raise_no_alarm() -> None:
    drift = Drift({"small": 0.9, "large": 0.1}, 0.05, 200)
    assert not any(drift.count("large" if at % 10 == 0 else "small") for at in range(5000))
    assert drift.live["small"] == pytest.approx(0.9, abs=0.02)


def test_without_a_target_nothing_is_judged() -> None:
    drift = Drift(**dict(Route().drift))
    assert not any(drift.count("large") for _ in range(5000))


def test_a_turn_is_forgotten_after_its_time_and_the_longest_unused_first() -> None:
    now = [0.0]
    kept = Conversations(60, most=2, clock=lambda: now[0])
    kept.keep(b"1", "large")
    now[0] = 59
    assert kept.tier(b"1") == "large"
    now[0] = 60
    assert kept.tier(b"1") is None
    for turn in (b"2", b"3", b"4"):
        kept.keep(turn, "small")
    assert [None, "small", "small"] == [kept.tier(turn) for turn in (b"2", b"3", b"4")]
    assert kept.tier(None) is None
