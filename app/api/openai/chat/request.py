"""OpenAI's chat request.  body -> [request] -> route, tokenize.

`read` turns a body into a ChatRequest or raises an ApiError; `ChatRequest.prompt` into our Prompt.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from app.api.bounds import (
    MAX_CALLS,
    MAX_MESSAGES,
    MAX_PARTS,
    Biases,
    EndUser,
    Identifier,
    Model,
    Part,
    Prose,
    Seed,
    Stop,
    Tokens,
)
from app.api.json_schema_bounds import ResponseFormat
from app.api.openai.wire import ROLES, VERSION, Choose, StreamOptions, Tool, ToolCall, Wire, plain
from app.api.validation import fit, load
from app.api.whose import Identified
from app.core import errors
from app.core.events import Message, Prompt

ENGINE_FIELDS = (
    "n", "stop", "seed", "temperature", "top_p", "max_tokens", "max_completion_tokens",
    "frequency_penalty", "presence_penalty", "logprobs", "top_logprobs", "logit_bias", "response_format",
    "tools", "tool_choice", "parallel_tool_calls", "reasoning_effort",
)  # fmt: skip
"""What reaches the engine, under the same names."""
NOT_YET = {
    "functions": "Function calling is not supported. Use `tools` instead of `functions`.",
    "audio": "Audio output is not supported. Leave `audio` out.",
}


class ChatMessage(Wire):
    """One message. Text parts are joined; other parts are refused with the part's type named."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Prose | Annotated[list[Part], Field(max_length=MAX_PARTS)] | None = None
    name: Identifier | None = None
    tool_call_id: Identifier | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=MAX_CALLS)] | None = None

    @field_validator("content")
    @classmethod
    def _only_text(cls, content: str | list[dict[str, Any]] | None) -> str | list[dict[str, Any]] | None:
        if content is None or isinstance(content, str):
            return content
        for part in content:
            if part.get("type") not in ("text", "refusal"):
                msg = f"content parts of type {part.get('type')!r} are not supported by any pool; send text"
                raise ValueError(msg)
            if not isinstance(part.get(part["type"]), str):
                msg = f"a part of type {part['type']!r} needs a string under the key {part['type']!r}"
                raise ValueError(msg)  # noqa: TRY004 - pydantic turns only a ValueError into a fault
        return content

    @property
    def parts(self) -> list[str]:
        """Its texts, a client's part each."""
        if isinstance(self.content, list):
            return [part[part["type"]] for part in self.content]
        return [self.content or ""]

    def message(self) -> Message:
        extra = {name: value for name in ("name", "tool_call_id") if (value := getattr(self, name)) is not None}
        if self.tool_calls:
            extra["tool_calls"] = [call.model_dump() for call in self.tool_calls]
        return Message.of(ROLES.get(self.role, self.role), self.parts, extra)


class Side(Wire):
    """What a flagged text leads to."""

    mode: Literal["score", "block"]


class ModerationPolicy(Wire):
    """`moderation.policy`. output: the installation's own thresholds stop an answer in either mode."""

    input: Side | None = None
    output: Side | None = None


class Moderation(Wire):
    """OpenAI's `moderation`: judge the prompt too, and say in the answer what was found."""

    model: Model
    policy: ModerationPolicy | None = None


class ChatRequest(Identified):
    """`POST /v1/chat/completions`. Bounds are OpenAI's."""

    model: Model
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    seed: Seed | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    logit_bias: Biases | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | Choose | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    service_tier: Literal["auto", "default", "flex", "priority", "scale"] | None = None
    prompt_cache_key: EndUser | None = None
    moderation: Moderation | None = None
    user: EndUser | None = None
    safety_identifier: EndUser | None = None
    metadata: Annotated[dict[Identifier, Annotated[str, Field(max_length=512)]], Field(max_length=16)] | None = None

    @model_validator(mode="after")
    def _tools_fit(self) -> ChatRequest:
        names = {tool.function.name for tool in self.tools or ()}
        if isinstance(self.tool_choice, Choose) and self.tool_choice.function.name not in names:
            msg = f"tool_choice: there is no tool `{self.tool_choice.function.name}` among `tools`"
            raise ValueError(msg)
        if self.tool_choice not in (None, "none") and not names:
            msg = "tool_choice: it needs `tools`"
            raise ValueError(msg)
        return self

    def prompt(self) -> Prompt:
        """The request as the stages know it."""
        sent = {name: plain(value) for name in ENGINE_FIELDS if (value := getattr(self, name)) is not None}
        version = (self.metadata or {}).get(VERSION, "")
        said = tuple(message.message() for message in self.messages)
        return Prompt(said, self.model, sent, version=version, **self.identity)

    @property
    def screen(self) -> str | None:
        """As Call.screen."""
        if self.moderation is None:
            return None
        policy = self.moderation.policy
        return policy.input.mode if policy and policy.input else "score"

    @property
    def include_usage(self) -> bool:
        return bool(self.stream and self.stream_options and self.stream_options.include_usage)


def read(body: bytes) -> ChatRequest:
    """Parse and check a request body. Raises ApiError (400)."""
    data = load(body)
    for name, why in NOT_YET.items():
        if data.get(name):
            raise errors.unsupported(name, why)
    if data.get("stream_options") is not None and not data.get("stream"):
        raise errors.bad_request(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options"
        )
    if data.get("top_logprobs") and not data.get("logprobs"):
        raise errors.bad_request("The 'top_logprobs' parameter needs 'logprobs' to be true.", "top_logprobs")
    if data.get("messages") == []:
        raise errors.bad_request(
            "Invalid 'messages': empty array. Send at least one message.", "messages", "empty_array"
        )
    return fit(ChatRequest, data)
