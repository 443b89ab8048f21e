"""`POST /v1/chat/completions`."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.api.auth import authenticate
from app.api.body import read_body
from app.api.idempotency import once
from app.api.openai.chat.answer import ChatAnswer, ChatStream
from app.api.openai.chat.request import read
from app.core import errors
from app.core.ports import Principal
from app.pipeline.gateway import Gateway

router = APIRouter()


@router.post("/v1/chat/completions", response_model=None)
async def chat(request: Request) -> Response:
    """A chat completion, streamed or whole. `Cache-Control: no-cache` skips the lookup, `no-store` the storing.

    `Idempotency-Key`: sent again within a day, the request gets the same answer and is billed once.
    """
    gateway: Gateway = request.app.state.gateway
    who = await authenticate(request, "chat")
    body = await read_body(request, gateway.policy.admit.max_body_bytes)

    async def answer() -> Response:
        return _open(gateway, who, request, body)

    return await once(request, who, body, request.app.state.idempotency, answer)


def _open(gateway: Gateway, who: Principal, request: Request, body: bytes) -> Response:
    asked = read(body)
    prompt = asked.prompt()
    if not gateway.catalog.tiers_of(prompt.model):
        raise errors.model_not_found(prompt.model, gateway.catalog.names)
    caching = request.headers.get("cache-control", "")
    call, events = gateway.open(
        who,
        prompt,
        read_cache="no-cache" not in caching,
        write_cache="no-store" not in caching,
        traceparent=request.headers.get("traceparent"),
        screen=asked.screen,
    )
    if asked.stream:
        return ChatStream(gateway, call, events, include_usage=asked.include_usage)
    return ChatAnswer(gateway, call, events)
