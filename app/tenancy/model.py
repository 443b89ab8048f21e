"""What a plan, a tenant, a project and a key are, and what may be changed of them. admin API, SQL -> [model].

SQL stands beside: plans, tenants, projects, keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypedDict

import orjson

from app.core.terms import Terms

FOREVER = 253_402_300_799.0
"""When a pause without an end ends, Unix seconds: the last second of the year 9999."""
SCOPES = frozenset(
    {"chat", "embeddings", "moderations", "files", "batches", "models", "responses", "messages", "usage", "metrics"}
)


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan. created: Unix seconds."""

    id: str
    terms: Terms
    created: float


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who pays. terms: its own, over the plan's. Times in Unix seconds; paused_until None: not paused."""

    id: str
    name: str
    plan: str
    terms: Terms
    paused_until: float | None
    paused_why: str
    keeps_content: bool
    erased: float | None
    created: float


class TenantChanges(TypedDict, total=False):
    """What may be changed of a tenant; what is left out stays."""

    name: str
    plan: str
    terms: Terms


@dataclass(frozen=True, slots=True)
class Project:
    """A part of a tenant with terms and a budget of its own. archived: its keys are dead."""

    id: str
    tenant: str
    name: str
    terms: Terms
    archived: bool
    created: float


class ProjectChanges(TypedDict, total=False):
    """What may be changed of a project; what is left out stays."""

    name: str
    terms: Terms
    archived: bool


@dataclass(frozen=True, slots=True)
class Key:
    """A key without the key. prefix: its first characters, to tell it by. Times in Unix seconds.

    project: empty is the tenant's own. scopes: empty is all. forgiven: strikes before it do not count.
    """

    id: str
    tenant: str
    project: str
    name: str
    prefix: str
    scopes: frozenset[str]
    terms: Terms
    disabled: bool
    suspended: str
    throttled_until: float | None
    forgiven: float
    expires: float | None
    created: float

    def state(self, now: float) -> str:
        """What is the matter with it: disabled, expired, suspended, throttled; else live."""
        facts = {
            "disabled": self.disabled,
            "expired": self.expires is not None and self.expires <= now,
            "suspended": bool(self.suspended),
            "throttled": (self.throttled_until or 0.0) > now,
        }
        return next((name for name, holds in facts.items() if holds), "live")


class KeyChanges(TypedDict, total=False):
    """What may be said of a key; what is left out stays."""

    name: str
    scopes: frozenset[str]
    terms: Terms
    expires: float | None


def stored(terms: Terms) -> dict[str, object]:
    """Terms as a JSON column holds them, and as they are shown: what they say, no more."""
    return terms.model_dump(mode="json", exclude_unset=True)


def terms_of(stored: Any) -> Terms:
    """The terms of a JSON column; None has none."""
    return _terms(orjson.dumps(stored or {}))


@lru_cache(4096)
def _terms(stored: bytes) -> Terms:
    return Terms.model_validate_json(stored)
