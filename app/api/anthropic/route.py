"""`POST /v1/messages` and `/v1/messages/count_tokens`: what Anthropic's clients speak."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.api.anthropic.answer import MessageAnswer, MessageStream
from app.api.anthropic.errors import FaultRoute, id_header
from app.api.anthropic.request import read, read_counted
from app.api.auth import authenticate
from app.api.body import read_body
from app.api.idempotency import once
from app.api.token_count import tokens_of
from app.core import errors
from app.core.ports import Principal
from app.pipeline.gateway import Gateway

router = APIRouter(route_class=FaultRoute)
PATH = "/v1/messages"


@router.post(PATH, response_model=None)
async def create(request: Request) -> Response:
    """A message, streamed or whole. `Cache-Control` and `Idempotency-Key` as for chat completions."""
    who, body = await _posted(request)

    async def answer() -> Response:
        return _open(request, who, body)

    return await once(request, who, body, request.app.state.idempotency, answer)


@router.post(f"{PATH}/count_tokens", response_model=None)
async def count_tokens(request: Request) -> Response:
    """How many tokens the request is, by the gateway's own count."""
    _, body = await _posted(request)
    gateway: Gateway = request.app.state.gateway
    asked = read_counted(body)
    _known(gateway, asked.model)
    counted = {"input_tokens": tokens_of(asked.prompt(), gateway.ports.count)}
    return JSONResponse(counted, headers=id_header())


async def _posted(request: Request) -> tuple[Principal, bytes]:
    gateway: Gateway = request.app.state.gateway
    who = await authenticate(request, "messages")
    return who, await read_body(request, gateway.policy.admit.max_body_bytes)


def _open(request: Request, who: Principal, body: bytes) -> Response:
    gateway: Gateway = request.app.state.gateway
    asked = read(body)
    prompt = asked.prompt()
    _known(gateway, prompt.model)
    caching = request.headers.get("cache-control", "")
    call, events = gateway.open(
        who,
        prompt,
        read_cache="no-cache" not in caching,
        write_cache="no-store" not in caching,
        traceparent=request.headers.get("traceparent"),
    )
    return (MessageStream if asked.stream else MessageAnswer)(gateway, call, events)


def _known(gateway: Gateway, model: str) -> None:
    if not gateway.catalog.tiers_of(model):
        raise errors.model_not_found(model, gateway.catalog.names)
