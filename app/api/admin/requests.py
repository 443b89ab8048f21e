"""What the admin API is asked: bodies and queries. routes -> read -> [wire]. No field beside these is taken."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field

from app.core.terms import UNLIMITED, Period, Terms
from app.tenancy.model import KeyChanges, ProjectChanges, TenantChanges

Id = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]
Text = Annotated[str, Field(max_length=500, pattern=r"^[^\x00]*$")]
Money = Annotated[Decimal, Field(ge=0, max_digits=18, decimal_places=9)]
Seconds = Annotated[float, Field(ge=0, lt=1e11)]
By = Literal["tenant", "project", "key", "model", "tier", "pool", "region", "day"]


class Asked(BaseModel):
    """Unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def given(self) -> dict[str, Any]:
        """The fields that were sent."""
        return {name: getattr(self, name) for name in self.model_fields_set}


# -- bodies ----------------------------------------------------------------------------------------


class PutPlan(Asked):
    """`PUT /plans/{id}`."""

    terms: Terms


class NewTenant(Asked):
    """`POST /tenants`. terms: over the plan's, field by field; null takes the plan's away."""

    id: Id
    name: Text = ""
    plan: Id = UNLIMITED
    terms: Terms = Terms()


class ChangeTenant(Asked):
    """`PATCH /tenants/{id}`. terms: instead of all it had of its own."""

    name: Text = ""
    plan: Id = UNLIMITED
    terms: Terms = Terms()

    def changes(self) -> TenantChanges:
        return cast("TenantChanges", self.given())


class Pause(Asked):
    """`POST /tenants/{id}/pause`. until: Unix seconds; null: until it is resumed.

    why: its callers see it, and it stays in the audit chain: no names.
    """

    why: Text
    until: Seconds | None = None


class Erase(Asked):
    """`POST /tenants/{id}/erase`. confirm: the tenant's id once more, for there is no way back."""

    confirm: Id


class Keep(Asked):
    """`PUT /tenants/{id}/content`."""

    keep: bool


class NewProject(Asked):
    """`POST /projects`. id: unique over all tenants."""

    tenant: Id
    id: Id
    name: Text = ""
    terms: Terms = Terms()


class ChangeProject(Asked):
    """`PATCH /projects/{id}`."""

    name: Text = ""
    terms: Terms = Terms()
    archived: bool = False

    def changes(self) -> ProjectChanges:
        return cast("ProjectChanges", self.given())


class ChangeKey(Asked):
    """`PATCH /keys/{id}`. scopes: none is all. expires_at: Unix seconds; null: never."""

    name: Text = ""
    scopes: frozenset[Text] = frozenset()
    terms: Terms = Terms()
    expires_at: Seconds | None = None

    def changes(self) -> KeyChanges:
        given = {"expires" if name == "expires_at" else name: value for name, value in self.given().items()}
        return cast("KeyChanges", {name: given[name] for name in given.keys() & KeyChanges.__annotations__})


class NewKey(ChangeKey):
    """`POST /keys`. project: none is the tenant's own."""

    tenant: Id
    project: Text = ""


class Rotate(Asked):
    """`POST /keys/{id}/rotate`. overlap_seconds: for how long the old key still works."""

    overlap_seconds: Annotated[float, Field(ge=0, le=31_536_000)] = 0.0


class PutBudget(Asked):
    """`PUT /budgets/{id}`. budget: money in each period; null: none."""

    budget: Money | None
    period: Period = "total"


class Export(Asked):
    """`POST /audit/export`. to: a folder's URL, as this server reaches it. after, before: Unix seconds."""

    to: Id
    format: Literal["jsonl", "parquet"] = "jsonl"
    chain: Id | None = None
    after: Seconds | None = None
    before: Seconds | None = None


class Prune(Asked):
    """`POST /audit/prune`. to: where what is taken out is kept, as this server reaches it."""

    to: Id
    format: Literal["jsonl", "parquet"] = "jsonl"


class VerifyExport(Asked):
    """`POST /audit/verify-export`. url: where it was exported to."""

    url: Id


class NewWebhook(Asked):
    """`POST /webhooks`. tenant: none is the operator's, which hears of all. events: none is all."""

    url: Text
    tenant: Id | None = None
    events: list[Text] = Field(default_factory=list)


# -- queries ---------------------------------------------------------------------------------------


class Nothing(Asked):
    """No query."""


class Forget(Asked):
    """`DELETE /cache`. None is any; all: there need be none."""

    tenant: Id | None = None
    model: Id | None = None
    version: Id | None = None
    all: bool = False


class Page(Asked):
    """Of a list. after: the last id of the page before."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    after: Text = ""


class TenantPage(Page):
    """Of one tenant or all."""

    tenant: Id | None = None


class UsagePage(TenantPage):
    """Of one key or all."""

    key: Id | None = None


class Summed(Asked):
    """`GET /usage/summary`. since <= created < until: Unix seconds."""

    by: By
    since: Seconds | None = None
    until: Seconds | None = None
    tenant: Id | None = None


class Format(Asked):
    """`GET /invoices/{tenant}/{month}`."""

    format: Literal["json", "csv", "html"] = "json"


class Records(Asked):
    """`GET /audit`. after, before: Unix seconds."""

    chain: Id | None = None
    kind: Id | None = None
    subject: Id | None = None
    after: Seconds | None = None
    before: Seconds | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class OneChain(Asked):
    """`GET /audit/verify`. chain: a tenant's id or `_operator`; none is all."""

    chain: Id | None = None


class NoticePage(Asked):
    """`GET /notices`."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    tenant: Id | None = None
