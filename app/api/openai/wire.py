"""What OpenAI's requests share: how strict a model is, tools, roles, stream options.  [wire] -> chat, completions, ...

Parsed strictly where a wrong value would mislead, ignored where OpenAI ignores.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.api.bounds import MAX_IDENTIFIER, Identifier, Prose
from app.api.json_schema_bounds import JsonSchema

VERSION = "prompt_version"
"""The key of `metadata` that says which version of its prompt a caller uses."""
ROLES = {"developer": "system"}
"""Roles that chat templates do not know, by the one they do."""


class Wire(BaseModel):
    """Unknown fields are ignored, as OpenAI does; types are exact."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class Function(Wire):
    """What a tool call calls. arguments: JSON, as the model wrote it."""

    name: Identifier
    arguments: Prose


class ToolCall(Wire):
    """A tool call of an earlier answer."""

    id: Identifier
    type: Literal["function"] = "function"
    function: Function


class FunctionTool(Wire):
    """A function that the model may call. parameters: a JSON Schema."""

    name: Annotated[str, Field(min_length=1, max_length=MAX_IDENTIFIER, pattern=r"^[A-Za-z0-9_.:-]+$")]
    description: Prose | None = None
    parameters: JsonSchema | None = None
    strict: bool | None = None

    def chat(self) -> dict[str, Any]:
        """As engines take it. What is not to be strict is as if nothing had been said: engines differ on that."""
        said = self.model_dump(exclude_none=True)
        return said if self.strict else {name: value for name, value in said.items() if name != "strict"}


class Tool(Wire):
    """A function among `tools`."""

    type: Literal["function"]
    function: FunctionTool


class Named(Wire):
    """The name of the function to call."""

    name: Identifier


class Choose(Wire):
    """`tool_choice` that names a function."""

    type: Literal["function"]
    function: Named


class StreamOptions(Wire):
    """OpenAI's `stream_options`."""

    include_usage: bool = False


def plain(value: Any) -> Any:
    """A wire model as the JSON it came from."""
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_none=True)
    return [plain(one) for one in value] if isinstance(value, list) else value
