"""`/v1/batches`: create, look at, list and cancel. What runs them is the worker (app/batches)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from fastapi.routing import APIRoute
from pydantic import Field
from starlette.requests import Request

from app.api.body import read_body
from app.api.openai.files import LONGEST, SHORTEST, limit_of, listed, owner
from app.api.openai.wire import Wire
from app.api.validation import fit, load
from app.batches.model import Batch
from app.batches.scheduling import ENDPOINTS
from app.batches.store import New
from app.core import errors

router = APIRouter()
LARGEST = 65_536
"""Bytes of a request: it names a file, and has at most 16 pairs of metadata."""
_MOMENTS = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
Key = Annotated[str, Field(min_length=1, max_length=64)]
Value = Annotated[str, Field(max_length=512)]


class ExpiresAfter(Wire):
    """When the output files expire."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=SHORTEST, le=LONGEST)]


class BatchRequest(Wire):
    """`POST /v1/batches`."""

    input_file_id: Annotated[str, Field(min_length=1, max_length=128)]
    endpoint: Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"]
    completion_window: Literal["24h"]
    metadata: Annotated[dict[Key, Value], Field(max_length=16)] | None = None
    output_expires_after: ExpiresAfter | None = None


@router.post("/v1/batches")
async def create(request: Request) -> dict[str, Any]:
    """Begin a batch over an uploaded file."""
    archive, whose = await owner(request, "batches")
    if not archive.runs:
        raise errors.no_batches()
    asked = fit(BatchRequest, load(await read_body(request, LARGEST)))
    if asked.endpoint not in offered(request):
        known = ", ".join(offered(request))
        raise errors.bad_request(f"Invalid value for 'endpoint': choose from {known}.", "endpoint", "invalid_value")
    file = await archive.files.get(whose, asked.input_file_id)
    if file is None:
        raise errors.file_not_found(asked.input_file_id, "input_file_id")
    if file.purpose != "batch":
        said = f"The file's purpose is '{file.purpose}': upload it with purpose 'batch'."
        raise errors.bad_request(said, "input_file_id", "invalid_purpose")
    asked_for = asked.output_expires_after
    lives = asked_for.seconds if asked_for else request.app.state.gateway.policy.files.lives
    return body(await archive.batches.create(whose, New(asked.endpoint, file, asked.metadata or {}, lives)))


@router.get("/v1/batches")
async def batches(request: Request) -> dict[str, Any]:
    """The batches of this tenant's project, newest first. `after`, `limit`."""
    archive, whose = await owner(request, "batches")
    after, limit = request.query_params.get("after"), limit_of(request, 20, 100)
    found, more = await archive.batches.page(whose, after=after, limit=limit)
    return listed([body(batch) for batch in found], more=more)


@router.get("/v1/batches/{batch_id}")
async def batch(request: Request, batch_id: str) -> dict[str, Any]:
    """One of them, as it stands now."""
    archive, whose = await owner(request, "batches")
    return body(_found(await archive.batches.get(whose, batch_id), batch_id))


@router.post("/v1/batches/{batch_id}/cancel")
async def cancel(request: Request, batch_id: str) -> dict[str, Any]:
    """Stop it: lines on their way are finished, no other is begun, and what there is is kept."""
    archive, whose = await owner(request, "batches")
    found = _found(await archive.batches.cancel(whose, batch_id), batch_id)
    if found.status not in ("cancelling", "cancelled"):
        raise errors.batch_over(batch_id, found.status)
    return body(found)


def offered(request: Request) -> list[str]:
    """What a batch may be of: endpoints that this app has."""
    served = {route.path for route in request.app.routes if isinstance(route, APIRoute)}
    return [endpoint for endpoint in ENDPOINTS if endpoint in served]


def body(batch: Batch) -> dict[str, Any]:
    """OpenAI's batch object."""
    moments = {name: batch.moments.get(name) for name in _MOMENTS}
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": {"object": "list", "data": list(batch.errors)} if batch.errors else None,
        "input_file_id": batch.input_file,
        "completion_window": "24h",
        "status": batch.status,
        "output_file_id": batch.output_file,
        "error_file_id": batch.error_file,
        "created_at": int(batch.created),
        "expires_at": int(batch.expires),
        **{f"{name}_at": None if at is None else int(at) for name, at in moments.items()},
        "request_counts": {"total": batch.total, "completed": batch.completed, "failed": batch.failed},
        "metadata": dict(batch.meta) or None,
    }


def _found(batch: Batch | None, batch_id: str) -> Batch:
    if batch is None:
        raise errors.batch_not_found(batch_id)
    return batch
