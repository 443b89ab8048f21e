"""What a judge's measurement is made of: figures with their confidence intervals, curves, thresholds, latency.

data -> evals/JUDGE.py: measure() -> [Table] -> evals/__main__.py prints it, evals/report.py writes it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from evals.data import rows

__all__ = ["Curve", "Figure", "Latency", "Stopwatch", "Table", "bootstrapped", "interval", "latencies", "rate", "rows"]

Indices = NDArray[np.int64]
Measure = Callable[[Indices], float]
"""A figure of a resample: which rows, with repetitions, are in it -> a number; NaN where they do not allow one."""

ROUNDS = 300
LOW, HIGH = 2.5, 97.5  # percentiles of the rounds: 95 %


@dataclass(frozen=True, slots=True)
class Figure:
    """One number and its 95 % confidence interval. goal: what it should reach; None: it only informs.

    higher: whether more is better. per: how a number is shown: `share` as it is (0.973), `percent` (1.2 %).
    """

    name: str
    value: float
    low: float
    high: float
    goal: float | None = None
    higher: bool = True
    per: Literal["share", "percent"] = "share"

    @property
    def reached(self) -> bool | None:
        """Whether the value reaches the goal; None without one."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.higher else self.value <= self.goal


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a chart. A judge's curves of one kind are drawn into one picture.

    kind: `roc` and `calibration` get the diagonal as a reference; `pr`, `share` (of calls to the strong model against
    what it gains) and `error` (of hits, against how many there are) are drawn as they are.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    x_label: str
    y_label: str
    kind: Literal["roc", "pr", "calibration", "share", "error"]

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y):
            message = f"curve {self.name}: {len(self.x)} x, {len(self.y)} y: give as many of each"
            raise ValueError(message)


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of one call. what: of which (`one text of 64 tokens, one thread`)."""

    what: str
    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Table:
    """One judge, measured. about: which rows, how many, how they were split and what was left out.

    thresholds: the defaults that the figures were taken at, by name.
    """

    judge: str
    title: str
    about: str
    figures: Sequence[Figure]
    thresholds: Mapping[str, float] = field(default_factory=dict)
    latency: Sequence[Latency] = ()
    curves: Sequence[Curve] = ()

    def figure(self, name: str) -> Figure:
        """The figure of this name. Raises KeyError, naming those there are."""
        for found in self.figures:
            if found.name == name:
                return found
        message = f"no figure {name!r} of {self.judge}: choose from {', '.join(f.name for f in self.figures)}"
        raise KeyError(message)

    def under(self, floors: Mapping[str, float]) -> list[str]:
        """One sentence for each figure that is on the wrong side of its floor. floors: by the figure's name."""
        wrong = []
        for name, floor in floors.items():
            found = self.figure(name)
            if math.isnan(found.value) or (found.value < floor if found.higher else found.value > floor):
                side = "under" if found.higher else "over"
                wrong.append(f"{self.judge}: {name} is {found.value:.3f}, {side} {floor:.3f}")
        return wrong


class Stopwatch:
    """Times what happens inside `with stopwatch:`, again and again."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._began = 0.0

    def __enter__(self) -> Self:
        self._began = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds.append(time.perf_counter() - self._began)

    def latency(self, what: str) -> Latency:
        """The p50 and p99 of all that was timed. Raises ValueError when nothing was."""
        if not self.seconds:
            message = f"{what}: nothing was timed"
            raise ValueError(message)
        p50, p99 = np.percentile(np.array(self.seconds) * 1000, [50, 99])
        return Latency(what, float(p50), float(p99))


def latencies(
    score: Callable[[list[str]], Awaitable[object]], sizes: Sequence[int] = (16, 64, 160), rounds: int = 60
) -> list[Latency]:
    """Of a judge that gets one text at a time, in one thread. sizes: of the texts, in tokens."""

    async def again(watch: Stopwatch, text: str) -> None:
        for _ in range(5):
            await score([text])
        for _ in range(rounds):
            with watch:
                await score([text])

    found = []
    for tokens in sizes:
        watch = Stopwatch()
        asyncio.run(again(watch, "the river rises in hills " * (tokens // 5)))
        found.append(watch.latency(f"a text of {tokens} tokens, one thread"))
    return found


def interval(
    measure: Measure, n: int, *, groups: Sequence[Any] | None = None, rounds: int = ROUNDS, seed: int = 0
) -> tuple[float, float]:
    """The 95 % percentile bootstrap of a figure of n rows: (low, high); NaN, NaN where no resample allows it.

    groups: of every row, whatever rows that belong together share (a subject, a connected question, a template): whole
    groups are drawn, so that rows that are alike do not make the interval too narrow.
    """
    rng = np.random.default_rng(seed)
    members = _members(groups) if groups is not None else None
    found = []
    for _ in range(rounds):
        if members is None:
            rows = rng.integers(0, n, n)
        else:
            rows = np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
        found.append(measure(rows))
    kept = np.array([value for value in found if not math.isnan(value)])
    if not len(kept):
        return math.nan, math.nan
    low, high = np.percentile(kept, [LOW, HIGH])
    return float(low), float(high)


def bootstrapped(
    name: str,
    measure: Measure,
    n: int,
    *,
    goal: float | None = None,
    higher: bool = True,
    per: Literal["share", "percent"] = "share",
    groups: Sequence[Any] | None = None,
    rounds: int = ROUNDS,
) -> Figure:
    """A Figure with its bootstrap interval: `measure` of all n rows, and of resamples of them (see `interval`)."""
    value = measure(np.arange(n))
    low, high = interval(measure, n, groups=groups, rounds=rounds)
    return Figure(name, float(value), low, high, goal, higher, per)


def rate(
    name: str,
    hits: Sequence[bool] | NDArray[np.bool_],
    *,
    goal: float | None = None,
    higher: bool = True,
    per: Literal["share", "percent"] = "share",
) -> Figure:
    """The share of rows that are hits, with Wilson's interval: right also when none or all are, unlike a bootstrap."""
    n, k = len(hits), int(np.sum(hits))
    if not n:
        return Figure(name, math.nan, math.nan, math.nan, goal, higher, per)
    p, z = k / n, 1.96
    middle, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    whole = 1 + z * z / n
    return Figure(name, p, max(0.0, (middle - spread) / whole), min(1.0, (middle + spread) / whole), goal, higher, per)


def _members(groups: Sequence[Any]) -> list[Indices]:
    """Row numbers by group."""
    by: dict[Any, list[int]] = {}
    for row, group in enumerate(groups):
        by.setdefault(group, []).append(row)
    return [np.array(rows) for rows in by.values()]
