"""OpenAI's chat request.  body -> [request] -> route, tokenize.

`read` turns a body into a ChatRequest or raises an ApiError; `ChatRequest.prompt` into our Prompt.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import Field

from app.api.bounds import (
    MAX_CALLS,
    MAX_MESSAGES,
    MAX_PARTS,
    Biases,
    EndUser,
    Identifier,
    Model,
    Prose,
    Seed,
    Stop,
    Tokens,
)
from app.api.json_schema_bounds import ResponseFormat
from app.api.openai.chat.extensions import Extensions, greedy
from app.api.openai.chat.history import History
from app.api.openai.chat.tools import Choice, Tools, customs
from app.api.openai.chat.tools import for_engine as tools_for_engine
from app.api.openai.unread import Unread
from app.api.openai.wire import ROLES, VERSION, StreamOptions, ToolCall, Wire, plain
from app.api.validation import fit, load
from app.api.whose import Identified
from app.core import errors
from app.core.events import Message, Prompt

ENGINE_FIELDS = (
    "n", "stop", "seed", "temperature", "top_p", "max_tokens", "max_completion_tokens", "frequency_penalty",
    "presence_penalty", "logprobs", "top_logprobs", "logit_bias", "response_format", "reasoning_effort",
)  # fmt: skip
"""What reaches the engine, under the same names."""
NOT_YET = {
    "functions": "Function calling is not supported. Use `tools` instead of `functions`.",
    "audio": "Audio output is not supported. Leave `audio` out.",
}


class TextPart(Wire):
    """A content part: `History` has made text of all others, or refused them."""

    type: Literal["text"]
    text: Prose


class ChatMessage(Wire):
    """One message. Text parts are joined, each as a line of its own."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Prose | Annotated[list[TextPart], Field(max_length=MAX_PARTS)] | None = None
    name: Identifier | None = None
    tool_call_id: Identifier | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=MAX_CALLS)] | None = None

    @property
    def parts(self) -> list[str]:
        """Its texts, a client's part each."""
        if isinstance(self.content, list):
            return [part.text for part in self.content]
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


class ChatRequest(Extensions, Identified):
    """`POST /v1/chat/completions`. Bounds are OpenAI's, and `Extensions` vLLM's."""

    model: Model
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    seed: Seed | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    logit_bias: Biases | None = None
    response_format: ResponseFormat | None = None
    tools: Tools | None = None
    tool_choice: Choice | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    service_tier: Literal["auto", "default", "flex", "priority", "scale"] | None = None
    prompt_cache_key: EndUser | None = None
    moderation: Moderation | None = None
    user: EndUser | None = None
    safety_identifier: EndUser | None = None
    metadata: Annotated[dict[Identifier, Annotated[str, Field(max_length=512)]], Field(max_length=16)] | None = None

    def prompt(self, template_kwargs: Collection[str] = ()) -> Prompt:
        """The request as the stages know it. template_kwargs: as for_engine's. Raises ApiError (400)."""
        sent = {name: plain(value) for name in ENGINE_FIELDS if (value := getattr(self, name)) is not None}
        sent |= tools_for_engine(self.tools, self.tool_choice, parallel=self.parallel_tool_calls)
        sent |= self.for_engine(template_kwargs)
        if "structured_outputs" in sent and sent.get("response_format", {}).get("type", "text") != "text":
            why = "Send `response_format` or `structured_outputs`, not both."
            raise errors.bad_request(why, "structured_outputs", "invalid_value")
        version = (self.metadata or {}).get(VERSION, "")
        messages = tuple(message.message() for message in self.messages)
        return Prompt(messages, self.model, greedy(sent), version=version, **self.identity)

    @property
    def custom_tools(self) -> frozenset[str]:
        """The names of tools whose calls are told as custom calls."""
        return customs(self.tools)

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


def read(body: bytes) -> tuple[ChatRequest, Unread]:
    """Parse and check a request body; and what of it is not read. Raises ApiError (400)."""
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
    history = History(data.get("messages"))
    asked = fit(ChatRequest, {**data, "messages": history.read()} if "messages" in data else data)
    return asked, Unread.of(data, ChatRequest, history.left_out)
