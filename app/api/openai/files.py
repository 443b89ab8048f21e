"""`/v1/files`: upload, list, look at, download and delete. A file belongs to its key's tenant and project."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from app.api.auth import authenticate
from app.api.upload import receive
from app.batches.blobs import MissingBlobError
from app.batches.files import FullError, InUseError, new_blob, new_id
from app.batches.model import File, Owner
from app.batches.service import BatchService
from app.core import errors

router = APIRouter()
PURPOSES = ("assistants", "batch", "evals", "fine-tune", "user_data", "vision")
SHORTEST, LONGEST = 3_600, 2_592_000
"""Seconds that a file may be asked to live: OpenAI's bounds."""
MOST = 10_000


async def owner(request: Request, scope: str) -> tuple[BatchService, Owner]:
    """Whose files and batches the request is about. Raises ApiError."""
    who = await authenticate(request, scope)
    return request.app.state.archive, Owner(who.tenant, who.project, who.key_id)


@router.post("/v1/files")
async def upload(request: Request) -> dict[str, Any]:
    """Store a file; it is streamed to the file storage."""
    archive, whose = await owner(request, "files")
    policy = request.app.state.gateway.policy
    left = policy.files.max_bytes - await archive.files.used(whose.tenant)
    if left <= 0:
        raise errors.files_full(policy.files.max_bytes)
    limit = min(policy.batches.max_file_bytes, left)
    id_, now = new_id(), time.time()
    blob = new_blob(id_)
    async with archive.blobs.write(blob) as sink:
        try:
            sent = await receive(request, sink, limit)
        except errors.ApiError as error:
            full = error.status == 413 and limit == left
            raise errors.files_full(policy.files.max_bytes) if full else error from None
        purpose = _purpose(sent.fields)
        lives = _lives(sent.fields) or policy.files.lives
    expires = None if lives is None else now + lives
    file = File(id_, sent.filename or "file", purpose, sink.size, blob, now, expires)
    try:
        await archive.files.add(whose, file, policy.files.max_bytes)
    except FullError:
        await archive.blobs.delete(blob)
        raise errors.files_full(policy.files.max_bytes) from None
    except BaseException:
        await archive.blobs.delete(blob)
        raise
    return body(file)


@router.get("/v1/files")
async def files(request: Request) -> dict[str, Any]:
    """The files of this tenant's project. `after`, `limit`, `order`, `purpose`."""
    archive, whose = await owner(request, "files")
    query = request.query_params
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise errors.bad_request("Invalid value for 'order': choose from asc, desc.", "order", "invalid_value")
    found, more = await archive.files.page(
        whose,
        after=query.get("after"),
        limit=limit_of(request, MOST, MOST),
        newest_first=order == "desc",
        purpose=query.get("purpose"),
    )
    return listed([body(file) for file in found], more=more)


@router.get("/v1/files/{file_id}")
async def file(request: Request, file_id: str) -> dict[str, Any]:
    """One of them."""
    archive, whose = await owner(request, "files")
    return body(await _found(archive, whose, file_id))


@router.get("/v1/files/{file_id}/content", response_model=None)
async def content(request: Request, file_id: str) -> Response:
    """Its bytes, streamed."""
    archive, whose = await owner(request, "files")
    found = await _found(archive, whose, file_id)
    pieces = archive.blobs.stream(found.blob)
    try:
        first = await anext(pieces, b"")  # what is wrong is said before the answer begins
    except MissingBlobError:
        raise errors.file_not_found(file_id) from None

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for piece in pieces:
            yield piece

    headers = {"content-length": str(found.bytes), "x-content-type-options": "nosniff"}
    return StreamingResponse(whole(), media_type="application/octet-stream", headers=headers)


@router.delete("/v1/files/{file_id}")
async def delete(request: Request, file_id: str) -> dict[str, Any]:
    """Remove it; not while it is the input of a batch that has not ended."""
    archive, whose = await owner(request, "files")
    try:
        blob = await archive.files.delete(whose, file_id)
    except InUseError as error:
        raise errors.file_in_use(file_id, error.batch) from None
    if blob is None:
        raise errors.file_not_found(file_id)
    await archive.blobs.delete(blob)
    return {"id": file_id, "object": "file", "deleted": True}


def body(file: File) -> dict[str, Any]:
    """OpenAI's file object."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": int(file.created),
        "expires_at": None if file.expires is None else int(file.expires),
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def listed(data: list[dict[str, Any]], *, more: bool) -> dict[str, Any]:
    """OpenAI's list, page by page."""
    ids = [one["id"] for one in data]
    ends = {"first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None}
    return {"object": "list", "data": data, **ends, "has_more": more}


def limit_of(request: Request, usual: int, most: int) -> int:
    """The query's `limit`. Raises ApiError (400)."""
    said = request.query_params.get("limit", str(usual))
    if not (said.isascii() and said.isdigit() and len(said) < 8 and 1 <= int(said) <= most):
        raise errors.bad_request(f"Invalid value for 'limit': choose from 1 to {most}.", "limit", "invalid_value")
    return int(said)


async def _found(archive: BatchService, whose: Owner, file_id: str) -> File:
    found = await archive.files.get(whose, file_id)
    if found is None:
        raise errors.file_not_found(file_id)
    return found


def _purpose(fields: dict[str, str]) -> str:
    purpose = fields.get("purpose")
    if purpose is None:
        raise errors.bad_request("Missing required parameter: 'purpose'.", "purpose", "missing_required_parameter")
    if purpose not in PURPOSES:
        known = ", ".join(PURPOSES)
        raise errors.bad_request(f"Invalid value for 'purpose': choose from {known}.", "purpose", "invalid_value")
    return purpose


def _lives(fields: dict[str, str]) -> int | None:
    """Seconds until it expires, by the form's `expires_after[anchor]` and `expires_after[seconds]`."""
    anchor, seconds = (fields.get(f"expires_after[{name}]") for name in ("anchor", "seconds"))
    if anchor is None and seconds is None:
        return None
    good = seconds is not None and seconds.isascii() and seconds.isdigit() and len(seconds) < 10
    if anchor != "created_at" or not good or not SHORTEST <= int(seconds or 0) <= LONGEST:
        said = f"'expires_after' needs anchor created_at and seconds from {SHORTEST} to {LONGEST}."
        raise errors.bad_request(said, "expires_after", "invalid_value")
    return int(seconds or 0)
