"""Anthropic's messages and their content blocks, as the stages' Messages.  wire -> [blocks].

A user's tool results become `tool` messages, before what else the user says in the same turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import orjson
from pydantic import Discriminator, Field, Tag

from app.api.bounds import MAX_IDENTIFIER, MAX_PARTS, Prose
from app.api.openai.wire import Wire
from app.core import errors
from app.core.events import Message

UNSUPPORTED = "only content blocks of type `text`, `tool_use` and `tool_result` are supported by the pools"


class TextBlock(Wire):
    """What somebody says."""

    type: Literal["text"]
    text: Prose


class ToolUse(Wire):
    """A tool call of an earlier answer."""

    type: Literal["tool_use"]
    id: Annotated[str, Field(min_length=1, max_length=MAX_IDENTIFIER)]
    name: Annotated[str, Field(min_length=1, max_length=MAX_IDENTIFIER)]
    input: Annotated[dict[str, Any], Field(max_length=MAX_PARTS)]

    def call(self) -> dict[str, Any]:
        """As chat's API spells it."""
        function = {"name": self.name, "arguments": orjson.dumps(self.input).decode()}
        return {"id": self.id, "type": "function", "function": function}


def _kind(block: Any) -> str | None:
    return block.get("type") if isinstance(block, dict) else None


_ASK = Discriminator(_kind, custom_error_type="unsupported_block", custom_error_message=UNSUPPORTED)
Texts = Prose | Annotated[list[Annotated[Annotated[TextBlock, Tag("text")], _ASK]], Field(max_length=MAX_PARTS)]


class ToolResult(Wire):
    """What a tool answered. Chat templates have no word for `is_error`: the text must say it."""

    type: Literal["tool_result"]
    tool_use_id: Annotated[str, Field(min_length=1, max_length=MAX_IDENTIFIER)]
    content: Texts = ""

    def message(self) -> Message:
        """For the stages."""
        return Message.of("tool", texts(self.content), {"tool_call_id": self.tool_use_id})


Block = Annotated[
    Annotated[TextBlock, Tag("text")] | Annotated[ToolUse, Tag("tool_use")] | Annotated[ToolResult, Tag("tool_result")],
    _ASK,
]


class Turn(Wire):
    """One of `messages`."""

    role: Literal["user", "assistant", "system"]
    content: Prose | Annotated[list[Block], Field(max_length=MAX_PARTS)]

    @property
    def blocks(self) -> Sequence[TextBlock | ToolUse | ToolResult]:
        """Its content as blocks."""
        if isinstance(self.content, str):
            return [TextBlock(type="text", text=self.content)]
        return self.content


def texts(content: Texts) -> list[str]:
    """Its texts, a client's block each."""
    return [content] if isinstance(content, str) else [block.text for block in content]


def messages(system: Texts | None, turns: Sequence[Turn]) -> tuple[Message, ...]:
    """The conversation for the stages. Raises ApiError (400) where a block stands in the wrong place."""
    first = [Message.of("system", texts(system))] if system else []
    return (*first, *_messages(turns))


def _messages(turns: Sequence[Turn]) -> Iterator[Message]:
    called: set[str] = set()
    for at, turn in enumerate(turns):
        uses = [block for block in turn.blocks if isinstance(block, ToolUse)]
        results = [block for block in turn.blocks if isinstance(block, ToolResult)]
        for kind, misplaced, whose in (("tool_use", uses, "assistant"), ("tool_result", results, "user")):
            if misplaced and turn.role != whose:
                why = f"`{kind}` blocks belong into messages of the role `{whose}`."
                raise errors.bad_request(f"messages[{at}]: {why}", f"messages[{at}].content")
        for result in results:
            if result.tool_use_id not in called:
                raise errors.no_tool_call(result.tool_use_id, f"messages[{at}].content")
            yield result.message()
        called.update(use.id for use in uses)
        said = [block.text for block in turn.blocks if isinstance(block, TextBlock)]
        if said or uses:
            extra = {"tool_calls": [use.call() for use in uses]} if uses else {}
            yield Message.of(turn.role, said, extra)
