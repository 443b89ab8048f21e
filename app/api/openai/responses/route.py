"""`POST /v1/responses`, `/input_tokens`, and what is done with a stored response: read, delete, list its input."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app.api.auth import authenticate
from app.api.bounds import Identifier
from app.api.openai.responses.answer import Draft, ResponseAnswer, ResponseStream
from app.api.openai.responses.items import Item
from app.api.openai.responses.request import Counted, read, read_counted
from app.api.openai.wire import Wire
from app.api.request import Posted, posted
from app.api.request import read as prelude
from app.api.stored.responses import Responses, StoredResponse
from app.api.token_count import tokens_of
from app.api.validation import fit
from app.core import errors
from app.core.ports import Principal

router = APIRouter()
PATH = "/v1/responses"
SCOPE = "responses"


class Listed(Wire, strict=False):
    """The query of `input_items`. after: an item's id. Query values are strings, so they are turned into numbers."""

    after: Identifier | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    order: Literal["asc", "desc"] = "desc"


@router.post(PATH, response_model=None)
async def create(request: Request) -> Response:
    """A response, streamed or whole. `Cache-Control` and `Idempotency-Key` as for chat completions."""
    return await posted(request, SCOPE, _open)


@router.post(f"{PATH}/input_tokens")
async def input_tokens(request: Request) -> dict[str, Any]:
    """How many tokens the input is, by the gateway's own count."""
    post = await prelude(request, SCOPE)
    asked = read_counted(post.body)
    post.must_know(asked.model)
    prompt = asked.prompt(await _conversation(post, asked))
    ports = post.gateway.ports
    counted = await asyncio.to_thread(tokens_of, prompt, ports.count, ports.tokenizer)
    return {"object": "response.input_tokens", "input_tokens": counted}


@router.get(f"{PATH}/{{response_id}}")
async def retrieve(request: Request, response_id: str) -> dict[str, Any]:
    """A stored response of this tenant's."""
    if request.query_params.get("stream") == "true":
        raise errors.unsupported("stream", "A response is streamed only while it is made. Leave `stream` out.")
    return dict((await _stored(request, response_id)).response)


@router.delete(f"{PATH}/{{response_id}}")
async def remove(request: Request, response_id: str) -> dict[str, Any]:
    """Delete it."""
    who = await authenticate(request, SCOPE)
    kept: Responses | None = request.app.state.responses
    if kept is None or not await kept.delete(who.tenant, response_id):
        raise errors.response_not_found(response_id)
    return {"id": response_id, "object": "response", "deleted": True}


@router.get(f"{PATH}/{{response_id}}/input_items")
async def input_items(request: Request, response_id: str) -> dict[str, Any]:
    """What it was made from, newest first, items of earlier responses included."""
    asked = fit(Listed, dict(request.query_params))
    items = list((await _stored(request, response_id)).items)
    if asked.order == "desc":
        items.reverse()
    ids = [item["id"] for item in items]
    start = ids.index(asked.after) + 1 if asked.after in ids else 0
    page = items[start : start + asked.limit]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": start + asked.limit < len(items),
    }


async def _open(post: Posted) -> Response:
    asked = read(post.body)
    items = await _conversation(post, asked)
    prompt = asked.prompt(items)
    post.must_know(prompt.model)
    call, events = post.open(prompt)
    draft = Draft(asked, call, items, post.request.app.state.responses)
    return (ResponseStream if asked.stream else ResponseAnswer)(post.gateway, call, events, draft)


async def _conversation(post: Posted, asked: Counted) -> list[Item]:
    """What went before, and what is new. Raises ApiError (400), LedgerError."""
    if not asked.previous_response_id:
        return asked.items()
    before = await _found(post.request, post.who, asked.previous_response_id)
    if before is None:
        raise errors.previous_response_not_found(asked.previous_response_id)
    return [*map(dict, before.conversation), *asked.items()]


async def _stored(request: Request, response_id: str) -> StoredResponse:
    found = await _found(request, await authenticate(request, SCOPE), response_id)
    if found is None:
        raise errors.response_not_found(response_id)
    return found


async def _found(request: Request, who: Principal, response_id: str) -> StoredResponse | None:
    kept: Responses | None = request.app.state.responses
    return None if kept is None else await kept.read(who.tenant, response_id)
