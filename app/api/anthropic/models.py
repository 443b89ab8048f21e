"""Models as Anthropic's `GET /v1/models` and `/v1/models/{id}` tell them.  openai.models -> [models]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request

from app.api.anthropic.pages import Page
from app.pipeline.gateway import Gateway


def model(gateway: Gateway, name: str) -> dict[str, Any]:
    """One model. A name that stands for several pools has the longest context among them."""
    created = datetime.fromtimestamp(gateway.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    told = {"type": "model", "id": name, "display_name": name, "created_at": created, "lifecycle": "active"}
    context = _context(gateway, name)
    return told | ({"max_input_tokens": context, "max_tokens": context} if context else {})


def models(gateway: Gateway, request: Request, names: Sequence[str]) -> Mapping[str, Any]:
    """A page of them: `limit`, `after_id`, `before_id`. Raises ApiError (400)."""
    page = Page.of(request)
    start, end = 0, len(names)
    if page.after in names:
        start = names.index(page.after) + 1
    if page.before in names:
        end = names.index(page.before)
        start = max(start, end - page.limit)
    shown = names[start : min(end, start + page.limit)]
    more = start > 0 if page.before in names else start + len(shown) < end
    return page.body([model(gateway, name) for name in shown], more=more)


def _context(gateway: Gateway, name: str) -> int:
    """Tokens that it reads and writes together; 0: nobody generates under this name."""
    catalog = gateway.catalog
    tiers = catalog.tiers_of(name)
    pools = set(catalog.models.get(name) or {pool for tier in tiers.values() for pool in tier.pools})
    return max((catalog.context[pool] for pool in pools), default=0)
