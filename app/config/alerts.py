"""The part of the policy that looks after money and abuse: alerts, strikes, the spend breaker, addresses, telemetry."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, model_validator

from app.config.base import Strict
from app.core.ports import AbusePolicy

Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Percent = Annotated[int, Field(ge=1, le=100)]


class Strikes(Strict):
    """A strike is a call that guard, moderator or leak check refused, or that they let pass with the action
    `throttle`. So many within `window` throttle a key, more suspend it.

    0 switches a step off. `penstock keys reinstate` undoes both.
    """

    window: Seconds = 3600
    throttle_after: Count = 10
    throttle_rpm: Annotated[int, Field(ge=1)] = 6
    throttle_seconds: Seconds = 900
    suspend_after: Count = 50

    @model_validator(mode="after")
    def _in_order(self) -> Strikes:
        if self.throttle_after and self.suspend_after and self.suspend_after <= self.throttle_after:
            msg = f"suspend_after: {self.suspend_after} must be above throttle_after ({self.throttle_after})"
            raise ValueError(msg)
        return self


class Breaker(Strict):
    """Pauses a tenant whose spending over `window` seconds runs at `multiple` times its norm: the mean over `norm`
    seconds, or `floor_per_hour` where that is more. 0 switches it off. `penstock tenants resume` ends a pause.
    """

    multiple: Annotated[float, Field(ge=0)] = 10
    floor_per_hour: Annotated[Decimal, Field(ge=0)] = Decimal(10)
    window: Seconds = 300
    norm: Seconds = 604_800
    pause: Seconds = 3600


class Alerts(Strict):
    """alerts: percent of a budget that are told of, in the log and by webhook."""

    budget_percents: list[Percent] = Field(default_factory=lambda: [50, 80, 100])
    strikes: Strikes = Strikes()
    breaker: Breaker = Breaker()

    @property
    def abuse_policy(self) -> AbusePolicy:
        """The same, as the ledger reads it."""
        return AbusePolicy(
            alerts=tuple(sorted(set(self.budget_percents))),
            strike_window=self.strikes.window,
            strikes_to_throttle=self.strikes.throttle_after,
            strikes_to_suspend=self.strikes.suspend_after,
            throttle_rpm=self.strikes.throttle_rpm,
            throttle_seconds=self.strikes.throttle_seconds,
            breaker_multiple=self.breaker.multiple,
            breaker_floor=self.breaker.floor_per_hour,
            breaker_window=self.breaker.window,
            breaker_norm=self.breaker.norm,
            breaker_pause=self.breaker.pause,
        )


class IpLimits(Strict):
    """Limits of one client address, before its key is looked up; 0 switches one off.

    trusted_hops: how many proxies in front append to `X-Forwarded-For`; 0 believes the connection alone.
    """

    requests_per_minute: Count = 0
    failures_per_minute: Count = 60
    trusted_hops: Count = 0


class Observability(Strict):
    """traces: an OTLP/HTTP endpoint for OpenTelemetry, e.g. `http://collector:4318/v1/traces`; None is off.

    metrics: whether `/metrics` answers everybody, or an API key of the scope `metrics` alone.
    """

    metrics: Literal["open", "key"] = "open"
    traces: str | None = None
    logs: Literal["json", "text"] = "json"
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
