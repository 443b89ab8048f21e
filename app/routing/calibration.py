"""Thresholds that split past traffic as wanted. Pure arithmetic."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

STEP = 10_000
"""Thresholds are whole parts of this: what a person can read and write down."""


@dataclass(frozen=True, slots=True)
class Cut:
    """One tier: its threshold, the share that was wanted and the one that the sample gets, 0..1."""

    min_complexity: float
    wanted: float
    got: float


def cuts(scores: Sequence[float], shares: Sequence[float]) -> list[Cut]:
    """Thresholds for tiers from the cheapest up. shares: parts of 1. Raises ValueError.

    Equal scores stay together: where many prompts score the same, a share can only be met roughly.
    """
    if not scores:
        msg = "no scores: give a file of prompts, or a longer --since"
        raise ValueError(msg)
    ordered = sorted(scores)
    limits, passed = [0.0], 0.0
    for share in shares[:-1]:
        passed += share
        limits.append(max(limits[-1], _limit(ordered, passed)))
    reach = [len(ordered) - bisect_left(ordered, limit) for limit in limits] + [0]
    got = [(reach[at] - reach[at + 1]) / len(ordered) for at in range(len(shares))]
    return [Cut(*parts) for parts in zip(limits, shares, got, strict=True)]


def _limit(ordered: Sequence[float], below: float) -> float:
    """The threshold with about `below` of the scores under it: rounded, and no higher than 1."""
    at = round(below * len(ordered))
    if at >= len(ordered):
        return min(1.0, (int(ordered[-1] * STEP) + 1) / STEP)
    under = ordered[at - 1] if at else 0.0
    between = round((under + ordered[at]) / 2 * STEP) / STEP
    # Rounding must not carry it past the score that it should let through.
    return between if between <= ordered[at] else int(ordered[at] * STEP) / STEP
