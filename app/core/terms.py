"""What a plan, a tenant, a project or a key may do, and how those add up to what one key may do. Pure, no I/O.

Terms stand at four levels: a plan's are its tenant's, the tenant's own override them field by field, and project and
key have terms of their own beside them. Every level is counted by itself, so a call must fit all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from app.core.ports import Action, Hiding, Limit, Safety
from app.core.refusals import UnfitError

Count = Annotated[int, Field(ge=1)] | None
Period = Literal["total", "month", "day"]
ANY = "*"
T = TypeVar("T")


class Quota(BaseModel):
    """Limits of one model or tier, or of all together. None: unlimited.

    Minutes are token buckets (`burst`), days are UTC days, `concurrent_requests` are calls on their way.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests_per_minute: Count = None
    tokens_per_minute: Count = None
    requests_per_day: Count = None
    tokens_per_day: Count = None
    concurrent_requests: Count = None


Said = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*\S[^\x00]*$")]
"""A text that a tenant names: not blank, and no longer than a name or an identifier is."""
Kind = Annotated[str, Field(pattern=r"^[A-Z][A-Z_]{0,63}$")]
"""A type of personal data, as the scrubber names it."""


LISTED = ("personal_allow", "personal_deny")
"""Fields that hold texts of a tenant's choice: they may be names of people."""


class SafetyTerms(BaseModel):
    """Where a plan or a tenant departs from the installation's judges, as ports.Safety; null: as the installation does.

    personal_deny is matched in whole words, in any case; the lists are short because every call is searched for them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    injection: Action | None = None
    injection_threshold: Annotated[float, Field(gt=0, le=1)] | None = None
    leak: Action | None = None
    personal: Hiding | None = None
    personal_types: list[Kind] | None = None
    personal_allow: Annotated[list[Said], Field(max_length=500)] | None = None
    personal_deny: Annotated[list[Said], Field(max_length=500)] | None = None
    cache_error: Annotated[float, Field(ge=0, le=0.5)] | None = None

    def safety(self) -> Safety:
        """As the stages know it."""
        said: dict[str, Any] = {
            name: frozenset(value) if isinstance(value, list) else value for name, value in self if value is not None
        }
        return Safety(**said)


TENANTS_ALONE = ("price_list", "retention_days", "safety", "service_tier")
"""Terms that are read of plan and tenant."""


class Terms(Quota):
    """What one level may do.

    burst: how many minutes' worth a bucket holds when it is full; below 1 smooths, above 1 lets a quiet caller save up.
    models: the only models and tiers that may be asked for. per_model: limits by model id, tier or `auto`, beside the
    common ones. budget: money in each `budget_period`, hard. price_list, regions (where a call may be answered),
    service_tier, retention_days (audit) and safety are read from plan and tenant; regions from every level. A tenant's
    own safety stands over its plan's field by field, too.
    """

    burst: Annotated[float, Field(gt=0, le=60)] | None = None
    max_output_tokens: Count = None
    context_length: Count = None
    models: list[str] | None = None
    per_model: dict[str, Quota] = Field(default_factory=dict)
    budget: Annotated[Decimal, Field(ge=0, max_digits=18, decimal_places=9)] | None = None
    budget_period: Period | None = None
    price_list: str | None = None
    regions: list[str] | None = None
    service_tier: str | None = None
    retention_days: Annotated[int, Field(ge=1)] | None = None
    safety: SafetyTerms = SafetyTerms()

    def over(self, other: Terms) -> Terms:
        """These terms, with `other`'s where these say nothing."""
        own, theirs = self.model_dump(exclude_unset=True), other.model_dump(exclude_unset=True)
        if "safety" in own and "safety" in theirs:
            own["safety"] = theirs["safety"] | own["safety"]
        return Terms.model_validate(theirs | own)

    def of_a_part(self) -> Terms:
        """These terms, of a project or a key. Raises UnfitError: some are read of plan and tenant alone."""
        said = [name for name in TENANTS_ALONE if getattr(self, name) not in (None, SafetyTerms())]
        if said:
            message = f"{', '.join(said)}: set it at the tenant or its plan, it is not read of a project or a key"
            raise UnfitError(message)
        return self

    def limits(self, owner: str) -> Iterator[Limit]:
        """The rate limits, counted for `owner` (`key:...`, `project:...`, `tenant:...`)."""
        burst = self.burst or 1.0
        for model, quota in ((ANY, self), *sorted(self.per_model.items())):
            yield from _limits(owner, model, quota, burst)


def _limits(owner: str, model: str, quota: Quota, burst: float) -> Iterator[Limit]:
    kinds: tuple[tuple[str, str, int | None], ...] = (
        ("requests", "minute", quota.requests_per_minute),
        ("tokens", "minute", quota.tokens_per_minute),
        ("requests", "day", quota.requests_per_day),
        ("tokens", "day", quota.tokens_per_day),
        ("concurrent", "now", quota.concurrent_requests),
    )
    for kind, per, amount in kinds:
        if amount is not None:
            yield Limit(owner, kind, per, amount, burst if per == "minute" else 1.0, model)


def tightest(*values: int | None) -> int | None:
    """The smallest that is set."""
    return min((value for value in values if value is not None), default=None)


def common(*sets: list[str] | None) -> frozenset[str] | None:
    """What every given list allows; None when no list is given, so that all is allowed."""
    given = [frozenset(one) for one in sets if one is not None]
    return frozenset.intersection(*given) if given else None


DEFAULT_PLANS: Mapping[str, Terms] = {
    "free": Terms(
        requests_per_minute=20, tokens_per_minute=20_000, requests_per_day=500, concurrent_requests=2,
        max_output_tokens=1024, budget=Decimal(1), budget_period="month", service_tier="best-effort",
    ),
    "pay-as-you-go": Terms(
        requests_per_minute=600, tokens_per_minute=600_000, concurrent_requests=64, budget=Decimal(100),
        budget_period="month", service_tier="standard",
    ),
    "enterprise": Terms(
        requests_per_minute=60_000, tokens_per_minute=60_000_000, burst=2.0, service_tier="priority",
        retention_days=2557,
    ),
}  # fmt: skip
"""Plans that a new database starts with; `penstock plans` changes them. Money in the price list's currency."""
UNLIMITED = "unlimited"
"""The plan of a tenant that was made without one: no limits, no budget."""
