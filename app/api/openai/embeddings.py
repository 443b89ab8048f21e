"""`POST /v1/embeddings`: vectors by the graph's encoder. Texts stay in this installation, so they are not scrubbed."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app.api.bounds import Dimensions, EndUser, Model
from app.api.openai.completions.request import Ids, Text, texts
from app.api.openai.judged import JudgedAnswer
from app.api.openai.unread import Unread
from app.api.openai.wire import Wire
from app.api.request import Posted, posted
from app.api.validation import fit, load
from app.config import EMBEDDING
from app.core import errors
from app.core.events import Message, Prompt, Usage
from app.core.ports import Tokenizer, Vector

router = APIRouter()
MOST = 2048
"""Inputs of one request: OpenAI's limit."""


class EmbeddingRequest(Wire):
    """`POST /v1/embeddings`. input: text, or token ids of the gateway's tokenizer. dimensions: up to the model's."""

    model: Model
    input: Text | Ids | Annotated[list[Text] | list[Ids], Field(min_length=1, max_length=MOST)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Dimensions | None = None
    user: EndUser | None = None

    @property
    def has_ids(self) -> bool:
        """Whether it sends token ids."""
        first = self.input[0]
        return not isinstance(first, str)

    def prompt(self, tokenizer: Tokenizer | None) -> Prompt:
        """The request as the stages know it: a message for each text. Raises ApiError (400), as `texts`."""
        messages = tuple(Message("user", text) for text in texts(self.input, tokenizer, "input"))
        params = {} if self.dimensions is None else {"dimensions": self.dimensions}
        return Prompt(messages, self.model, params, raw=True, task="embed")


@router.post("/v1/embeddings", response_model=None)
async def embeddings(request: Request) -> Response:
    """A vector of unit length for each input."""
    return await posted(request, "embeddings", _open)


async def _open(post: Posted) -> Response:
    data = load(post.body)
    asked = fit(EmbeddingRequest, data)
    api = post.gateway.policy.api
    Unread.of(data, EmbeddingRequest).tell(post.request, api.unknown_fields)
    model_id = post.gateway.policy.embeddings.model_id
    if post.gateway.catalog.resolved(asked.model) not in (EMBEDDING, model_id):
        raise errors.model_not_found(asked.model, (EMBEDDING, model_id))
    if asked.has_ids and not api.token_ids:
        raise errors.foreign_token_ids("input")
    prompt = asked.prompt(post.gateway.ports.tokenizer)
    call, events = post.open(prompt)

    def shape(vectors: Sequence[Vector]) -> dict[str, Any]:
        return body(vectors, call.usage, model_id, asked.encoding_format)

    return JudgedAnswer(post.gateway, call, events, shape)


def body(vectors: Sequence[Vector], usage: Usage, model_id: str, encoding: str | None) -> dict[str, Any]:
    """OpenAI's list of embeddings. base64: of little-endian float32."""
    spelt = [
        base64.b64encode(vector.astype("<f4").tobytes()).decode() if encoding == "base64" else vector.tolist()
        for vector in vectors
    ]
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": one} for index, one in enumerate(spelt)],
        "model": model_id,
        "usage": {"prompt_tokens": usage.prompt, "total_tokens": usage.prompt},
    }
