"""What stands at paths that clients of other servers ask: `/`, `/health`, `/tokenizer_info`, `/rerank`."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, NoReturn

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.api.auth import authenticate
from app.api.ops.health import readyz
from app.core import errors
from app.pipeline.gateway import Gateway

router = APIRouter()


@router.get("/")
async def root() -> dict[str, Any]:
    """Who is there. Some clients ask before anything else."""
    return {"name": "penstock", "version": version("penstock"), "docs": "/openapi.json", "models": "/v1/models"}


@router.get("/health", response_model=None)
async def health(request: Request) -> Response:
    """`/readyz`, by the name that other servers give it."""
    return await readyz(request)


@router.get("/tokenizer_info")
async def tokenizer_info(request: Request) -> dict[str, Any]:
    """As vLLM's own: the gateway's tokenizer, for clients who count and write chats themselves."""
    gateway: Gateway = request.app.state.gateway
    await authenticate(request, "chat")
    if gateway.ports.tokenizer is None:
        raise errors.no_tokenizer("tokenizer")
    return dict(gateway.ports.tokenizer.info())


async def rerank(request: Request) -> NoReturn:
    """Refused in words."""
    raise errors.no_such_task(request.url.path)


for path in ("/rerank", "/v1/rerank", "/v2/rerank"):
    router.add_route(path, rerank, methods=["POST"], include_in_schema=False)
