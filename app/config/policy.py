"""Policy: how the graph decides. The Gateway's `user_config`; a change reaches running replicas, nothing restarts."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, model_validator

from app.config.base import Strict
from app.config.order import ROOMS, check_order


class Prices(Strict):
    """Money for 1M tokens. `hit`: the share of the full price that a semantic-cache hit costs."""

    input: Annotated[Decimal, Field(ge=0)]
    cached_input: Annotated[Decimal, Field(ge=0)]
    output: Annotated[Decimal, Field(ge=0)]
    hit: Annotated[Decimal, Field(ge=0, le=1)] = Decimal("0.1")


class Tier(Strict):
    """A class of models. `auto` takes it from complexity `above` up. `pools`: name -> weight, tried by health."""

    above: Annotated[float, Field(ge=0, le=1)]
    pools: dict[str, Annotated[float, Field(gt=0)]]
    price: Prices


class Admit(Strict):
    """Who may call. `max_completion_tokens`: the worst case reserved where a call names none.

    max_in_flight: calls at once in one gateway replica, a further one gets 503 at once. Keep it below the gateway's
    `max_ongoing_requests`, or Serve turns calls away first, in words that are not OpenAI's.
    """

    max_body_bytes: Annotated[int, Field(ge=1024)] = 4_000_000
    max_completion_tokens: Annotated[int, Field(ge=1)] = 1024
    max_in_flight: Annotated[int, Field(ge=1)] = 256


class Scrub(Strict):
    """Which personal data becomes a placeholder, from which score up. `types`: None is all the scrubber finds."""

    types: list[str] | None = None
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5


class Guard(Strict):
    """`alongside`: scores while the engine already generates, and holds the first Token back until it has."""

    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    mode: Literal["before", "alongside"] = "before"


class Recall(Strict):
    """A stored answer serves from this cosine up, for `ttl` seconds."""

    threshold: Annotated[float, Field(ge=0, le=1)] = 0.95
    ttl: Annotated[float, Field(gt=0)] = 3600


class Generate(Strict):
    """Seconds. A pool silent for `failover` is passed over while another is left, the last one after `first_token`;
    it then rests for `cooldown`.
    """

    deadline: Annotated[float, Field(gt=0)] = 300
    failover: Annotated[float, Field(gt=0)] = 10
    first_token: Annotated[float, Field(gt=0)] = 60
    cooldown: Annotated[float, Field(ge=0)] = 10


class Moderate(Strict):
    """Scores are the classifier's labels; a label without a threshold never stops an answer.

    window: characters scored together. stride: so many unscored characters call for a score; delay: so do
    fewer, after this many seconds. Text leaves only once a window that contains it was scored.
    """

    thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=lambda: {"toxicity": 0.8})
    window: Annotated[int, Field(ge=32)] = 400
    stride: Annotated[int, Field(ge=1)] = 48
    delay: Annotated[float, Field(gt=0)] = 0.15

    @model_validator(mode="after")
    def _window_holds_stride(self) -> Moderate:
        if self.stride >= self.window:
            msg = f"stride: {self.stride} must be below window ({self.window}), or no window overlaps the last"
            raise ValueError(msg)
        return self


class Policy(Strict):
    """How the graph decides. The Gateway's `user_config`: a change reaches running replicas, nothing restarts."""

    rooms: list[str] = Field(default_factory=lambda: list(ROOMS))
    admit: Admit = Admit()
    scrub: Scrub = Scrub()
    guard: Guard = Guard()
    recall: Recall = Recall()
    generate: Generate = Generate()
    moderate: Moderate = Moderate()
    tiers: dict[str, Tier]
    price_list: str = "default"

    @model_validator(mode="after")
    def _legal(self) -> Policy:
        check_order(self.rooms)
        if not self.tiers:
            msg = "tiers: name at least one"
            raise ValueError(msg)
        if "auto" in self.tiers:
            msg = "tiers: `auto` is the router's own name; call the tier something else"
            raise ValueError(msg)
        if min(tier.above for tier in self.tiers.values()) > 0:
            msg = "tiers: one must have `above: 0`, or the simplest prompts have nowhere to go"
            raise ValueError(msg)
        return self
