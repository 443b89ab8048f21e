"""Chat's `tools` and `tool_choice`, as engines take them.  request -> [tools] -> Prompt; answer, for the way back.

An engine knows functions. A `custom` tool, whose input is free text, becomes a function of one string, and a call of
it a custom call again; of `allowed_tools` only those are left that are allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field

from app.api.bounds import MAX_IDENTIFIER, Prose
from app.api.json_schema_shape import fault_of
from app.api.openai.wire import Choose, Named, Tool, Wire, plain
from app.core import errors
from app.core.events import ToolDelta

INPUT = "input"
"""The one parameter of a function that stands for a custom tool."""
SCHEMA = {
    "type": "object",
    "properties": {INPUT: {"type": "string"}},
    "required": [INPUT],
    "additionalProperties": False,
}
MAX_TOOLS = 1_024
"""Tools of one request: OpenAI documents 128, and agents send more."""


class Grammar(Wire):
    """What a custom tool's input must look like."""

    syntax: Literal["lark", "regex"]
    definition: Prose


class TextFormat(Wire):
    """Free text."""

    type: Literal["text"]


class GrammarFormat(Wire):
    """Text by a grammar, which the model is told of."""

    type: Literal["grammar"]
    grammar: Grammar


class Custom(Wire):
    """A tool that takes text."""

    name: Annotated[str, Field(min_length=1, max_length=MAX_IDENTIFIER, pattern=r"^[A-Za-z0-9_.:-]+$")]
    description: Prose | None = None
    format: Annotated[TextFormat | GrammarFormat, Field(discriminator="type")] | None = None


class CustomTool(Wire):
    """A tool that takes text, among `tools`."""

    type: Literal["custom"]
    custom: Custom

    def function(self) -> dict[str, Any]:
        """The function that stands for it."""
        told = [self.custom.description] if self.custom.description else []
        if isinstance(self.custom.format, GrammarFormat):
            grammar = self.custom.format.grammar
            told.append(f"The input follows this {grammar.syntax} grammar:\n{grammar.definition}")
        about = {"description": "\n".join(told)} if told else {}
        return {"type": "function", "function": {"name": self.custom.name, **about, "parameters": SCHEMA}}


class ChooseCustom(Wire):
    """`tool_choice` that names a custom tool."""

    type: Literal["custom"]
    custom: Named


AnyChoose = Annotated[Choose | ChooseCustom, Field(discriminator="type")]


class Allowed(Wire):
    """Which tools may be called now."""

    mode: Literal["auto", "required"]
    tools: Annotated[list[AnyChoose], Field(max_length=MAX_TOOLS)]


class ChooseAllowed(Wire):
    """`tool_choice` that allows some of `tools`."""

    type: Literal["allowed_tools"]
    allowed_tools: Allowed


AnyTool = Annotated[Tool | CustomTool, Field(discriminator="type")]
Tools = Annotated[list[AnyTool], Field(max_length=MAX_TOOLS)]
Choice = (
    Literal["none", "auto", "required"]
    | Annotated[Choose | ChooseCustom | ChooseAllowed, Field(discriminator="type")]
    | None
)


def name_of(one: Tool | CustomTool | Choose | ChooseCustom) -> str:
    """What a tool, or a choice of one, is called."""
    return one.function.name if isinstance(one, Tool | Choose) else one.custom.name


def customs(tools: Iterable[Tool | CustomTool] | None) -> frozenset[str]:
    """The names of the custom tools."""
    return frozenset(tool.custom.name for tool in tools or () if isinstance(tool, CustomTool))


def for_engine(tools: Sequence[Tool | CustomTool] | None, choice: Any, *, parallel: bool | None) -> dict[str, Any]:
    """The params `tools`, `tool_choice` and `parallel_tool_calls`; none where no tool may be called.

    Raises ApiError (400): a tool is asked for that is not there, or that no engine can hold the model to.
    """
    given = list(tools or ())
    _check_choice({name_of(tool) for tool in given}, choice)
    if isinstance(choice, ChooseAllowed):
        allowed = {name_of(one) for one in choice.allowed_tools.tools}
        given = [tool for tool in given if name_of(tool) in allowed]
        choice = choice.allowed_tools.mode
    if not given:
        return {}
    if choice not in (None, "none", "auto"):
        _check_schemas(tools or (), given, choice)
    made: dict[str, Any] = {"tools": [_function(tool) for tool in given]}
    if isinstance(choice, Choose | ChooseCustom):
        choice = {"type": "function", "function": {"name": name_of(choice)}}
    made |= {} if choice is None else {"tool_choice": plain(choice)}
    return made | ({} if parallel is None else {"parallel_tool_calls": parallel})


def _function(tool: Tool | CustomTool) -> dict[str, Any]:
    return {"type": "function", "function": tool.function.chat()} if isinstance(tool, Tool) else tool.function()


def _check_choice(names: set[str], choice: Any) -> None:
    wanted: list[str] = []
    if isinstance(choice, Choose | ChooseCustom):
        wanted = [name_of(choice)]
    elif isinstance(choice, ChooseAllowed):
        wanted = [name_of(one) for one in choice.allowed_tools.tools]
        if choice.allowed_tools.mode == "required" and not wanted:
            raise _bad("it allows no tool and requires one")
    elif choice == "required" and not names:
        raise _bad("it needs `tools`")
    for name in wanted:
        if name not in names:
            raise _bad(f"there is no tool `{name}` among `tools`" if names else "it needs `tools`")


def _check_schemas(tools: Sequence[Tool | CustomTool], given: Sequence[Tool | CustomTool], choice: Any) -> None:
    """Where a call is demanded, its schema is compiled: it must be one."""
    for at, tool in enumerate(tools):
        demanded = tool in given and (choice == "required" or name_of(tool) == name_of(choice))
        if demanded and isinstance(tool, Tool) and (why := fault_of(tool.function.parameters or {})):
            param = f"tools[{at}].function.parameters"
            raise errors.bad_request(f"Invalid value for '{param}': {why}.", param, "invalid_function_parameters")


def _bad(why: str) -> Exception:
    return errors.bad_request(f"Invalid value for 'tool_choice': {why}.", "tool_choice", "invalid_value")


def input_of(arguments: str) -> str:
    """A custom call's input, of a function's arguments; of what is no such object, all of it."""
    try:
        found = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    text = found.get(INPUT) if isinstance(found, dict) and len(found) == 1 else None
    return text if isinstance(text, str) else arguments


def told(call: Mapping[str, Any], custom: frozenset[str]) -> dict[str, Any]:
    """A whole tool call, as the caller knows its tool. custom: names of custom tools."""
    function = call["function"]
    if function["name"] not in custom:
        return dict(call)
    said = {"name": function["name"], "input": input_of(function["arguments"])}
    return {"id": call["id"], "type": "custom", "custom": said}


class CustomCalls:
    """Calls of custom tools while they come: their input is known once their arguments are whole.

    custom: names of custom tools.
    """

    def __init__(self, custom: frozenset[str]) -> None:
        self._custom = custom
        self._held: dict[tuple[int, int], dict[str, Any]] = {}

    def holds(self, choice: int, piece: ToolDelta) -> bool:
        """Take a piece that belongs to a custom call; False: it belongs to a function's."""
        key = (choice, piece.index)
        if key not in self._held:
            if piece.name not in self._custom:
                return False
            function = {"name": piece.name, "arguments": ""}
            self._held[key] = {"id": piece.id, "type": "function", "function": function}
        self._held[key]["function"]["arguments"] += piece.arguments
        return True

    def ended(self, choice: int) -> list[dict[str, Any]]:
        """The choice's custom calls as deltas, each once."""
        keys = sorted(key for key in self._held if key[0] == choice)
        return [{"index": key[1], **told(self._held.pop(key), self._custom)} for key in keys]
