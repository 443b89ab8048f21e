"""Anthropic's lists, page by page: `limit`, `after_id`, `before_id`; `first_id`, `last_id`, `has_more`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from app.core import errors

USUAL, MOST = 20, 1_000


@dataclass(frozen=True, slots=True)
class Page:
    """What of a list is asked for."""

    limit: int
    after: str | None
    before: str | None

    @classmethod
    def of(cls, request: Request) -> Page:
        """As the query says. Raises ApiError (400)."""
        query = request.query_params
        said = query.get("limit", str(USUAL))
        if not (said.isascii() and said.isdigit() and len(said) < 8 and 1 <= int(said) <= MOST):
            raise errors.bad_request(f"limit: choose from 1 to {MOST}.", "limit", "invalid_value")
        if query.get("after_id") and query.get("before_id"):
            raise errors.bad_request("Send `after_id` or `before_id`, not both.", "after_id", "invalid_value")
        return cls(int(said), query.get("after_id"), query.get("before_id"))

    @staticmethod
    def body(data: Sequence[dict[str, Any]], *, more: bool) -> dict[str, Any]:
        """The list's object."""
        ids = [one["id"] for one in data]
        ends = {"first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None}
        return {"data": list(data), "has_more": more, **ends}
