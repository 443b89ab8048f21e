"""Anthropic's Messages, and its error."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict

from app.api.openapi.schemas.base import Shape


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
    citations: None


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
