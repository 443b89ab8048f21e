"""What the ledger's tests share: a clock that stands still, and a row to settle."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from app.ports import Principal, UsageRow

START = 1_700_000_000.0


@dataclass
class Clock:
    """Unix seconds that pass only when told."""

    now: float = START

    def __call__(self) -> float:
        return self.now


def row(id_: str, who: Principal, cost: str = "0", tokens: int = 0) -> UsageRow:
    """A settled call of `tokens` prompt tokens."""
    return UsageRow(
        id=id_,
        created=START,
        tenant=who.tenant,
        key_id=who.key_id,
        model="auto",
        tier="small",
        pool="pool",
        region="eu",
        outcome="ok",
        refused_by=None,
        prompt_tokens=tokens,
        cached_tokens=0,
        completion_tokens=0,
        cost=Decimal(cost),
        price_list="default",
        ttft=0.1,
        latency=0.2,
        trail={"guard": {"risk": 0.1}},
    )
