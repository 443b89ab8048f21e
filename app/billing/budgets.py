"""Budgets, alerts and the spend breaker as pure arithmetic. Money in nano (1e-9), times in Unix seconds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime


def period_start(period: str, now: float) -> float:
    """When the current period began: `month` and `day` are UTC's; `total` began with time."""
    if period == "total":
        return 0.0
    moment = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return (moment.replace(day=1) if period == "month" else moment).timestamp()


def crossed(spent: int, budget: int, told: int, percents: Iterable[int]) -> list[int]:
    """The percentages of the budget that are reached and were not told of yet, lowest first."""
    if budget <= 0:
        return []
    return sorted(percent for percent in percents if percent > told and spent * 100 >= budget * percent)


@dataclass(frozen=True, slots=True)
class Pace:
    """Spending as two sums that fade, over a short window and over a long one: their rates are `now` and the norm."""

    fast: float
    norm: float
    rated: float

    def after(self, cost: int, now: float, window: float, norm_window: float) -> Pace:
        """The pace once `cost` more is spent."""
        elapsed = max(0.0, now - self.rated)
        return Pace(
            self.fast * math.exp(-elapsed / window) + cost,
            self.norm * math.exp(-elapsed / norm_window) + cost,
            max(now, self.rated),
        )

    def runs_away(self, before: Pace, multiple: float, floor: float, window: float, norm_window: float) -> bool:
        """Whether it is above `multiple` times the norm `before`; a norm below `floor` nano a second counts as that."""
        usual = max(before.norm / norm_window, floor)
        return self.fast / window > multiple * usual
