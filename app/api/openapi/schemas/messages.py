"""Anthropic's Messages, and its error."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, RootModel

from app.api.openapi.schemas import base
from app.api.openapi.schemas.base import Shape
from app.api.openapi.schemas.judged import ModelList, ModelOne


class FaultFacts(Shape):
    """What went wrong."""

    type: str
    message: str


class Fault(Shape):
    """Every error of these routes."""

    type: Literal["error"]
    error: FaultFacts
    request_id: str | None


class Said(Shape):
    """A block of text."""

    type: Literal["text"]
    text: str


class Used(Shape):
    """A tool call."""

    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]


class Refused(Shape):
    """Why the moderator stopped the answer."""

    type: Literal["refusal"]
    category: None
    explanation: str


class MessageUsage(Shape):
    """Tokens, as billed. input_tokens: those that no cache served."""

    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int


class MessageObject(Shape):
    """A whole message."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[Said | Used]
    stop_reason: Literal["end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal"]
    stop_sequence: str | None
    stop_details: Refused | None
    usage: MessageUsage


class MessageEvent(Shape):
    """An event of a message's stream; the other keys depend on the type."""

    model_config = ConfigDict(extra="allow")
    type: Literal[
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "ping",
    ]


class MessageTokens(Shape):
    """What a message would count."""

    input_tokens: int


class ModelInfo(Shape):
    """What `model` may be, as Anthropic's clients are told. Tokens: what the model reads and writes together."""

    type: Literal["model"]
    id: str
    display_name: str
    created_at: str
    lifecycle: Literal["active"]
    max_input_tokens: int | None = None
    max_tokens: int | None = None


class ModelPage(Shape):
    """A page of them."""

    data: list[ModelInfo]
    has_more: bool
    first_id: str | None
    last_id: str | None


class PageQuery(Shape):
    """What of a list Anthropic's clients ask for."""

    limit: Annotated[int, Field(ge=1, le=1_000)] | None = None
    after_id: str | None = None
    before_id: str | None = None


class Models(RootModel[ModelList | ModelPage]):
    """All of them; in Anthropic's shape where the request is one of Anthropic's clients."""


class AModel(RootModel[ModelOne | ModelInfo]):
    """One of them; likewise."""


class AnyFault(RootModel[base.Error | Fault]):
    """An error; likewise."""


class MessageBatchCounts(Shape):
    """How the requests of a batch fared; all are `processing` until it has ended."""

    processing: int
    succeeded: int
    errored: int
    canceled: int
    expired: int


class MessageBatch(Shape):
    """A batch. Moments are RFC 3339."""

    id: str
    type: Literal["message_batch"]
    processing_status: Literal["in_progress", "canceling", "ended"]
    request_counts: MessageBatchCounts
    created_at: str
    expires_at: str
    ended_at: str | None
    cancel_initiated_at: str | None
    archived_at: str | None
    results_url: str | None


class MessageBatchPage(Shape):
    """A page of them."""

    data: list[MessageBatch]
    has_more: bool
    first_id: str | None
    last_id: str | None


class MessageBatchDeleted(Shape):
    """It is gone."""

    id: str
    type: Literal["message_batch_deleted"]
