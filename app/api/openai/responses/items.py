"""The items of a conversation, as clients send them and as they are kept.  request -> [items] -> history, turns.

A kept item is whole: it has type, status, and its content as parts of text. Types that nobody here has heard of are
kept as they came; what becomes of them is said in `turns`.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from app.api.bounds import MAX_IDENTIFIER, Prose
from app.api.openai.responses.parts import Content, told
from app.api.openai.wire import Wire

Item = dict[str, Any]
DEEPEST = 100
"""Levels of an item that is kept as it came."""
Id = Annotated[str, Field(max_length=512)]
CallId = Annotated[str, Field(min_length=1, max_length=512)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_IDENTIFIER)]
TRIGGER = "compaction_trigger"
OUTPUTS = ("function_call_output", "custom_tool_call_output")


def new_id(kind: str) -> str:
    """kind: `msg`, `fc`, `fco`."""
    return f"{kind}_{secrets.token_hex(16)}"


def text_part(text: str) -> Item:
    """The part that holds a model's text."""
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def message(role: str, texts: list[str], item_id: str | None = None) -> Item:
    """A kept turn."""
    said = [text_part(text) if role == "assistant" else {"type": "input_text", "text": text} for text in texts]
    return {"id": item_id or None, "type": "message", "status": "completed", "role": role, "content": said}


class MessageItem(Wire):
    """A turn. `type` may be left out."""

    id: Id | None = None
    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Content

    def kept(self, left_out: list[str], *, newest: bool, at: int) -> Item:
        """As it is kept. newest: of the turn that is to be answered; at: its place in `input`. Raises ApiError."""
        texts = told(self.content, left_out, newest=newest, where=f"input[{at}].content")
        return message(self.role, texts, self.id)


class CallItem(Wire):
    """A tool call of an earlier answer. namespace: of the tool, where it stands in one."""

    id: Id | None = None
    type: Literal["function_call"]
    call_id: CallId
    name: Name
    namespace: Name | None = None
    arguments: Prose

    def kept(self, _: list[str], *, newest: bool, at: int) -> Item:  # noqa: ARG002 - as a MessageItem's
        """As it is kept."""
        return _complete(self.model_dump(exclude_none=True))


class CustomCallItem(Wire):
    """A call of a custom tool."""

    id: Id | None = None
    type: Literal["custom_tool_call"]
    call_id: CallId
    name: Name
    namespace: Name | None = None
    input: Prose

    def kept(self, _: list[str], *, newest: bool, at: int) -> Item:  # noqa: ARG002 - as a MessageItem's
        """As it is kept."""
        return _complete(self.model_dump(exclude_none=True))


class OutputItem(Wire):
    """What a tool answered. Its images are told in a line: it answers the model, which did not ask for what it cannot
    see.
    """

    id: Id | None = None
    type: Literal["function_call_output", "custom_tool_call_output"]
    call_id: CallId
    output: Content

    def kept(self, left_out: list[str], *, newest: bool, at: int) -> Item:  # noqa: ARG002 - as a MessageItem's
        """As it is kept. Raises ApiError."""
        texts = told(self.output, left_out, where=f"input[{at}].output")
        whole = isinstance(self.output, str)
        output = self.output if whole else [{"type": "input_text", "text": text} for text in texts]
        return _complete({"id": self.id, "type": self.type, "call_id": self.call_id, "output": output})


class ReferenceItem(Wire):
    """An item that is stored."""

    id: CallId
    type: Literal["item_reference"] | None = None


class CompactionItem(Wire):
    """What an earlier conversation came to, sealed."""

    id: Id | None = None
    type: Literal["compaction"]
    encrypted_content: Prose


def _shallow(item: dict[str, Any]) -> dict[str, Any]:
    level: list[Any] = [item]
    for _ in range(DEEPEST):
        level = [one for node in level for one in _children(node)]
        if not level:
            break
    else:
        msg = f"it is nested more than {DEEPEST} levels deep"
        raise ValueError(msg)
    return item


def _children(node: Any) -> list[Any]:
    found = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return [one for one in found if isinstance(one, dict | list)]


AnyObject = Annotated[dict[str, Any], Field(max_length=64), AfterValidator(_shallow)]
"""An item or a tool of a type that is not looked at here."""
_KNOWN = frozenset({"message", "function_call", "custom_tool_call", "compaction", *OUTPUTS})


def _kind(item: Any) -> str | None:
    if not isinstance(item, dict):
        return getattr(item, "type", None)
    kind = item.get("type")
    if kind is None:
        return "item_reference" if "id" in item and "role" not in item else "message"
    if kind == "item_reference" or kind in OUTPUTS:
        return "item_reference" if kind == "item_reference" else "output"
    return kind if kind in _KNOWN else "other" if isinstance(kind, str) else None


AnyItem = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[CallItem, Tag("function_call")]
    | Annotated[CustomCallItem, Tag("custom_tool_call")]
    | Annotated[OutputItem, Tag("output")]
    | Annotated[ReferenceItem, Tag("item_reference")]
    | Annotated[CompactionItem, Tag("compaction")]
    | Annotated[AnyObject, Tag("other")],
    Discriminator(
        _kind,
        custom_error_type="unknown_item",
        custom_error_message="an item is an object whose `type` is a string",
    ),
]


def _complete(item: Item) -> Item:
    return {"id": None, **item, "status": "completed"}


def other(item: Item) -> Item:
    """An item of another type, as it is kept."""
    return {"status": "completed", **item, "id": item.get("id") if isinstance(item.get("id"), str) else None}


@dataclass
class Conversation:
    """What an answer is made from. items: kept ones, the oldest first. left_out: types of items, parts and tools that
    no pool can use. compacts: the answer is to be a summary of it.
    """

    items: list[Item] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    compacts: bool = False
