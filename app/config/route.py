"""How `auto` picks a tier beside the score: rules, conversations, and the shares to watch."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import Field, model_validator

from app.config.base import Strict, choose

Trait = Literal["tools", "json_schema", "long_context"]
Share = Annotated[float, Field(ge=0, le=1)]
ROUNDING = 0.005
"""Shares written to two places may miss 1 by this much."""


class Drift(Strict):
    """The alarm for shares that leave their target. `shares`: what part of `auto` calls each tier should get; empty:
    no alarm. `margin`: how far a share may stray. `window`: over about so many calls; none is judged before.
    """

    shares: dict[str, Share] = Field(default_factory=dict)
    margin: Annotated[float, Field(gt=0, lt=1)] = 0.05
    window: Annotated[int, Field(ge=10)] = 1000

    @model_validator(mode="after")
    def _whole(self) -> Drift:
        if self.shares and abs(sum(self.shares.values()) - 1) > ROUNDING:
            msg = f"shares: they add up to {sum(self.shares.values()):g}; write parts of 1, like 0.9, 0.07, 0.03"
            raise ValueError(msg)
        return self


class Route(Strict):
    """`min_tier`: the weakest tier that an `auto` call with a trait may take, whatever its score. `long_context`: from
    so many prompt tokens on a prompt has that trait. `sticky`: for so many seconds after its last call a conversation
    takes no weaker tier than before; 0 turns it off.
    """

    min_tier: dict[Trait, str] = Field(default_factory=dict)
    long_context: Annotated[int, Field(ge=1)] = 4000
    sticky: Annotated[float, Field(ge=0)] = 1800
    drift: Drift = Drift()

    def check(self, tiers: Collection[str]) -> None:
        """Raises ConfigError for a tier that there is not."""
        for trait, tier in self.min_tier.items():
            if tier not in tiers:
                raise choose(f"route.min_tier.{trait}", tier, tiers)
        for tier in self.drift.shares:
            if tier not in tiers:
                raise choose("route.drift.shares", tier, tiers)
