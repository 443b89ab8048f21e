"""A batch as Anthropic's API tells it.  anthropic.batches -> [batch_shape]."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from app.batches.model import OPEN, Batch

LIVES = 29 * 86_400
"""Seconds that results can be read: Anthropic's 29 days."""
ENDS = ("completed", "failed", "expired", "cancelled")
LEFT = {"cancelled": "canceled", "expired": "expired", "failed": "errored"}
"""What becomes of requests that were never run, by how the batch ended."""


def body(batch: Batch, base: str) -> dict[str, Any]:
    """Anthropic's message_batch object. base: the URL of this API, with a slash behind."""
    over = batch.status not in OPEN
    ended = next((batch.moments[name] for name in ENDS if name in batch.moments), None)
    gone = over and time.time() > batch.created + LIVES
    cancelling = batch.status == "cancelling"
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": "ended" if over else "canceling" if cancelling else "in_progress",
        "request_counts": counts(batch),
        "created_at": _moment(batch.created),
        "expires_at": _moment(batch.expires),
        "ended_at": _moment(ended),
        "cancel_initiated_at": _moment(batch.moments.get("cancelling")),
        "archived_at": _moment(batch.created + LIVES) if gone else None,
        "results_url": f"{base}v1/messages/batches/{batch.id}/results" if over and not gone else None,
    }


def counts(batch: Batch) -> dict[str, int]:
    """How its requests fared; all of them are `processing` until the batch has ended."""
    told = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
    requests = int(batch.meta.get("requests", batch.total))
    if batch.status in OPEN:
        return told | {"processing": requests}
    told |= {"succeeded": batch.completed, "errored": batch.failed}
    if left := requests - batch.completed - batch.failed:
        told[LEFT.get(batch.status, "errored")] += left
    return told


def _moment(seconds: float | None) -> str | None:
    """Unix seconds as RFC 3339."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
