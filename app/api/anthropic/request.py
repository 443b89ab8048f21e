"""Anthropic's Messages request: parsed strictly where a wrong value would mislead.  body -> [wire] -> route."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from app.api.anthropic.blocks import Texts, Turn, messages
from app.api.bounds import MAX_MESSAGES, EndUser, Identifier, Model, Prose, Stop, Tokens, TopK
from app.api.json_schema_bounds import JsonSchema
from app.api.openai.wire import Wire
from app.api.validation import fit, load
from app.api.whose import Identified
from app.core import errors
from app.core.events import Prompt

NEVER = {
    "mcp_servers": "MCP servers are not supported. Call them yourself, and send their tools as `tools`.",
    "container": "Containers are not supported.",
}
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]


class Tool(Wire):
    """A tool that the model may use. input_schema: a JSON Schema."""

    type: Literal["custom"] | None = None
    name: Name
    description: Prose | None = None
    input_schema: JsonSchema
    strict: bool | None = None

    def chat(self) -> dict[str, Any]:
        """As chat's API spells it."""
        about = {"description": self.description, "strict": self.strict}
        given = {name: value for name, value in about.items() if value is not None}
        return {"type": "function", "function": {"name": self.name, "parameters": self.input_schema, **given}}


class Choice(Wire):
    """`tool_choice`. name: of type `tool`."""

    type: Literal["auto", "any", "tool", "none"]
    name: Identifier | None = None
    disable_parallel_tool_use: bool | None = None

    def chat(self) -> dict[str, Any]:
        """As chat's API spells it."""
        named = {"type": "function", "function": {"name": self.name}}
        words: dict[str, Any] = {"auto": "auto", "any": "required", "none": "none", "tool": named}
        one = {"parallel_tool_calls": False} if self.disable_parallel_tool_use else {}
        return {"tool_choice": words[self.type], **one}


class Thinking(Wire):
    """`thinking`: a model that need not think does not."""

    type: Literal["disabled", "adaptive"]


class JsonFormat(Wire):
    """A JSON Schema that the answer follows."""

    type: Literal["json_schema"]
    schema_: Annotated[JsonSchema, Field(alias="schema")]


class OutputConfig(Wire):
    """`output_config`."""

    format: JsonFormat | None = None


class Metadata(Wire):
    """`metadata`."""

    user_id: EndUser | None = None


class Counted(Identified):
    """`POST /v1/messages/count_tokens`: what of a request is read by the model."""

    model: Model
    messages: Annotated[list[Turn], Field(min_length=1, max_length=MAX_MESSAGES)]
    system: Texts | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: Choice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None

    @model_validator(mode="after")
    def _fits(self) -> Counted:
        if self.messages[-1].role == "assistant":
            msg = "messages: the last one is an assistant's, and no pool continues it; end with a user's"
            raise ValueError(msg)
        names = {tool.name for tool in self.tools or ()}
        choice = self.tool_choice
        if choice and choice.type in ("any", "tool") and not names:
            msg = "tool_choice: it needs `tools`"
            raise ValueError(msg)
        if choice and choice.type == "tool" and choice.name not in names:
            msg = f"tool_choice: there is no tool `{choice.name}` among `tools`"
            raise ValueError(msg)
        return self

    def prompt(self) -> Prompt:
        """The request as the stages know it. Raises ApiError (400)."""
        return Prompt(messages(self.system, self.messages), self.model, self.params(), **self.identity)

    def params(self) -> dict[str, Any]:
        """What reaches the engine, under chat's names."""
        sent: dict[str, Any] = {}
        if self.tools:
            sent["tools"] = [tool.chat() for tool in self.tools]
            sent |= self.tool_choice.chat() if self.tool_choice else {}
        if self.output_config and self.output_config.format:
            schema = {"name": "answer", "schema": self.output_config.format.schema_}
            sent["response_format"] = {"type": "json_schema", "json_schema": schema}
        return sent


class MessagesRequest(Counted):
    """`POST /v1/messages`. Bounds are Anthropic's."""

    max_tokens: Tokens
    stream: bool | None = None
    stop_sequences: Annotated[list[Stop], Field(max_length=16)] | None = None
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: TopK | None = None
    metadata: Metadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None

    @property
    def stops(self) -> Sequence[str]:
        """Its stop sequences."""
        return self.stop_sequences or ()

    def params(self) -> dict[str, Any]:
        """What reaches the engine, under chat's names."""
        own = {
            "stop": self.stop_sequences or None,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
        }
        given = {name: value for name, value in own.items() if value is not None}
        return {**super().params(), "max_tokens": self.max_tokens, **given}


def _loaded(body: bytes) -> dict[str, Any]:
    data = load(body)
    for name, why in NEVER.items():
        if data.get(name):
            raise errors.unsupported(name, why)
    thinking = data.get("thinking")
    if isinstance(thinking, dict) and thinking.get("type") == "enabled":
        raise errors.unsupported("thinking", "No pool thinks aloud. Leave `thinking` out.")
    for at, tool in enumerate(data["tools"] if isinstance(data.get("tools"), list) else ()):
        if isinstance(tool, dict) and tool.get("type") not in (None, "custom"):
            kind = str(tool["type"])[:64]
            raise errors.unsupported(f"tools[{at}].type", f"tools[{at}]: the tool `{kind}` is not supported here.")
    return data


def read(body: bytes) -> MessagesRequest:
    """Parse and check a request. Raises ApiError (400)."""
    return fit(MessagesRequest, _loaded(body))


def read_counted(body: bytes) -> Counted:
    """Parse and check what is to be counted. Raises ApiError (400)."""
    return fit(Counted, _loaded(body))
