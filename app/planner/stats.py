"""Weighted values in fine bins: millions of token gaps without a list of them. replica -> [stats] -> outcome."""

from __future__ import annotations

import heapq
import math
from collections import defaultdict

_GROWTH = math.log(1.01)
"""Each bin is 1 % wide."""


class Histogram:
    """Positive values, each some times; percentiles within 1 %."""

    def __init__(self) -> None:
        self._bins: dict[int, float] = defaultdict(float)

    def add(self, value: float, times: float = 1.0) -> None:
        """`value` once more, or `times` more."""
        if value > 0 and times > 0:
            self._bins[round(math.log(value) / _GROWTH)] += times

    def percentile(self, percent: float) -> float:
        """The value below which so many percent lie; 0 of nothing."""
        total, passed = sum(self._bins.values()), 0.0
        for number in sorted(self._bins):
            passed += self._bins[number]
            if passed >= total * percent / 100:
                return math.exp(number * _GROWTH)
        return 0.0


class Station:
    """Servers in front of one queue, first come first served, without an event for each: a G/G/c queue.

    Calls must come in order of time. busy_s: seconds of service given.
    """

    def __init__(self, servers: int) -> None:
        self._free = [0.0] * max(servers, 1)
        self.servers, self.busy_s = max(servers, 1), 0.0

    def leave(self, at: float, service_s: float) -> float:
        """When a call that comes at `at` has been served."""
        end = max(at, self._free[0]) + service_s
        heapq.heapreplace(self._free, end)
        self.busy_s += service_s
        return end

    def utilisation(self, span_s: float) -> float:
        """The share of the servers' time that they worked."""
        return self.busy_s / (span_s * self.servers) if span_s else 0.0
