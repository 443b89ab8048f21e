"""`POST /v1/chat/completions`."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app import errors
from app.gateway import Gateway
from app.http.answer import ChatAnswer, ChatStream
from app.http.auth import authenticate
from app.http.body import read_body
from app.http.wire import read

router = APIRouter()


@router.post("/v1/chat/completions", response_model=None)
async def chat(request: Request) -> Response:
    """A chat completion, streamed or whole. `Cache-Control: no-cache` skips the lookup, `no-store` the storing."""
    gateway: Gateway = request.app.state.gateway
    who = await authenticate(request, gateway.services.ledger)
    asked = read(await read_body(request, gateway.policy.admit.max_body_bytes))
    prompt = asked.prompt()
    if not gateway.menu.tiers_of(prompt.model):
        raise errors.model_not_found(prompt.model, gateway.menu.names)
    caching = request.headers.get("cache-control", "")
    call, events = gateway.open(
        who, prompt, read_cache="no-cache" not in caching, write_cache="no-store" not in caching
    )
    if asked.stream:
        return ChatStream(gateway, call, events, include_usage=asked.include_usage)
    return ChatAnswer(gateway, call, events)
