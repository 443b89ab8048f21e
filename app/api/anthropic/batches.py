"""`/v1/messages/batches`: create, look at, list, cancel and delete; its results as JSONL.  route -> app/batches.

A batch here is one of the same queue as `/v1/batches`: its requests become an input file whose lines run through
`/v1/messages`, and its results are read from the files that the worker writes.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

import orjson
from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from app.api.anthropic.batch_results import results
from app.api.anthropic.batch_shape import LIVES, body
from app.api.anthropic.errors import FaultRoute, id_header
from app.api.anthropic.pages import Page
from app.api.body import read_body
from app.api.openai.files import owner
from app.api.openai.wire import Wire
from app.api.validation import fit, load
from app.batches.check import LONGEST
from app.batches.files import new_blob, new_id
from app.batches.model import OPEN, Batch, File, Owner
from app.batches.scheduling import MESSAGES
from app.batches.service import BatchService
from app.batches.store import New
from app.core import errors

router = APIRouter(route_class=FaultRoute)
PATH = "/v1/messages/batches"
MAX_REQUESTS = 100_000
"""Anthropic's bound; the policy's `batches.max_lines` may be lower."""


class BatchItem(Wire):
    """One request of a batch. params: a body of `/v1/messages`, which is checked when it runs."""

    custom_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", max_length=64)]
    params: Annotated[dict[str, Any], Field(max_length=64)]


class MessageBatchRequest(Wire):
    """`POST /v1/messages/batches`."""

    requests: Annotated[list[BatchItem], Field(min_length=1, max_length=MAX_REQUESTS)]


@router.post(PATH, response_model=None)
async def create(request: Request) -> Response:
    """Begin a batch."""
    archive, whose = await owner(request, "batches")
    if not archive.runs:
        raise errors.no_batches()
    settings = request.app.state.gateway.policy.batches
    asked = fit(MessageBatchRequest, load(await read_body(request, settings.max_file_bytes)))
    _check(asked, settings.max_lines)
    file = await _kept(archive, whose, asked)
    about = {"requests": str(len(asked.requests))}
    made = await archive.batches.create(whose, New(MESSAGES, file, about, LIVES, kind="msgbatch"))
    return _told(request, made)


@router.get(PATH, response_model=None)
async def batches(request: Request) -> Response:
    """The batches of this tenant's project, newest first."""
    archive, whose = await owner(request, "batches")
    page = Page.of(request)
    found, more = await archive.batches.page(
        whose, after=page.after, before=page.before, limit=page.limit, messages=True
    )
    base = _base(request)
    return JSONResponse(page.body([body(one, base) for one in found], more=more), headers=id_header())


@router.get(f"{PATH}/{{message_batch_id}}", response_model=None)
async def batch(request: Request, message_batch_id: str) -> Response:
    """One of them, as it stands now."""
    archive, whose = await owner(request, "batches")
    return _told(request, await _found(archive, whose, message_batch_id))


@router.get(f"{PATH}/{{message_batch_id}}/results", response_model=None)
async def read_results(request: Request, message_batch_id: str) -> Response:
    """What became of each request, a line each, once the batch has ended."""
    archive, whose = await owner(request, "batches")
    found = await _found(archive, whose, message_batch_id)
    lines = results(archive, whose, found)
    first = None if found.status in OPEN else await anext(lines, None)
    if first is None:
        raise errors.no_results(message_batch_id)

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for line in lines:
            yield line

    return StreamingResponse(whole(), media_type="application/x-jsonl", headers=id_header())


@router.post(f"{PATH}/{{message_batch_id}}/cancel", response_model=None)
async def cancel(request: Request, message_batch_id: str) -> Response:
    """Stop it: requests on their way are finished, no other is begun, and what there is is kept."""
    archive, whose = await owner(request, "batches")
    await _found(archive, whose, message_batch_id)
    found = await archive.batches.cancel(whose, message_batch_id)
    if found is None:
        raise errors.batch_not_found(message_batch_id)
    if found.status not in ("cancelling", "cancelled"):
        raise errors.batch_over(message_batch_id, found.status)
    return _told(request, found)


@router.delete(f"{PATH}/{{message_batch_id}}", response_model=None)
async def delete(request: Request, message_batch_id: str) -> Response:
    """Remove it and its results, once it has ended."""
    archive, whose = await owner(request, "batches")
    found = await _found(archive, whose, message_batch_id)
    if found.status in OPEN or not await archive.batches.delete(whose, message_batch_id):
        raise errors.batch_not_over(message_batch_id)
    for file in filter(None, (found.input_file, found.output_file, found.error_file)):
        if blob := await archive.files.delete(whose, file):
            await archive.blobs.delete(blob)
    return JSONResponse({"id": message_batch_id, "type": "message_batch_deleted"}, headers=id_header())


def _check(asked: MessageBatchRequest, most: int) -> None:
    """Raises ApiError (400): what would fail the whole batch."""
    if len(asked.requests) > most:
        raise errors.bad_request(f"requests: a batch may have at most {most:,} of them.", "requests")
    seen: set[str] = set()
    for at, item in enumerate(asked.requests):
        if item.custom_id in seen:
            raise errors.bad_request(f"requests[{at}].custom_id: another request has it too.", "requests")
        if item.params.get("stream"):
            raise errors.bad_request(f"requests[{at}].params: a batch cannot stream; leave `stream` out.", "requests")
        seen.add(item.custom_id)


async def _kept(archive: BatchService, whose: Owner, asked: MessageBatchRequest) -> File:
    """The requests as an input file. Raises ApiError (400): one is too long."""
    id_, now = new_id(), time.time()
    blob = new_blob(id_)
    async with archive.blobs.write(blob) as sink:
        for at, item in enumerate(asked.requests):
            line = {"custom_id": item.custom_id, "method": "POST", "url": MESSAGES, "body": item.params}
            written = orjson.dumps(line)
            if len(written) > LONGEST:
                raise errors.bad_request(f"requests[{at}]: it has more than {LONGEST:,} bytes.", "requests")
            await sink.put(written + b"\n")
    file = File(id_, "requests.jsonl", "batch", sink.size, blob, now, now + LIVES)
    try:
        await archive.files.add(whose, file)
    except BaseException:
        await archive.blobs.delete(blob)
        raise
    return file


async def _found(archive: BatchService, whose: Owner, batch_id: str) -> Batch:
    found = await archive.batches.get(whose, batch_id)
    if found is None or found.endpoint != MESSAGES:
        raise errors.batch_not_found(batch_id)
    return found


def _told(request: Request, found: Batch) -> Response:
    return JSONResponse(body(found, _base(request)), headers=id_header())


def _base(request: Request) -> str:
    """The URL of this API as the caller reached it: a proxy in front may have taken its encryption off."""
    scheme = request.headers.get("x-forwarded-proto", "")
    return str(request.base_url.replace(scheme=scheme) if scheme in ("http", "https") else request.base_url)
