"""OpenAI's Responses."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict

from app.api.openapi.schemas.base import Shape


class ResponseEnd(Shape):
    """Why a response is incomplete."""

    reason: Literal["max_output_tokens", "content_filter"]


class ResponseFault(Shape):
    """Why a response failed."""

    code: str
    message: str


class InputDetails(Shape):
    """cached_tokens: from an engine's prefix cache."""

    cached_tokens: int
    cache_write_tokens: int


class OutputDetails(Shape):
    """Always 0: no pool reports them."""

    reasoning_tokens: int


class ResponseUsage(Shape):
    """Tokens, as billed."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class ResponseItem(Shape):
    """A message, a tool call, a tool's output and so on; the other keys depend on the type."""

    model_config = ConfigDict(extra="allow")
    id: str
    type: str


class ResponseObject(Shape):
    """A response. What was asked for is repeated in it."""

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
    error: ResponseFault | None
    incomplete_details: ResponseEnd | None
    model: str
    output: list[ResponseItem]
    store: bool
    usage: ResponseUsage | None
    background: bool
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: None
    metadata: dict[str, str]
    parallel_tool_calls: bool
    previous_response_id: str | None
    prompt_cache_key: str | None
    reasoning: dict[str, Any]
    safety_identifier: str | None
    service_tier: str
    temperature: float
    text: dict[str, Any]
    tool_choice: str | dict[str, Any]
    tools: list[dict[str, Any]]
    top_logprobs: int
    top_p: float
    truncation: Literal["auto", "disabled"]
    user: str | None


class ResponseEvent(Shape):
    """An event of a response's stream; the other keys depend on the type: `response.output_text.delta` and so on."""

    model_config = ConfigDict(extra="allow")
    type: str
    sequence_number: int


class CompactedResponse(Shape):
    """A conversation's summary: one item of type `compaction`, to be sent in its place."""

    id: str
    object: Literal["response.compaction"]
    created_at: int
    output: list[ResponseItem]
    usage: ResponseUsage


class InputTokens(Shape):
    """What an input would count."""

    object: Literal["response.input_tokens"]
    input_tokens: int


class ItemList(Shape):
    """A page of the items that a response was made from."""

    object: Literal["list"]
    data: list[ResponseItem]
    first_id: str | None
    last_id: str | None
    has_more: bool


class ResponseDeleted(Shape):
    """It is gone."""

    id: str
    object: Literal["response"]
    deleted: Literal[True]
