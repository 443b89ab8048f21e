"""Chat and text completions, whole and streamed."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from app.api.openapi.schemas.base import Shape, TokenUsage

Finish = Literal["stop", "length", "tool_calls", "content_filter"]


class TopLogprob(Shape):
    """A token that might have stood there."""

    token: str
    logprob: float
    bytes: list[int] | None = None


class TokenLogprob(TopLogprob):
    """A token of the answer."""

    top_logprobs: list[TopLogprob] = Field(default_factory=list)


class Logprobs(Shape):
    """OpenAI's `logprobs` of a choice."""

    content: list[TokenLogprob] | None
    refusal: None


class CalledFunction(Shape):
    """arguments: JSON, as the model wrote it."""

    name: str
    arguments: str


class Called(Shape):
    """A tool call."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class CustomInput(Shape):
    """input: text, as the model wrote it."""

    name: str
    input: str


class CalledCustom(Shape):
    """A call of a tool that takes text."""

    id: str
    type: Literal["custom"]
    custom: CustomInput


class Answered(Shape):
    """The assistant's message. content is null where there are only tool calls."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    tool_calls: list[Called | CalledCustom] = Field(default_factory=list)


class ChatChoice(Shape):
    """One answer."""

    index: int
    message: Answered
    logprobs: Logprobs | None
    finish_reason: Finish


class ChatCompletion(Shape):
    """A whole chat completion. model: the one that answered."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: TokenUsage
    service_tier: str
    system_fingerprint: str
    moderation: dict[str, Any] | None = None


class FunctionPiece(Shape):
    """name comes once."""

    name: str | None = None
    arguments: str


class CallPiece(Shape):
    """A piece of a tool call; id and type come once."""

    index: int
    id: str | None = None
    type: Literal["function"] | None = None
    function: FunctionPiece


class CustomPiece(Shape):
    """A whole call of a tool that takes text."""

    index: int
    id: str
    type: Literal["custom"]
    custom: CustomInput


class Delta(Shape):
    """What a chunk adds."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[CallPiece | CustomPiece] | None = None


class ChunkChoice(Shape):
    """A piece of one answer."""

    index: int
    delta: Delta
    logprobs: Logprobs | None
    finish_reason: Finish | None


class ChatChunk(Shape):
    """One event of a chat stream. usage: with `stream_options.include_usage`, null until the last."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    service_tier: str
    system_fingerprint: str
    usage: TokenUsage | None = None
    moderation: dict[str, Any] | None = None


class LegacyLogprobs(Shape):
    """text_offset: characters before each token, the echoed prompt's among them."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class TextChoice(Shape):
    """One continuation, or a piece of it."""

    index: int
    text: str
    logprobs: LegacyLogprobs | None
    finish_reason: Finish | None


class TextCompletion(Shape):
    """A whole text completion, or one event of its stream."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    system_fingerprint: str
    usage: TokenUsage | None = None
