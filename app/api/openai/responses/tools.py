"""A request's tools as functions that an engine knows, and the way back from a call to its tool.

request -> [tools] -> engine; its calls -> output. A custom tool is a function of one string; a tool that the client
itself runs (a shell, a patch) is a function of what its item holds; those of a namespace stand beside the others. What
only another provider's machine can run is left out and named, unless `tool_choice` demands it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from app.api.bounds import MAX_IDENTIFIER, Prose
from app.api.json_schema_bounds import JsonSchema
from app.api.openai.responses.client_tools import FUNCTIONS
from app.api.openai.responses.items import AnyObject
from app.api.openai.wire import Wire, plain
from app.core import errors
from app.core.events import Prompt

MAX_TOOLS = 1_024
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DOTTED = re.compile(r"[A-Za-z0-9_.:/-]+")
_STRANGE = re.compile(r"[^A-Za-z0-9_-]")
Name = Annotated[str, Field(min_length=1, max_length=MAX_IDENTIFIER)]
Kind = Annotated[str, Field(min_length=1, max_length=64)]


class FunctionTool(Wire):
    """A function that the model may call. parameters: a JSON Schema."""

    type: Literal["function"]
    name: Name
    description: Prose | None = None
    parameters: JsonSchema | None = None
    strict: bool | None = None

    def function(self) -> dict[str, Any]:
        """For the engine, but for its name."""
        return self.model_dump(exclude={"type", "name"}, exclude_none=True)


class Grammar(Wire):
    """How a custom tool's input is written. definition: of a grammar."""

    type: Literal["text", "grammar"]
    syntax: Kind | None = None
    definition: Prose | None = None


class CustomTool(Wire):
    """A tool whose input is a text."""

    type: Literal["custom"]
    name: Name
    description: Prose | None = None
    format: Grammar | None = None

    def function(self) -> dict[str, Any]:
        """For the engine, but for its name."""
        told = [self.description or ""]
        if self.format and self.format.definition:
            told.append(f"The input follows this {self.format.syntax or ''} grammar:\n{self.format.definition}")
        what = {"type": "string", "description": "The whole input of the tool, as plain text."}
        schema = {"type": "object", "properties": {"input": what}, "required": ["input"], "additionalProperties": False}
        said = "\n\n".join(text for text in told if text)
        return {**({"description": said} if said else {}), "parameters": schema}


def _kind(tool: Any) -> str | None:
    kind = tool.get("type") if isinstance(tool, dict) else getattr(tool, "type", None)
    if kind in ("function", "custom", "namespace"):
        return str(kind)
    return "function" if kind is None else "other" if isinstance(kind, str) else None


_FAULT: dict[str, Any] = {
    "custom_error_type": "unknown_tool",
    "custom_error_message": "a tool is an object whose `type` is a string",
}


class NamespaceTool(Wire):
    """Tools under a common name."""

    type: Literal["namespace"]
    name: Name
    description: Prose | None = None
    tools: Annotated[
        list[
            Annotated[
                Annotated[FunctionTool, Tag("function")]
                | Annotated[CustomTool, Tag("custom")]
                | Annotated[AnyObject, Tag("other")],
                Discriminator(_kind, **_FAULT),
            ]
        ],
        Field(max_length=MAX_TOOLS),
    ]


AnyTool = Annotated[
    Annotated[FunctionTool, Tag("function")]
    | Annotated[CustomTool, Tag("custom")]
    | Annotated[NamespaceTool, Tag("namespace")]
    | Annotated[AnyObject, Tag("other")],
    Discriminator(_kind, **_FAULT),
]


class Choice(Wire):
    """`tool_choice` that is more than a word. name, namespace: of one tool; mode, tools: of `allowed_tools`."""

    type: Kind
    name: Name | None = None
    namespace: Name | None = None
    mode: Literal["auto", "required"] | None = None
    tools: Annotated[list[AnyObject], Field(max_length=MAX_TOOLS)] | None = None


Chosen = Literal["none", "auto", "required"] | Choice | None


@dataclass(frozen=True, slots=True)
class Origin:
    """The tool that a function stands for. kind: `function`, `custom`, or the type of a tool that the client runs."""

    kind: str
    name: str
    namespace: str | None = None


def flat(name: str, namespace: str | None = None) -> str:
    """The function's name for the engine: letters, digits, `_`, `-`, at most 64. The same tool always has the same.

    Words and addresses are not joined by `_`: the scrubber would not know them any more.
    """
    whole = name if not namespace else f"{namespace}{'' if namespace.endswith('__') else '__'}{name}"
    if _PLAIN.fullmatch(whole):
        return whole
    mark = hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{_STRANGE.sub('_', whole)[:55] if _DOTTED.fullmatch(whole) else 'tool'}_{mark}"


@dataclass
class Toolbox:
    """A request's tools. functions: for the engine, by name; origins: by the same name, what each stands for.

    left_out: types of tools that no pool can run.
    """

    functions: dict[str, dict[str, Any]] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, tools: Sequence[Any]) -> Toolbox:
        """tools: as AnyTool."""
        made = cls()
        for tool in tools:
            made.take(tool)
        return made

    def take(self, tool: Any, inside: NamespaceTool | None = None) -> None:
        """One more. inside: the namespace that it stands in."""
        if isinstance(tool, NamespaceTool):
            for one in tool.tools:
                self.take(one, tool)
        elif isinstance(tool, FunctionTool | CustomTool):
            about = tool.function()
            if inside and inside.description and not about.get("description"):
                about["description"] = inside.description
            self._put(Origin(tool.type, tool.name, inside.name if inside else None), about)
        elif (kind := str(tool["type"])) in FUNCTIONS and FUNCTIONS[kind].client_runs(tool):
            self._put(Origin(kind, kind), dict(FUNCTIONS[kind].function))
        else:
            self.left_out.append(f"tools.{kind}")

    def _put(self, origin: Origin, about: dict[str, Any]) -> None:
        name = flat(origin.name, origin.namespace)
        if self.origins.get(name, origin) != origin:
            name = flat(f"{origin.kind} {origin.name}", origin.namespace)
        self.origins[name] = origin
        self.functions[name] = {"type": "function", "function": {"name": name, **about}}

    def offered(self, prompt: Prompt, choice: Chosen, *, parallel: bool | None) -> Prompt:
        """The prompt with these tools. Raises ApiError (400): `tool_choice` demands one that there is not."""
        names, mode = self._chosen(choice)
        if not names:
            return prompt
        sent: dict[str, Any] = {"tools": [self.functions[name] for name in names]}
        sent |= {} if mode is None else {"tool_choice": mode}
        sent |= {} if parallel is None else {"parallel_tool_calls": parallel}
        return replace(prompt, params={**sent, **prompt.params})

    def _chosen(self, choice: Chosen) -> tuple[list[str], Any]:
        """The names of the functions that may be called, and chat's `tool_choice`."""
        names, mode = list(self.functions), choice
        if isinstance(choice, Choice) and choice.type == "allowed_tools":
            names, mode = self._allowed(choice), choice.mode or "auto"
        elif isinstance(choice, Choice):
            return names, {"type": "function", "function": {"name": self._demanded(choice)}}
        if mode == "required" and not names:
            hosted = [name.removeprefix("tools.") for name in dict.fromkeys(self.left_out)]
            why = f", and no pool can run {', '.join(hosted)[:200]}" if hosted else ""
            raise _no_tool(f"tool_choice: it needs `tools`{why}")
        return names, mode

    def _allowed(self, choice: Choice) -> list[str]:
        allowed = [Choice(type=_word(one, "type") or "", name=_word(one, "name")) for one in choice.tools or ()]
        found = [name for one in allowed for name in self._matching(one)]
        unknown = [one for one in allowed if one.type in ("function", "custom") and not list(self._matching(one))]
        if unknown:
            raise _no_tool(f"tool_choice: there is no tool `{unknown[0].name}` among `tools`")
        return [name for name in self.functions if name in found]

    def _demanded(self, choice: Choice) -> str:
        found = next(self._matching(choice), None)
        if found is None and choice.type in ("function", "custom"):
            raise _no_tool(f"tool_choice: there is no tool `{choice.name}` among `tools`")
        if found is None:
            raise _no_tool(f"tool_choice: no pool can run the tool `{choice.type}`. Use `auto`, or a tool of your own")
        return found

    def _matching(self, choice: Choice) -> Iterator[str]:
        """Names of the functions that it may mean."""
        for name, origin in self.origins.items():
            named = choice.name in (origin.name, name) or (choice.name is None and choice.type not in _NAMED)
            same = origin.kind == choice.type and named and choice.namespace in (None, origin.namespace)
            if same or (choice.type == "namespace" and choice.name == origin.namespace):
                yield name

    @staticmethod
    def echo(tools: Sequence[Any]) -> list[Any]:
        """`tools` as the response repeats them."""
        return [tool.model_dump() if isinstance(tool, FunctionTool) else plain(tool) for tool in tools]


_NAMED = ("function", "custom")


def _word(one: dict[str, Any], name: str) -> str | None:
    value = one.get(name)
    return value if isinstance(value, str) and 0 < len(value) <= MAX_IDENTIFIER else None


def _no_tool(why: str) -> errors.ApiError:
    return errors.bad_request(f"{why}.", "tool_choice", "invalid_value")
