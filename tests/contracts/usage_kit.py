"""What tests of reports and invoices share: rows of `usage`, put straight into the database."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert

from app.db.schema import usage
from app.db.store import Store

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC).timestamp()
_numbers = itertools.count()


def fresh(what: str) -> str:
    """A name that nothing has yet."""
    return f"{what}-{next(_numbers)}"


def used(**changes: Any) -> dict[str, Any]:
    """A row of `usage`, money in nano: 1000 billed, 400 of it spent. `cost` is always the sum of its parts."""
    row: dict[str, Any] = {
        "id": fresh("call"),
        "created": NOON,
        "tenant": "acme",
        "project": "web",
        "key_id": "key_1",
        "model": "auto",
        "model_id": "model-a",
        "tier": "small",
        "pool": "a",
        "region": "eu",
        "outcome": "ok",
        "refused_by": None,
        "batch": False,
        "prompt_tokens": 100,
        "cached_tokens": 10,
        "completion_tokens": 20,
        "input_cost": 500,
        "cached_cost": 100,
        "output_cost": 400,
        "goods": 400,
        "price_list": "default@00000000",
        "ttft": 0.25,
        "latency": 1.0,
        **changes,
    }
    return row | {"cost": row["input_cost"] + row["cached_cost"] + row["output_cost"]}


async def fill(store: Store, *rows: dict[str, Any]) -> None:
    """Write the rows."""
    await store.write(lambda connection: connection.execute(insert(usage), list(rows)))
