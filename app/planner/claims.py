"""Customary figures beside what was found: where they hold and where not. plan -> [claims] -> report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from app.planner.outcome import Outcome
from app.planner.scenario import Scenario

ROUTING, CACHING, SPLITTING = 0.87, 0.75, 0.40
NEAR = 0.05
ON = "everything on"
NO_ROUTING = "routing off: all calls to the largest tier"
NO_SEMANTIC = "semantic cache off"
NO_PREFIX = "prefix cache off"
TOGETHER = "prefill and decode together"
SPLIT = "prefill and decode split, in every pool"
ALL_OFF = "all of them off"
REPEATING = "the prefix cache holds 90 % of each prompt"


class Found(Protocol):
    """An answer of the plan."""

    @property
    def table(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def tokens_per_day(self) -> float: ...
    @property
    def outcome(self) -> Outcome: ...


@dataclass(frozen=True, slots=True)
class Claim:
    """`what` is said to save `customary` of the cost; `where` it saved `found` of it."""

    what: str
    customary: float
    where: str
    found: float

    @property
    def holds(self) -> bool:
        """Within five points, or more."""
        return self.found >= self.customary - NEAR


def claims(answers: Sequence[Found], base: Scenario) -> list[Claim]:
    """What the answers say about the customary figures."""
    found = [
        Claim("routing", ROUTING, "by list price, for calls of equal length in every tier", list_price_saving(base)),
        Claim(
            "prompt caching", CACHING, "by list price, of what an input token costs once cached", cached_discount(base)
        ),
    ]
    costs = {(one.table, one.label): one.outcome.money.cost for one in answers}
    places = {"switches": "at the asked load", "ten times": "at ten times that", "users": "for the users"}
    pairs = [
        *(("routing", ROUTING, t, ON, t, NO_ROUTING, w) for t, w in places.items()),
        *(("prompt caching", CACHING, t, ON, t, NO_PREFIX, w) for t, w in places.items()),
        (
            "prompt caching",
            CACHING,
            "repeating",
            REPEATING,
            "users",
            NO_PREFIX,
            "for the users, 90 % of each prompt cached",
        ),
        *(("prefill/decode split", SPLITTING, t, SPLIT, t, TOGETHER, w) for t, w in places.items()),
        ("prefill/decode split", SPLITTING, "strict", SPLIT, "strict", TOGETHER, "for the users, 30 ms between tokens"),
        *(("all of them together", ROUTING, t, ON, t, ALL_OFF, w) for t, w in places.items()),
    ]
    return found + [
        Claim(what, customary, where, _saved(costs[table, now], costs[other, before]))
        for what, customary, table, now, other, before, where in pairs
        if (table, now) in costs and (other, before) in costs
    ]


def list_price_saving(base: Scenario) -> float:
    """Of the output price: routed by the shares, against all in the last tier."""
    top = base.tiers[-1].price[2]
    routed = sum(base.assumed.shares.get(tier.name, 0.0) * tier.price[2] for tier in base.tiers)
    return _saved(routed, top)


def cached_discount(base: Scenario) -> float:
    """The mean discount on a cached input token."""
    return sum(base.assumed.shares.get(t.name, 0.0) * _saved(t.price[1], t.price[0]) for t in base.tiers)


def _saved(now: float, before: float) -> float:
    return 1 - now / before if before else 0.0
