"""An answer's content blocks, put together from its Tokens, and Anthropic's stream events on the way.

answer -> [content]. A whole answer and a stream are made by the same steps, so both end in the same blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from app.api.openai.responses.items import new_id
from app.core.events import Token, ToolDelta

Happening = tuple[str, dict[str, Any]]
"""A stream event: its name, what it says."""
ENDS = {"length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
"""Anthropic's stop_reason by finish_reason; all others are `end_turn`."""


class Content:
    """The blocks so far; only the last of them can be open. A tool call's pieces come together, as engines send them.

    stop_sequence: which one ended the answer.
    """

    def __init__(self) -> None:
        self.blocks: list[dict[str, Any]] = []
        self.stop_sequence: str | None = None
        self._reason: str | None = None
        self._arguments: list[str] = []
        self._tool: int | None = None
        self._open = False

    @property
    def stop_reason(self) -> str:
        """Why the answer ended."""
        if self.stop_sequence is not None:
            return "stop_sequence"
        if self._reason in ENDS:
            return ENDS[self._reason]
        # An engine that was made to call a tool says `stop` at its end.
        return "tool_use" if any(block["type"] == "tool_use" for block in self.blocks) else "end_turn"

    def _think(self, text: str) -> Iterator[Happening]:
        if not self._open or self.blocks[-1]["type"] != "thinking":
            yield from self.end()
            self._open, self._tool = True, None
            block = {"type": "thinking", "thinking": "", "signature": ""}
            self.blocks.append(block)
            yield "content_block_start", {"index": len(self.blocks) - 1, "content_block": dict(block)}
        self.blocks[-1]["thinking"] += text
        yield self._delta({"type": "thinking_delta", "thinking": text})

    def add(self, token: Token) -> Iterator[Happening]:
        """Take the next Token in."""
        if token.reasoning:
            yield from self._think(token.text)
            return
        if self._open and self.blocks[-1]["type"] == "thinking":
            yield from self.end()
        self.stop(token.finish_reason)
        self.stop_sequence = token.stop or self.stop_sequence
        if token.tool is not None:
            yield from self._use(token.tool)
        elif token.text:
            yield from self._say(token.text)

    def stop(self, reason: str | None) -> None:
        """Why it ends: a finish_reason."""
        self._reason = reason or self._reason

    def end(self) -> Iterator[Happening]:
        """Nothing more comes, or nothing more of the open block."""
        if not self._open:
            return
        self._open = False
        if self.blocks[-1]["type"] == "tool_use":
            self.blocks[-1]["input"] = _object("".join(self._arguments))
        yield "content_block_stop", {"index": len(self.blocks) - 1}

    def _say(self, text: str) -> Iterator[Happening]:
        if not self._open or self.blocks[-1]["type"] != "text":
            yield from self._begin({"type": "text", "text": "", "citations": None})
        self.blocks[-1]["text"] += text
        yield self._delta({"type": "text_delta", "text": text})

    def _use(self, tool: ToolDelta) -> Iterator[Happening]:
        if not self._open or self.blocks[-1]["type"] != "tool_use" or self._tool != tool.index:
            self._tool = tool.index
            yield from self._begin(
                {"type": "tool_use", "id": tool.id or new_id("toolu"), "name": tool.name or "", "input": {}}
            )
        self._arguments.append(tool.arguments)
        if tool.arguments:
            yield self._delta({"type": "input_json_delta", "partial_json": tool.arguments})

    def _begin(self, block: dict[str, Any]) -> Iterator[Happening]:
        yield from self.end()
        self._open, self._arguments = True, []
        self.blocks.append(block)
        yield "content_block_start", {"index": len(self.blocks) - 1, "content_block": dict(block)}

    def _delta(self, delta: dict[str, Any]) -> Happening:
        return "content_block_delta", {"index": len(self.blocks) - 1, "delta": delta}


def _object(arguments: str) -> dict[str, Any]:
    """A tool's input. What is no JSON object, or was cut off, is wrapped as Anthropic advises: nothing looks right
    that is not.
    """
    try:
        found = orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:
        found = None
    return found if isinstance(found, dict) else {"INVALID_JSON": arguments}
