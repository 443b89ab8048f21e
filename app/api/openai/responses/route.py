"""`POST /v1/responses`, `/compact`, `/input_tokens`, and what is done with a stored response: read, delete, list."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.api.auth import authenticate, batch_line
from app.api.bounds import Identifier
from app.api.headers import of_call
from app.api.openai.responses.answer import CompactAnswer, Draft, ResponseAnswer, ResponseStream
from app.api.openai.responses.background import as_it_stands, cancel
from app.api.openai.responses.compaction import asking
from app.api.openai.responses.history import History
from app.api.openai.responses.items import Conversation
from app.api.openai.responses.request import ResponsesRequest, read, read_counted
from app.api.openai.responses.tools import Toolbox
from app.api.openai.responses.window import shortened
from app.api.openai.wire import Wire
from app.api.request import Posted, posted
from app.api.request import read as prelude
from app.api.stored.responses import Responses, StoredResponse
from app.api.token_count import tokens_of
from app.api.validation import fit
from app.core import errors
from app.core.call import Call
from app.core.ports import Principal
from app.core.stage import Events

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


@router.post(f"{PATH}/compact", response_model=None)
async def compact(request: Request) -> Response:
    """The conversation's summary, sealed: one item, to be sent in its place."""
    return await posted(request, SCOPE, _compact)


@router.post(f"{PATH}/input_tokens")
async def input_tokens(request: Request) -> dict[str, Any]:
    """How many tokens the input is, by the gateway's own count."""
    post = await prelude(request, SCOPE)
    asked = read_counted(post.body)
    post.must_know(asked.model)
    conversation, box = await _history(post).conversation(asked), Toolbox.of(asked.tools or ())
    prompt = box.offered(asked.prompt(conversation), asked.tool_choice, parallel=asked.parallel_tool_calls)
    ports = post.gateway.ports
    counted = await asyncio.to_thread(tokens_of, prompt, ports.count, ports.tokenizer)
    return {"object": "response.input_tokens", "input_tokens": counted}


@router.get(f"{PATH}/{{response_id}}")
async def retrieve(request: Request, response_id: str) -> dict[str, Any]:
    """A stored response of this key's project."""
    if request.query_params.get("stream") == "true":
        raise errors.unsupported("stream", "A response is streamed only while it is made. Leave `stream` out.")
    deadline = request.app.state.gateway.policy.generate.deadline
    return dict(as_it_stands(await _stored(request, response_id), deadline, time.time()))


@router.post(f"{PATH}/{{response_id}}/cancel")
async def stop(request: Request, response_id: str) -> dict[str, Any]:
    """Cancel a background response that has not ended."""
    stored = await _stored(request, response_id)
    state = request.app.state
    return dict(await cancel(state.responses, state.runs, (await authenticate(request, SCOPE)).owner, stored))


@router.delete(f"{PATH}/{{response_id}}")
async def remove(request: Request, response_id: str) -> dict[str, Any]:
    """Delete it."""
    who = await authenticate(request, SCOPE)
    kept: Responses | None = request.app.state.responses
    if kept is None or not await kept.delete(who.owner, response_id):
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
    post.must_know(asked.model)
    if asked.background and batch_line(post.request):
        raise errors.unsupported("background", "A batch's line is answered within its batch. Leave `background` out.")
    conversation = await _history(post).conversation(asked)
    call, events, draft = await _begun(post, asked, conversation)
    if asked.background:
        queued = await post.request.app.state.runs.start(post.gateway, call, events, draft)
        return JSONResponse(queued, headers=of_call(call, settled=False) | draft.headers)
    return (ResponseStream if asked.stream else ResponseAnswer)(post.gateway, call, events, draft)


async def _compact(post: Posted) -> Response:
    asked = read(post.body)
    post.must_know(asked.model)
    conversation = await _history(post).conversation(asked, compacts=True)
    return CompactAnswer(post.gateway, *await _begun(post, asked, conversation))


async def _begun(post: Posted, asked: ResponsesRequest, conversation: Conversation) -> tuple[Call, Events, Draft]:
    """The call on its way, and the response that it becomes. Raises ApiError."""
    box = Toolbox.of(asked.tools or ())
    prompt = asked.prompt(conversation)
    if conversation.compacts:
        prompt = asking(prompt)
    else:
        prompt = box.offered(prompt, asked.tool_choice, parallel=asked.parallel_tool_calls)
    if asked.truncation == "auto" or conversation.compacts:
        prompt = await shortened(prompt, post.gateway, post.who)
    call, events = post.open(prompt, shared=not conversation.compacts)
    state = post.request.app.state
    return call, events, Draft(asked, call, conversation, box, state.responses, state.compactions)


def _history(post: Posted) -> History:
    state = post.request.app.state
    return History(post.who.owner, state.responses, state.compactions)


async def _stored(request: Request, response_id: str) -> StoredResponse:
    found = await _found(request, await authenticate(request, SCOPE), response_id)
    if found is None:
        raise errors.response_not_found(response_id)
    return found


async def _found(request: Request, who: Principal, response_id: str) -> StoredResponse | None:
    kept: Responses | None = request.app.state.responses
    return None if kept is None else await kept.read(who.owner, response_id)
