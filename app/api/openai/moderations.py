"""`POST /v1/moderations`: the graph's moderator, in OpenAI's categories. Texts stay here, so they are not scrubbed.

A moderator of Detoxify's labels measures harassment, harassment/threatening, hate and, where the model has the label,
sexual. The other categories are never measured: their score is 0 and their `category_applied_input_types` are empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app.api.bounds import Model, Prose
from app.api.openai.judged import JudgedAnswer
from app.api.openai.moderation_categories import result
from app.api.openai.unread import Unread
from app.api.openai.wire import Wire
from app.api.request import Posted, posted
from app.api.validation import fit, load
from app.config import MODERATION
from app.core import errors
from app.core.events import Message, Prompt

router = APIRouter()
MOST = 2048
"""Inputs of one request."""


class TextPart(Wire):
    """A part of one input. Images are refused."""

    type: Literal["text"]
    text: Prose


class ModerationRequest(Wire):
    """`POST /v1/moderations`. input: a text, texts, or the text parts of one input."""

    input: Prose | Annotated[list[Prose] | list[TextPart], Field(min_length=1, max_length=MOST)]
    model: Model | None = None

    @property
    def texts(self) -> list[str]:
        """What is judged, a result for each."""
        if isinstance(self.input, str):
            return [self.input]
        parts = [one.text for one in self.input if isinstance(one, TextPart)]
        return ["\n".join(parts)] if parts else [one for one in self.input if isinstance(one, str)]

    def prompt(self) -> Prompt:
        """The request as the stages know it."""
        messages = tuple(Message("user", text) for text in self.texts)
        return Prompt(messages, self.model or MODERATION, raw=True, task="classify")


@router.post("/v1/moderations", response_model=None)
async def moderations(request: Request) -> Response:
    """Whether texts are harmful, by category, as the output moderator would judge them."""
    return await posted(request, "moderations", _open)


async def _open(post: Posted) -> Response:
    data = load(post.body)
    asked = fit(ModerationRequest, data)
    policy = post.gateway.policy
    Unread.of(data, ModerationRequest).tell(post.request, policy.api.unknown_fields)
    model_id = policy.moderations.model_id
    if asked.model and post.gateway.catalog.resolved(asked.model) not in (MODERATION, model_id):
        raise errors.model_not_found(str(asked.model), (MODERATION, model_id))
    call, events = post.open(asked.prompt())
    thresholds = policy.moderate.thresholds

    def shape(scored: Sequence[Mapping[str, float]]) -> dict[str, Any]:
        return {"id": call.id, "model": model_id, "results": [result(scores, thresholds) for scores in scored]}

    return JudgedAnswer(post.gateway, call, events, shape)
