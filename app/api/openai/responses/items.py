"""The items of a conversation: as clients send them, as they are kept, and as the stages' Messages.  wire -> [items].

A kept item is whole: it has id, type, status, and its content as parts.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from app.api.bounds import MAX_IDENTIFIER, MAX_PARTS, Part, Prose
from app.api.openai.wire import ROLES, Wire
from app.core import errors
from app.core.events import Message

Item = dict[str, Any]
_PARTS = {"input_text": "text", "output_text": "text", "refusal": "refusal"}
"""Parts of a message that are text, and where it stands in them."""


def new_id(kind: str) -> str:
    """kind: `msg`, `fc`, `fco`."""
    return f"{kind}_{secrets.token_hex(16)}"


def text_part(text: str) -> Item:
    """The part that holds a model's text."""
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _only_text(content: str | list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    for part in content if isinstance(content, list) else ():
        kind = part.get("type")
        if kind not in _PARTS:
            msg = f"parts of type {kind!r} are not supported by any pool; send `input_text`"
            raise ValueError(msg)
        if not isinstance(part.get(_PARTS[kind]), str):
            msg = f"a part of type {kind!r} needs a string under the key {_PARTS[kind]!r}"
            raise ValueError(msg)  # noqa: TRY004 - pydantic turns only a ValueError into a fault
    return content


Content = Annotated[Prose | Annotated[list[Part], Field(max_length=MAX_PARTS)], AfterValidator(_only_text)]
Id = Annotated[str, Field(min_length=1, max_length=64)]


class MessageItem(Wire):
    """A turn. `type` may be left out."""

    id: Id | None = None
    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Content

    def kept(self) -> Item:
        """As it is kept."""
        parts = [{"text": self.content}] if isinstance(self.content, str) else self.content
        texts = [part[_PARTS[part.get("type", "input_text")]] for part in parts]
        said = [text_part(text) if self.role == "assistant" else {"type": "input_text", "text": text} for text in texts]
        head = {"id": self.id or new_id("msg"), "type": self.type, "status": "completed"}
        return {**head, "role": self.role, "content": said}


class CallItem(Wire):
    """A tool call of an earlier answer."""

    id: Id | None = None
    type: Literal["function_call"]
    call_id: Id
    name: Annotated[str, Field(min_length=1, max_length=MAX_IDENTIFIER)]
    arguments: Prose

    def kept(self) -> Item:
        """As it is kept."""
        return {**self.model_dump(), "id": self.id or new_id("fc"), "status": "completed"}


class OutputItem(Wire):
    """What a tool answered."""

    id: Id | None = None
    type: Literal["function_call_output"]
    call_id: Id
    output: Content

    def kept(self) -> Item:
        """As it is kept."""
        return {**self.model_dump(), "id": self.id or new_id("fco"), "status": "completed"}


def _kind(item: Any) -> str | None:
    return item.get("type", "message") if isinstance(item, dict) else None


AnyItem = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[CallItem, Tag("function_call")]
    | Annotated[OutputItem, Tag("function_call_output")],
    Discriminator(
        _kind,
        custom_error_type="unknown_item",
        custom_error_message="only items of type `message`, `function_call` and `function_call_output` are supported",
    ),
]


def messages(items: Sequence[Item], instructions: str | None) -> tuple[Message, ...]:
    """The conversation for the stages. Raises ApiError (400) where an output answers no call."""
    first = [Message("system", instructions)] if instructions else []
    return (*first, *_messages(items))


def _messages(items: Sequence[Item]) -> Iterator[Message]:
    called: set[str] = set()
    turn: Message | None = None  # the assistant's, to which its calls belong
    for item in items:
        if item["type"] == "reasoning":
            continue  # what the model thought is not told to it again
        if item["type"] == "function_call":
            called.add(item["call_id"])
            turn = _calling(turn or Message("assistant", ""), item)
            continue
        if turn:
            yield turn
        turn = None
        if item["type"] == "function_call_output":
            if item["call_id"] not in called:
                raise errors.no_tool_call(item["call_id"])
            yield Message.of("tool", _texts(item["output"]), {"tool_call_id": item["call_id"]})
            continue
        role = str(item["role"])
        message = Message.of(ROLES.get(role, role), _texts(item["content"]))
        if message.role == "assistant":
            turn = message
        else:
            yield message
    if turn:
        yield turn


def _calling(turn: Message, item: Item) -> Message:
    function = {"name": item["name"], "arguments": item["arguments"]}
    call = {"id": item["call_id"], "type": "function", "function": function}
    return Message(turn.role, turn.text, {"tool_calls": [*turn.extra.get("tool_calls", ()), call]})


def _texts(content: str | list[Item]) -> list[str]:
    return [content] if isinstance(content, str) else [part[_PARTS[part["type"]]] for part in content]
