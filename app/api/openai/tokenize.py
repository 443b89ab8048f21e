"""`POST /tokenize`, `/detokenize`: text or a chat to token ids and back, as vLLM's own, by the gateway's tokenizer.

No model runs, so no call is opened and nothing is billed.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field, model_validator
from starlette.requests import Request

from app.api.bounds import MAX_MESSAGES, Model, Prose
from app.api.openai.chat.extensions import Free
from app.api.openai.chat.history import History
from app.api.openai.chat.request import ChatMessage
from app.api.openai.chat.tools import Tools, for_engine
from app.api.openai.completions.request import Id
from app.api.openai.wire import Wire
from app.api.request import Posted
from app.api.request import read as prelude
from app.api.validation import fit, load
from app.core import errors
from app.core.ports import Tokenizer
from app.core.turns import ordered
from app.pipeline.gateway import Gateway

router = APIRouter()


class TokenizeRequest(Wire):
    """`POST /tokenize`: `prompt` or `messages`.

    add_special_tokens: those that the model adds to a text; by default to a prompt, and not to a chat, whose template
    has them. add_generation_prompt: of a chat, with what begins the answer. tools, chat_template_kwargs: as the chat's.
    """

    model: Model | None = None
    prompt: Prose | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES)] | None = None
    add_special_tokens: bool | None = None
    add_generation_prompt: bool = True
    tools: Tools | None = None
    chat_template_kwargs: Free | None = None

    @model_validator(mode="after")
    def _one(self) -> TokenizeRequest:
        if (self.prompt is None) == (self.messages is None):
            msg = "send either `prompt` or `messages`"
            raise ValueError(msg)
        return self


class DetokenizeRequest(Wire):
    """`POST /detokenize`."""

    model: Model | None = None
    tokens: Annotated[list[Id], Field(max_length=1_000_000)]


@router.post("/tokenize")
async def tokenize(request: Request) -> dict[str, Any]:
    """A text's or a chat's token ids. max_model_len: of the pools that `model` may be answered by, the longest."""
    post = await prelude(request, "chat")
    data = load(post.body)
    asked = fit(TokenizeRequest, {**data, "messages": History(data["messages"]).read()} if "messages" in data else data)
    longest = max(_contexts(post, asked.model or "auto"))
    ids = await asyncio.to_thread(_ids, asked, _tokenizer(post.gateway, "prompt"))
    return {"count": len(ids), "max_model_len": longest, "tokens": ids, "token_strs": None}


@router.post("/detokenize")
async def detokenize(request: Request) -> dict[str, Any]:
    """The token ids' text."""
    post = await prelude(request, "chat")
    asked = fit(DetokenizeRequest, load(post.body))
    post.must_know(asked.model or "auto")
    try:
        return {"prompt": await asyncio.to_thread(_tokenizer(post.gateway, "tokens").decode, asked.tokens)}
    except ValueError as error:
        raise errors.bad_request(f"Invalid value for 'tokens': {error}.", "tokens", "invalid_value") from None


def _contexts(post: Posted, model: str) -> list[int]:
    """How long each pool's context is that may answer for `model`. Raises ApiError (404)."""
    post.must_know(model)
    catalog = post.gateway.catalog
    model = catalog.resolved(model)
    pools = catalog.context if model == "auto" else catalog.pools_for(model, catalog.tier_of(model))
    return [catalog.context[pool] for pool in pools]


def _tokenizer(gateway: Gateway, param: str) -> Tokenizer:
    if gateway.ports.tokenizer is None:
        raise errors.no_tokenizer(param)
    return gateway.ports.tokenizer


def _ids(asked: TokenizeRequest, tokenizer: Tokenizer) -> list[int]:
    if asked.messages is None:
        return tokenizer.encode(asked.prompt or "", special=asked.add_special_tokens is not False)
    try:
        messages = [message.wire() for message in ordered([message.message() for message in asked.messages])]
        tools = for_engine(asked.tools, None, parallel=None).get("tools")
        more = asked.chat_template_kwargs
        text = tokenizer.chat(messages, prompt=asked.add_generation_prompt, tools=tools, more=more)
    except ValueError as error:
        raise errors.bad_request(f"Invalid value for 'messages': {error}.", "messages", "invalid_value") from None
    if text is None:
        raise errors.no_chat_template()
    return tokenizer.encode(text, special=bool(asked.add_special_tokens))
