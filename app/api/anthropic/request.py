"""Anthropic's Messages request: parsed strictly where a wrong value would mislead.  body -> [request] -> route.

What this gateway does not know is left out, and named by the answer: betas come and go, and a wish that no pool grants
is no reason to refuse the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from app.api.anthropic.blocks import Texts, ToolUse, Turn
from app.api.anthropic.history import History
from app.api.anthropic.names import Names
from app.api.anthropic.tools import AnyTool, HostedTool, known_as
from app.api.bounds import MAX_MESSAGES, MAX_TOOLS, EndUser, Identifier, Model, Part, Stop, Tokens, TopK
from app.api.ignored import unknown_fields
from app.api.json_schema_bounds import JsonSchema
from app.api.openai.wire import Wire
from app.api.validation import fit, load
from app.api.whose import Identified
from app.core.events import Prompt


@dataclass(frozen=True, slots=True)
class Read:
    """A request that was read. names: of its tools. ignored: what was left out, as paths."""

    prompt: Prompt
    names: Names
    ignored: Sequence[str]


class Choice(Wire):
    """`tool_choice`. name: of type `tool`."""

    type: Literal["auto", "any", "tool", "none"]
    name: Identifier | None = None
    disable_parallel_tool_use: bool | None = None

    def chat(self, names: Names) -> dict[str, Any]:
        """As chat's API spells it."""
        named = {"type": "function", "function": {"name": names.sent(self.name or "")}}
        words: dict[str, Any] = {"auto": "auto", "any": "required", "none": "none", "tool": named}
        one = {"parallel_tool_calls": False} if self.disable_parallel_tool_use else {}
        return {"tool_choice": words[self.type], **one}


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
    """`POST /v1/messages/count_tokens`: what of a request is read by the model.

    thinking: a model that does not think ignores it, whatever it says.
    """

    model: Model
    messages: Annotated[list[Turn], Field(min_length=1, max_length=MAX_MESSAGES)]
    system: Texts | None = None
    tools: Annotated[list[AnyTool], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: Choice | None = None
    thinking: Part | None = None
    output_config: OutputConfig | None = None
    output_format: JsonFormat | None = None

    @model_validator(mode="after")
    def _fits(self) -> Counted:
        last = self.messages[-1]
        if last.role == "assistant" and any(isinstance(block, ToolUse) for block in last.blocks):
            msg = "messages: the last one calls a tool; send the call's `tool_result` behind it"
            raise ValueError(msg)
        choice = self.tool_choice
        usable = {known_as(tool) for tool in self.tools or () if not isinstance(tool, HostedTool)}
        hosted = {tool.name or tool.type for tool in self.tools or () if isinstance(tool, HostedTool)}
        if choice and choice.type == "any" and not usable:
            msg = "tool_choice: it needs `tools`" + (", and none of these can be used here" if hosted else "")
            raise ValueError(msg)
        if choice and choice.type == "tool" and choice.name in hosted - usable:
            msg = f"tool_choice: the tool `{choice.name}` is run by Anthropic's machines, and cannot be used here"
            raise ValueError(msg)
        if choice and choice.type == "tool" and choice.name not in usable:
            what = f"there is no tool `{choice.name}` among `tools`" if self.tools else "it needs `tools`"
            msg = f"tool_choice: {what}"
            raise ValueError(msg)
        return self

    @property
    def format(self) -> JsonFormat | None:
        """What the answer is to follow."""
        return (self.output_config and self.output_config.format) or self.output_format

    def read(self) -> Read:
        """The request as the stages know it, and what the answer must know of it. Raises ApiError (400)."""
        names = Names()
        history = History(names)
        messages = history.messages(self.system, self.messages)
        goes_on = self.messages[-1].role == "assistant" and messages[-1].role == "assistant"
        prompt = Prompt(messages, self.model, self.params(names), clamps=True, resume=goes_on, **self.identity)
        return Read(prompt, names, (*self._unused(), *history.ignored))

    def params(self, names: Names) -> dict[str, Any]:
        """What reaches the engine, under chat's names."""
        sent: dict[str, Any] = {}
        tools = [tool.chat(names) for tool in self.tools or () if not isinstance(tool, HostedTool)]
        if tools:
            sent["tools"] = tools
            sent |= self.tool_choice.chat(names) if self.tool_choice else {}
        if self.format:
            schema = {"name": "answer", "schema": self.format.schema_}
            sent["response_format"] = {"type": "json_schema", "json_schema": schema}
        return sent

    def _unused(self) -> list[str]:
        """Of the known fields, those that no pool can use."""
        thinks = self.thinking is not None and self.thinking.get("type") != "disabled"
        hosted = [f"tools.{tool.type}" for tool in self.tools or () if isinstance(tool, HostedTool)]
        return [*(["thinking"] if thinks else []), *hosted]


class MessagesRequest(Counted):
    """`POST /v1/messages`. Bounds are Anthropic's."""

    max_tokens: Tokens
    stream: bool | None = None
    stop_sequences: Annotated[list[Stop], Field(max_length=16)] | None = None
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: TopK | None = None
    metadata: Metadata | None = None

    @property
    def stops(self) -> Sequence[str]:
        """Its stop sequences."""
        return self.stop_sequences or ()

    def params(self, names: Names) -> dict[str, Any]:
        """What reaches the engine, under chat's names."""
        own = {
            "stop": self.stop_sequences or None,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
        }
        given = {name: value for name, value in own.items() if value is not None}
        return {**super().params(names), "max_tokens": self.max_tokens, **given}


def read(body: bytes) -> tuple[MessagesRequest, Read]:
    """Parse and check a request. Raises ApiError (400)."""
    data = load(body)
    asked = fit(MessagesRequest, data)
    return asked, _with_unknown(asked.read(), data, MessagesRequest)


def read_counted(body: bytes) -> tuple[Counted, Read]:
    """Parse and check what is to be counted. Raises ApiError (400)."""
    data = load(body)
    asked = fit(Counted, data)
    return asked, _with_unknown(asked.read(), data, MessagesRequest)


def _with_unknown(read_: Read, data: dict[str, Any], model: type[Counted]) -> Read:
    config = data.get("output_config")
    below = unknown_fields(config, OutputConfig.model_fields, "output_config.") if isinstance(config, dict) else []
    unknown = unknown_fields(data, model.model_fields)
    return Read(read_.prompt, read_.names, (*unknown, *below, *read_.ignored))
