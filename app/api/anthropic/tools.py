"""Anthropic's tools as functions: the caller's own, those that a client runs itself, and those of Anthropic's machines.

request -> [tools]. A tool whose schema Anthropic publishes (`bash_20250124`, `text_editor_20250728`, ...) is a function
of that schema. What only Anthropic's machines run (`web_search_20250305`, ...) is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from app.api.anthropic.names import Names
from app.api.bounds import MAX_IDENTIFIER, Prose
from app.api.json_schema_bounds import JsonSchema
from app.api.openai.wire import Wire

Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_-]+$")]
Kind = Annotated[str, Field(min_length=1, max_length=MAX_IDENTIFIER)]
Pixels = Annotated[int, Field(ge=1, le=1_000_000)]
Schema = dict[str, Any]
_FAMILY = re.compile(r"(bash|text_editor|memory|computer)_(\d{8})")
_TEXT: Schema = {"type": "string"}
_WHOLE: Schema = {"type": "integer"}
_POINT: Schema = {"type": "array", "items": _WHOLE, "minItems": 2, "maxItems": 2}


class Tool(Wire):
    """A tool of the caller's own. input_schema: a JSON Schema."""

    type: Kind | None = None
    name: Name
    description: Prose | None = None
    input_schema: JsonSchema
    strict: bool | None = None

    def chat(self, names: Names) -> dict[str, Any]:
        """As chat's API spells it. `strict: false` is every tool's rule, and is not sent on."""
        return _function(names.sent(self.name), self.input_schema, self.description, strict=self.strict)


class ClientTool(Wire):
    """A tool that the client runs itself, by a schema that Anthropic publishes: the caller sends its type."""

    type: Kind
    name: Name | None = None
    display_width_px: Pixels | None = None
    display_height_px: Pixels | None = None

    def chat(self, names: Names) -> dict[str, Any]:
        """As chat's API spells it."""
        name, description, schema = _published(self.type)
        if self.display_width_px and self.display_height_px:
            description += f" The screen has {self.display_width_px} x {self.display_height_px} pixels."
        return _function(names.sent(self.name or name), schema(), description)


class HostedTool(Wire):
    """A tool that only Anthropic's machines run, or one that nobody here has heard of."""

    type: Kind
    name: Annotated[str, Field(max_length=MAX_IDENTIFIER)] | None = None


def _kind(tool: Any) -> str:
    if not isinstance(tool, dict):
        return "own"
    kind = tool.get("type")
    if kind in (None, "custom") or not isinstance(kind, str) or tool.get("input_schema") is not None:
        return "own"
    return "client" if _FAMILY.fullmatch(kind) else "hosted"


AnyTool = Annotated[
    Annotated[Tool, Tag("own")] | Annotated[ClientTool, Tag("client")] | Annotated[HostedTool, Tag("hosted")],
    Discriminator(_kind),
]


def known_as(tool: Tool | ClientTool) -> str:
    """The name by which the model calls it."""
    return tool.name or _published(tool.type or "")[0]


def _function(name: str, schema: Schema, description: str | None, *, strict: bool | None = None) -> dict[str, Any]:
    about = {"description": description, "strict": strict or None}
    given = {key: value for key, value in about.items() if value is not None}
    return {"type": "function", "function": {"name": name, "parameters": schema, **given}}


def _object(required: str, **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": required.split()}


def _one_of(words: str) -> Schema:
    return {"type": "string", "enum": words.split()}


def _bash() -> Schema:
    return _object("", command=_TEXT, restart={"type": "boolean"})


def _editor(date: str) -> Schema:
    undo = " undo_edit" if date < "20250429" else ""
    inserted = "new_str" if date < "20250429" else "insert_text"
    return _object(
        "command path",
        command=_one_of(f"view create str_replace insert{undo}"),
        **dict.fromkeys(("path", "file_text", "old_str", "new_str", inserted), _TEXT),
        insert_line=_WHOLE,
        view_range=_POINT,
    )


def _memory() -> Schema:
    texts = ("path", "file_text", "old_str", "new_str", "insert_text", "old_path", "new_path")
    return _object(
        "command",
        command=_one_of("view create str_replace insert delete rename"),
        **dict.fromkeys(texts, _TEXT),
        insert_line=_WHOLE,
        view_range=_POINT,
    )


_ACTIONS = "key type mouse_move left_click left_click_drag right_click middle_click double_click screenshot"
_LATER = "cursor_position left_mouse_down left_mouse_up triple_click scroll hold_key wait"


def _computer(date: str) -> Schema:
    first = _object("action", action=_one_of(f"{_ACTIONS} cursor_position"), coordinate=_POINT, text=_TEXT)
    if date < "20250124":
        return first
    more: Mapping[str, Schema] = {
        "start_coordinate": _POINT,
        "scroll_direction": _one_of("up down left right"),
        "scroll_amount": _WHOLE,
        "duration": {"type": "number"},
    }
    zoom: Mapping[str, Schema] = {"region": {**_POINT, "minItems": 4, "maxItems": 4}} if date >= "20251124" else {}
    action = _one_of(f"{_ACTIONS} {_LATER}{' zoom' if zoom else ''}")
    return _object("action", **{**first["properties"], "action": action, **more, **zoom})


def _published(kind: str) -> tuple[str, str, Callable[[], Schema]]:
    """Name, description and schema of a tool that a client runs itself. kind: one of _FAMILY."""
    family, date = _FAMILY.fullmatch(kind).groups()  # type: ignore[union-attr]  # a ClientTool has no other
    editor = "str_replace_editor" if date < "20250429" else "str_replace_based_edit_tool"
    return {
        "bash": ("bash", "Run a command in a persistent bash session, or restart the session.", _bash),
        "text_editor": (editor, "View, create and edit text files.", lambda: _editor(date)),
        "memory": ("memory", "Keep notes in files below /memories, for later conversations.", _memory),
        "computer": ("computer", "See a screen, and use its mouse and keyboard.", lambda: _computer(date)),
    }[family]
