"""OpenAI's Responses request: parsed strictly where a wrong value would mislead, ignored where OpenAI ignores.

What only OpenAI's own machines can do (background work, built-in tools, images) is refused, each in a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from app.api.bounds import MAX_MESSAGES, EndUser, Identifier, Model, Prose, Tokens
from app.api.openai.responses.fields import Choose, FunctionTool, Reasoning, Text
from app.api.openai.responses.items import AnyItem, Item, MessageItem, messages
from app.api.openai.wire import VERSION, plain
from app.api.validation import fit, load
from app.api.whose import Identified
from app.core import errors
from app.core.events import Prompt

NEVER = {
    "background": "Background responses are not supported. Leave `background` out, and stream instead.",
    "conversation": "Conversations are not supported. Use `previous_response_id`.",
    "prompt": "Stored prompts are not supported. Send `instructions` and `input`.",
}
LOGPROBS = "message.output_text.logprobs"
Included = Literal["message.output_text.logprobs", "reasoning.encrypted_content"]
MetaKey = Annotated[str, Field(max_length=64)]
MetaValue = Annotated[str, Field(max_length=512)]


class Counted(Identified):
    """`POST /v1/responses/input_tokens`: what of a request is read by the model."""

    model: Model = "auto"
    input: Prose | Annotated[list[AnyItem], Field(min_length=1, max_length=MAX_MESSAGES)] | None = None
    instructions: Prose | None = None
    previous_response_id: Identifier | None = None
    tools: Annotated[list[FunctionTool], Field(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | Choose | None = None
    parallel_tool_calls: bool | None = None
    text: Text | None = None
    reasoning: Reasoning | None = None
    truncation: Literal["disabled"] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Counted:
        if self.input is None and not self.previous_response_id:
            msg = "one of `input` and `previous_response_id` must be given"
            raise ValueError(msg)
        names = {tool.name for tool in self.tools or ()}
        if self.tool_choice not in (None, "none", "auto") and not names:
            msg = "tool_choice: it needs `tools`"
            raise ValueError(msg)
        if isinstance(self.tool_choice, Choose) and self.tool_choice.name not in names:
            msg = f"tool_choice: there is no tool `{self.tool_choice.name}` among `tools`"
            raise ValueError(msg)
        return self

    def items(self) -> list[Item]:
        """The input as it is kept."""
        if isinstance(self.input, str):
            return [MessageItem(role="user", content=self.input).kept()]
        return [item.kept() for item in self.input or ()]

    def prompt(self, conversation: Sequence[Item]) -> Prompt:
        """The request as the stages know it. conversation: all of it, kept and new. Raises ApiError (400)."""
        return Prompt(messages(conversation, self.instructions), self.model, self.params(), **self.identity)

    def params(self) -> dict[str, Any]:
        """What reaches the engine, under chat's names."""
        choice = self.tool_choice.chat() if isinstance(self.tool_choice, Choose) else self.tool_choice
        structured = self.text is not None and self.text.format.type != "text"
        return _given(
            tools=[tool.chat() for tool in self.tools] if self.tools else None,
            tool_choice=choice if self.tools else None,
            parallel_tool_calls=self.parallel_tool_calls if self.tools else None,
            response_format=self.text.format.chat() if self.text and structured else None,
            reasoning_effort=self.reasoning.effort if self.reasoning else None,
        )


class ResponsesRequest(Counted):
    """`POST /v1/responses`. Bounds are OpenAI's.

    include: encrypted reasoning is asked for by many clients at every call; there is none to include.
    """

    model: Model
    stream: bool | None = None
    store: bool | None = None
    max_output_tokens: Tokens | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    include: Annotated[list[Included], Field(max_length=16)] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    metadata: Annotated[dict[MetaKey, MetaValue], Field(max_length=16)] | None = None
    service_tier: Literal["auto", "default", "flex", "priority", "scale"] | None = None
    prompt_cache_key: EndUser | None = None
    user: EndUser | None = None
    safety_identifier: EndUser | None = None

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

    def prompt(self, conversation: Sequence[Item]) -> Prompt:
        """As above, with the version of the caller's prompt."""
        return replace(super().prompt(conversation), version=(self.metadata or {}).get(VERSION, ""))

    def echo(self) -> dict[str, Any]:
        """Its fields as the response repeats them, defaults filled in."""
        return {
            "background": False,
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
            "tools": [tool.model_dump() for tool in self.tools or ()],
            "top_logprobs": self.top_logprobs or 0,
            "top_p": 1.0 if self.top_p is None else self.top_p,
            "truncation": "disabled",
            "user": self.user,
        }


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _loaded(body: bytes) -> dict[str, Any]:
    data = load(body)
    for name, why in NEVER.items():
        if data.get(name):
            raise errors.unsupported(name, why)
    if data.get("truncation") == "auto":
        raise errors.unsupported("truncation", "Truncation is not supported. Shorten the input yourself.")
    for at, tool in enumerate(data["tools"] if isinstance(data.get("tools"), list) else ()):
        if isinstance(tool, dict) and tool.get("type", "function") != "function":
            kind = str(tool["type"])[:64]
            raise errors.unsupported(f"tools[{at}].type", f"The tool `{kind}` is not supported. Use `function` tools.")
    return data


def read(body: bytes) -> ResponsesRequest:
    """Parse and check a request. Raises ApiError (400)."""
    return fit(ResponsesRequest, _loaded(body))


def read_counted(body: bytes) -> Counted:
    """Parse and check what is to be counted. Raises ApiError (400)."""
    return fit(Counted, _loaded(body))
