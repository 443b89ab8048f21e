"""What the admin API answers: each thing as a JSON object that says what it is. routes -> [shapes].

Money as decimal strings, times in Unix seconds (`*_at`, since, until).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from app.audit.records import Record
from app.billing.ledger.balances import Balance
from app.billing.reports import Summary
from app.core.ports import Notice, UsageRow
from app.notifications.outbox import Sent
from app.notifications.subscriptions import Webhook
from app.tenancy.model import FOREVER, Key, Plan, Project, Tenant, stored

Json = dict[str, Any]


def money(amount: Decimal) -> str:
    """Plain digits, never an exponent."""
    return f"{amount:f}"


def listed(things: Sequence[Json], limit: int | None = None) -> Json:
    """OpenAI's list. limit: of the page, for which one more was fetched; None: these are all."""
    page = things if limit is None else things[:limit]
    return {"object": "list", "data": list(page), "has_more": len(things) > len(page)}


def plan(one: Plan) -> Json:
    """terms: what they say, no more."""
    return {"id": one.id, "object": "plan", "terms": stored(one.terms), "created_at": one.created}


def tenant(one: Tenant, now: float) -> Json:
    """paused_until null while paused: until it is resumed."""
    until = one.paused_until if (one.paused_until or 0.0) > now else None
    return {
        "id": one.id,
        "object": "tenant",
        "name": one.name,
        "plan": one.plan,
        "terms": stored(one.terms),
        "paused": until is not None,
        "paused_until": None if until == FOREVER else until,
        "paused_why": one.paused_why if until is not None else None,
        "keeps_content": one.keeps_content,
        "erased_at": one.erased,
        "created_at": one.created,
    }


def project(one: Project) -> Json:
    """archived: its keys are dead."""
    return {
        "id": one.id,
        "object": "project",
        "tenant": one.tenant,
        "name": one.name,
        "terms": stored(one.terms),
        "archived": one.archived,
        "created_at": one.created,
    }


def key(one: Key, now: float, secret: str | None = None) -> Json:
    """secret: the key itself, where it was just made."""
    return {
        "id": one.id,
        "object": "key",
        **({} if secret is None else {"key": secret}),
        "tenant": one.tenant,
        "project": one.project or None,
        "name": one.name,
        "prefix": one.prefix,
        "scopes": sorted(one.scopes),
        "terms": stored(one.terms),
        "state": one.state(now),
        "suspended": one.suspended or None,
        "throttled_until": one.throttled_until if (one.throttled_until or 0.0) > now else None,
        "expires_at": one.expires,
        "created_at": one.created,
    }


def budget(one: Balance) -> Json:
    """budget, left: null where there is none. spent: of all time."""
    return {
        "id": one.id,
        "object": "budget",
        "tenant": one.tenant,
        "budget": None if one.budget is None else money(one.budget),
        "period": one.period,
        "since": one.since,
        "period_spent": money(one.period_spent),
        "reserved": money(one.reserved),
        "left": None if one.left is None else money(one.left),
        "spent": money(one.spent),
    }


def usage(row: UsageRow) -> Json:
    """A call as billed. ttft, latency: seconds."""
    plain = {name: money(v) if isinstance(v, Decimal) else v for name, v in asdict(row).items()}
    del plain["trail"]
    return {"id": plain.pop("id"), "object": "usage", "created_at": plain.pop("created"), **plain}


def summary(one: Summary) -> Json:
    """revenue: what was billed, exactly; margin: revenue less goods; margin_share null where nothing was billed."""
    plain = {name: money(v) if isinstance(v, Decimal) else v for name, v in asdict(one).items()}
    share = one.margin_share
    return {
        "object": "usage.summary",
        **plain,
        "revenue": plain["cost"],
        "margin": money(one.margin),
        "margin_share": None if share is None else money(share),
    }


def record(one: Record) -> Json:
    """data: the very JSON text that was signed."""
    return {"object": "audit.record", **{name: getattr(one, name) for name in one.__slots__}}


def webhook(one: Webhook) -> Json:
    """Of the operator, who hears of all, where tenant is null. events empty: all kinds."""
    return {
        "id": one.id,
        "object": "webhook",
        "tenant": one.tenant,
        "url": one.url,
        "events": list(one.events),
        "created_at": one.created,
    }


def notice(one: Notice, sent: Sequence[Sent]) -> Json:
    """deliveries: due_at null is delivered or given up."""
    deliveries = [
        {
            "webhook": s.webhook,
            "attempts": s.attempts,
            "due_at": s.due,
            "delivered_at": s.delivered,
            "error": s.error,
        }
        for s in sent
    ]
    return {
        "id": one.id,
        "object": "notice",
        "kind": one.kind,
        "tenant": one.tenant,
        "data": dict(one.data),
        "created_at": one.at,
        "deliveries": deliveries,
    }
