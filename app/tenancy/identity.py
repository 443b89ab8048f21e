"""Whose key is it, and what may it do: its row with its project's, tenant's and plan's. ledger -> [identity] -> SQL."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, bindparam, or_, select
from sqlalchemy import false as sa_false

from app.core.ports import Limit, Principal
from app.core.terms import common, tightest
from app.db.schema import keys, plans, projects, tenants
from app.tenancy.model import terms_of


@dataclass(frozen=True, slots=True)
class Identity:
    """A key's owner, and until when the key lives."""

    who: Principal
    expires: float | None


def digest(key: str) -> str:
    """The hash that stands for the key, hex. Keys are random, so a plain sha256 cannot be turned back."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


_LIVE = (
    select(
        keys,
        tenants.c.plan,
        tenants.c.terms.label("tenant_terms"),
        tenants.c.paused_until,
        tenants.c.paused_why,
        tenants.c.keeps_content,
        plans.c.terms.label("plan_terms"),
        projects.c.terms.label("project_terms"),
    )
    .join(tenants, tenants.c.id == keys.c.tenant)
    .outerjoin(plans, plans.c.id == tenants.c.plan)
    .outerjoin(projects, projects.c.id == keys.c.project)
    .where(
        keys.c.disabled.is_(False),
        tenants.c.erased.is_(None),
        or_(projects.c.id.is_(None), projects.c.archived.is_(sa_false())),
    )
)
_FIND = _LIVE.where(keys.c.hash.in_(bindparam("hashes", expanding=True)))
_BY_ID = _LIVE.where(keys.c.id == bindparam("which"))


def look_up(connection: Connection, hashes: Sequence[str], now: float) -> dict[str, Identity]:
    """By hash, the keys that are live. now: Unix seconds."""
    rows = connection.execute(_FIND, {"hashes": hashes})
    return {row.hash: Identity(_principal(row, now), row.expires) for row in rows}


def by_id(connection: Connection, key_id: str, now: float) -> Identity | None:
    """The key of this id, when it is live. now: Unix seconds."""
    row = connection.execute(_BY_ID, {"which": key_id}).first()
    return None if row is None else Identity(_principal(row, now), row.expires)


def _principal(row: Any, now: float) -> Principal:
    tenant = terms_of(row.tenant_terms).over(terms_of(row.plan_terms))
    project, key = terms_of(row.project_terms), terms_of(row.terms)
    levels = (tenant, project, key)
    limits = [*tenant.limits(f"tenant:{row.tenant}"), *key.limits(f"key:{row.id}")]
    if row.project:
        limits += project.limits(f"project:{row.project}")
    if (row.throttled_until or 0.0) > now:
        limits = _throttled(limits, f"key:{row.id}", row.throttle_rpm, row.throttled_until)
    return Principal(
        tenant=row.tenant,
        key_id=row.id,
        project=row.project,
        scopes=frozenset(row.scopes.split()),
        limits=tuple(limits),
        max_output_tokens=tightest(*(level.max_output_tokens for level in levels)),
        context_length=tightest(*(level.context_length for level in levels)),
        models=common(*(level.models for level in levels)),
        regions=common(*(level.regions for level in levels)),
        price_list=tenant.price_list,
        service_tier=tenant.service_tier or "default",
        keeps_content=row.keeps_content,
        paused=(row.paused_why or "paused") if (row.paused_until or 0.0) > now else "",
        suspended=row.suspended or "",
        safety=tenant.safety.safety(),
    )


def _throttled(limits: list[Limit], owner: str, rpm: int, until: float) -> list[Limit]:
    """The key's common requests a minute, at most `rpm`. until: Unix seconds."""
    end = datetime.fromtimestamp(until, UTC)
    why = f"slowed down until {end:%H:%M} UTC, because calls of it were refused by a judge"
    slow = Limit(owner, "requests", "minute", rpm, why=why)
    own = [limit for limit in limits if (limit.owner, limit.name) == (owner, slow.name)]
    others = [limit for limit in limits if limit not in own]
    return [*others, replace(slow, amount=min([rpm, *(limit.amount for limit in own)]))]
