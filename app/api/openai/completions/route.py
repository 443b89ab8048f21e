"""`POST /v1/completions`: the engine continues each prompt as it stands, without a chat template."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.api.openai.completions.answer import CompletionAnswer, CompletionStream
from app.api.openai.completions.chunks import ChoicePart
from app.api.openai.completions.request import CompletionRequest, read
from app.api.request import Posted, posted

router = APIRouter()


@router.post("/v1/completions", response_model=None)
async def completions(request: Request) -> Response:
    """Continue one prompt or several, streamed or whole. Never answered from the semantic cache."""
    return await posted(request, "chat", _open)


async def _open(post: Posted) -> Response:
    asked, unread = read(post.body)
    unread.tell(post.request, post.gateway.policy.api.unknown_fields)
    post.must_know(asked.model)
    parts = _parts(post, asked)
    if asked.stream:
        return CompletionStream(post.gateway, parts, include_usage=asked.include_usage)
    return CompletionAnswer(post.gateway, parts)


def _parts(post: Posted, asked: CompletionRequest) -> Iterator[ChoicePart]:
    """The calls, each opened when it is asked for."""
    for number, prompt in enumerate(asked.prompts(post.gateway.ports.tokenizer)):
        call, events = post.open(prompt)
        yield ChoicePart(call, events, prompt.question if asked.echo else "", number * (asked.n or 1))
