"""OpenAI's Responses request: parsed strictly where a wrong value would mislead, ignored where OpenAI ignores.

What only OpenAI's own machines can do is refused where the newest turn demands it, each in a sentence.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from app.api.bounds import MAX_MESSAGES, EndUser, Identifier, Model, Prose, Tokens
from app.api.openai.responses.fields import Reasoning, Text
from app.api.openai.responses.items import AnyItem, Conversation
from app.api.openai.responses.tools import MAX_TOOLS, AnyTool, Chosen, Toolbox
from app.api.openai.responses.turns import messages
from app.api.openai.wire import VERSION, plain
from app.api.validation import fit, load
from app.api.whose import Identified
from app.core import errors
from app.core.events import Prompt

NEVER = {
    "conversation": "Conversations are not supported. Use `previous_response_id`.",
    "prompt": "Stored prompts are not supported. Send `instructions` and `input`.",
}
LOGPROBS = "message.output_text.logprobs"
Included = Annotated[str, Field(max_length=64)]
MetaKey = Annotated[str, Field(max_length=64)]
MetaValue = Annotated[str, Field(max_length=512)]


class Counted(Identified):
    """`POST /v1/responses/input_tokens`: what of a request is read by the model."""

    model: Model = "auto"
    input: Prose | Annotated[list[AnyItem], Field(min_length=1, max_length=MAX_MESSAGES)] | None = None
    instructions: Prose | None = None
    previous_response_id: Identifier | None = None
    tools: Annotated[list[AnyTool], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: Chosen = None
    parallel_tool_calls: bool | None = None
    text: Text | None = None
    reasoning: Reasoning | None = None
    truncation: Literal["auto", "disabled"] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Counted:
        if self.input is None and not self.previous_response_id:
            msg = "one of `input` and `previous_response_id` must be given"
            raise ValueError(msg)
        return self

    def prompt(self, conversation: Conversation) -> Prompt:
        """The request as the stages know it, but for its tools. Raises ApiError (400)."""
        return Prompt(messages(conversation, self.instructions), self.model, self.params(), **self.identity)

    def params(self) -> dict[str, Any]:
        """What reaches the engine, under chat's names."""
        structured = self.text is not None and self.text.format.type != "text"
        return _given(
            response_format=self.text.format.chat() if self.text and structured else None,
            reasoning_effort=self.reasoning.effort if self.reasoning else None,
        )


class ResponsesRequest(Counted):
    """`POST /v1/responses`. Bounds are OpenAI's.

    include: what there is none of to include is asked for by many clients at every call.
    """

    model: Model
    background: bool | None = None
    stream: bool | None = None
    store: bool | None = None
    max_output_tokens: Tokens | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    include: Annotated[list[Included], Field(max_length=64)] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    metadata: Annotated[dict[MetaKey, MetaValue], Field(max_length=16)] | None = None
    service_tier: Annotated[str, Field(max_length=64)] | None = None
    prompt_cache_key: EndUser | None = None
    user: EndUser | None = None
    safety_identifier: EndUser | None = None

    @model_validator(mode="after")
    def _waits(self) -> ResponsesRequest:
        if self.background and (self.stream or self.store is False):
            msg = "background: such a response is stored and not streamed; leave `stream` and `store` out"
            raise ValueError(msg)
        return self

    def params(self) -> dict[str, Any]:
        """What reaches the engine, under chat's names."""
        wants = LOGPROBS in (self.include or ())
        return super().params() | _given(
            max_completion_tokens=self.max_output_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            logprobs=True if wants else None,
            top_logprobs=self.top_logprobs if wants else None,
        )

    def prompt(self, conversation: Conversation) -> Prompt:
        """As above, with the version of the caller's prompt."""
        return replace(super().prompt(conversation), version=(self.metadata or {}).get(VERSION, ""))

    def echo(self) -> dict[str, Any]:
        """Its fields as the response repeats them, defaults filled in."""
        return {
            "background": bool(self.background),
            "instructions": self.instructions,
            "max_output_tokens": self.max_output_tokens,
            "max_tool_calls": None,
            "metadata": self.metadata or {},
            "parallel_tool_calls": self.parallel_tool_calls is not False,
            "previous_response_id": self.previous_response_id,
            "prompt_cache_key": self.prompt_cache_key,
            "reasoning": {"effort": self.reasoning.effort if self.reasoning else None, "summary": None},
            "safety_identifier": self.safety_identifier,
            "service_tier": "default",
            "temperature": 1.0 if self.temperature is None else self.temperature,
            "text": (self.text or Text()).echo(),
            "tool_choice": plain(self.tool_choice) or "auto",
            "tools": Toolbox.echo(self.tools or ()),
            "top_logprobs": self.top_logprobs or 0,
            "top_p": 1.0 if self.top_p is None else self.top_p,
            "truncation": self.truncation or "disabled",
            "user": self.user,
        }


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _loaded(body: bytes) -> dict[str, Any]:
    data = load(body)
    for name, why in NEVER.items():
        if data.get(name):
            raise errors.unsupported(name, why)
    return data


def read(body: bytes) -> ResponsesRequest:
    """Parse and check a request. Raises ApiError (400)."""
    return fit(ResponsesRequest, _loaded(body))


def read_counted(body: bytes) -> Counted:
    """Parse and check what is to be counted. Raises ApiError (400)."""
    return fit(Counted, _loaded(body))
