"""`POST /v1/chat/completions`."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.api.openai.chat.answer import ChatAnswer, ChatStream
from app.api.openai.chat.request import read
from app.api.request import Posted, posted

router = APIRouter()


@router.post("/v1/chat/completions", response_model=None)
async def chat(request: Request) -> Response:
    """A chat completion, streamed or whole. `Cache-Control: no-cache` skips the lookup, `no-store` the storing.

    `Idempotency-Key`: sent again within a day, the request gets the same answer and is billed once.
    """
    return await posted(request, "chat", _open)


async def _open(post: Posted) -> Response:
    asked, unread = read(post.body)
    api = post.gateway.policy.api
    unread.tell(post.request, api.unknown_fields)
    post.must_know(asked.model)
    prompt = asked.prompt(api.chat_template_kwargs)
    call, events = post.open(prompt, screen=asked.screen)
    if asked.stream:
        return ChatStream(
            post.gateway, call, events, include_usage=asked.include_usage, custom_tools=asked.custom_tools
        )
    return ChatAnswer(post.gateway, call, events, custom_tools=asked.custom_tools)
