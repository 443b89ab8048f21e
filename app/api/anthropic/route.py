"""`POST /v1/messages` and `/v1/messages/count_tokens`: what Anthropic's clients speak."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.api.anthropic.answer import MessageAnswer, MessageStream
from app.api.anthropic.errors import FaultRoute, id_header
from app.api.anthropic.request import read, read_counted
from app.api.anthropic.thoughts import shown
from app.api.ignored import ignored_header
from app.api.request import Posted, posted
from app.api.request import read as prelude
from app.api.token_count import tokens_of
from app.core.events import Prompt

router = APIRouter(route_class=FaultRoute)
PATH = "/v1/messages"


@router.post(PATH, response_model=None)
async def create(request: Request) -> Response:
    """A message, streamed or whole. `Cache-Control` and `Idempotency-Key` as for chat completions."""
    return await posted(request, "messages", _open)


@router.post(f"{PATH}/count_tokens", response_model=None)
async def count_tokens(request: Request) -> Response:
    """How many tokens the request is, by the gateway's own count."""
    post = await prelude(request, "messages")
    asked, whole = read_counted(post.body)
    post.must_know(asked.model)
    counted = {"input_tokens": await _tokens(post, whole.prompt)}
    return JSONResponse(counted, headers=ignored_header(whole.ignored) | id_header())


async def _open(post: Posted) -> Response:
    asked, whole = read(post.body)
    post.must_know(whole.prompt.model)
    call, events = post.open(whole.prompt)
    events = shown(events, asked.thinking)
    return (MessageStream if asked.stream else MessageAnswer)(post.gateway, call, events, whole)


async def _tokens(post: Posted, prompt: Prompt) -> int:
    ports = post.gateway.ports
    return await asyncio.to_thread(tokens_of, prompt, ports.count, ports.tokenizer)
