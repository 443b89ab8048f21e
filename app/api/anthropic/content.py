"""An answer's content blocks, put together from its Tokens, and Anthropic's stream events on the way.

answer -> [content]. A whole answer and a stream are made by the same steps, so both end in the same blocks. Clients
read one open block at a time: what comes while a tool's arguments are not whole waits until they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson

from app.api.openai.responses.items import new_id
from app.core.events import Token, ToolDelta

Happening = tuple[str, dict[str, Any]]
"""A stream event: its name, what it says."""
ENDS = {"length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
"""Anthropic's stop_reason by finish_reason; all others are `end_turn`."""
Piece = str | ToolDelta


class Content:
    """The blocks so far; only the last of them can be open. told: a tool's name as the caller knows it.

    stop_sequence: which one ended the answer.
    """

    def __init__(self, told: Callable[[str], str] = str) -> None:
        self.blocks: list[dict[str, Any]] = []
        self.stop_sequence: str | None = None
        self._told = told
        self._reason: str | None = None
        self._arguments: list[str] = []
        self._tool: int | None = None  # the open block's, where it is a tool's
        self._open = False
        self._closed: set[int] = set()
        self._waiting: list[Piece] = []

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
        piece = token.tool or token.text
        if piece:
            yield from self._take(piece)

    def stop(self, reason: str | None) -> None:
        """Why it ends: a finish_reason."""
        self._reason = reason or self._reason

    def end(self) -> Iterator[Happening]:
        """Nothing more comes: what waits is told, each tool's pieces together, and the last block is closed."""
        waiting, self._waiting = self._waiting, []
        while waiting:
            yield from self._close()
            group = _group(waiting[0])
            for piece in [one for one in waiting if _group(one) == group]:
                yield from self._tell(piece)
            waiting = [one for one in waiting if _group(one) != group]
        yield from self._close()

    def _take(self, piece: Piece) -> Iterator[Happening]:
        mine = self._open and self._tool is not None and _group(piece) == self._tool
        if mine or not (self._waiting or self._unfinished):
            yield from self._tell(piece)
        else:
            self._waiting.append(piece)
        if mine and self._waiting and not self._unfinished:
            yield from self._release()

    def _release(self) -> Iterator[Happening]:
        """The open tool's arguments are whole: take in what has waited for that."""
        waiting, self._waiting = self._waiting, []
        for piece in waiting:
            yield from self._take(piece)

    @property
    def _unfinished(self) -> bool:
        """Whether a tool's block is open whose arguments are no whole JSON object."""
        if not self._open or self._tool is None:
            return False
        arguments = "".join(self._arguments)
        return not arguments.rstrip().endswith("}") or "INVALID_JSON" in _object(arguments)

    def _tell(self, piece: Piece) -> Iterator[Happening]:
        yield from self._use(piece) if isinstance(piece, ToolDelta) else self._say(piece)

    def _say(self, text: str) -> Iterator[Happening]:
        if not self._open or self._tool is not None:
            yield from self._begin({"type": "text", "text": ""}, None)
        self.blocks[-1]["text"] += text
        yield self._delta({"type": "text_delta", "text": text})

    def _use(self, tool: ToolDelta) -> Iterator[Happening]:
        if self._over(tool):
            return
        if not self._open or self._tool != tool.index or tool.id not in (None, self.blocks[-1]["id"]):
            made = {"type": "tool_use", "id": tool.id or new_id("toolu"), "name": self._told(tool.name or "")}
            yield from self._begin({**made, "input": {}}, tool.index)
        self._arguments.append(tool.arguments)
        if tool.arguments:
            yield self._delta({"type": "input_json_delta", "partial_json": tool.arguments})

    def _over(self, tool: ToolDelta) -> bool:
        """Whether it is a blank behind a call that is whole and closed."""
        closed = tool.index in self._closed and not (self._open and self._tool == tool.index)
        return closed and tool.id is None and not tool.arguments.strip()

    def _begin(self, block: dict[str, Any], tool: int | None) -> Iterator[Happening]:
        yield from self._close()
        self._open, self._arguments, self._tool = True, [], tool
        self.blocks.append(block)
        yield "content_block_start", {"index": len(self.blocks) - 1, "content_block": dict(block)}

    def _close(self) -> Iterator[Happening]:
        if not self._open:
            return
        self._open = False
        if self._tool is not None:
            self._closed.add(self._tool)
            self.blocks[-1]["input"] = _object("".join(self._arguments))
        yield "content_block_stop", {"index": len(self.blocks) - 1}

    def _delta(self, delta: dict[str, Any]) -> Happening:
        return "content_block_delta", {"index": len(self.blocks) - 1, "delta": delta}


def _group(piece: Piece) -> int | None:
    """Which tool's it is; None: it is text."""
    return piece.index if isinstance(piece, ToolDelta) else None


def _object(arguments: str) -> dict[str, Any]:
    """A tool's input. What is no JSON object, or was cut off, is wrapped as Anthropic advises: nothing looks right
    that is not.
    """
    try:
        found = orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:
        found = None
    return found if isinstance(found, dict) else {"INVALID_JSON": arguments}
