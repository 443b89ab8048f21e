"""The nested fields of a Responses request, and each as chat's API spells it.  wire -> [fields]."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from app.api.bounds import Prose
from app.api.json_schema_bounds import JsonSchema
from app.api.openai.wire import Wire

Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]


class Format(Wire):
    """`text.format`. name, description, schema and strict: of `json_schema`."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    name: Name | None = None
    description: Prose | None = None
    schema_: Annotated[JsonSchema | None, Field(alias="schema")] = None
    strict: bool | None = None

    @model_validator(mode="after")
    def _whole(self) -> Format:
        if self.type == "json_schema" and (self.name is None or self.schema_ is None):
            msg = "a format of type `json_schema` needs `name` and `schema`"
            raise ValueError(msg)
        return self

    def chat(self) -> dict[str, Any]:
        """For the engine."""
        schema = self.model_dump(by_alias=True, exclude={"type"}, exclude_none=True)
        return {"type": self.type, "json_schema": schema} if self.type == "json_schema" else {"type": self.type}


class Text(Wire):
    """OpenAI's `text`. verbosity: accepted; no pool has such a setting."""

    format: Format = Format()
    verbosity: Annotated[str, Field(max_length=64)] | None = None

    def echo(self) -> dict[str, Any]:
        """As the response repeats it."""
        said = {"verbosity": self.verbosity} if self.verbosity else {}
        return {"format": self.format.model_dump(by_alias=True, exclude_none=True), **said}


class Reasoning(Wire):
    """OpenAI's `reasoning`."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
