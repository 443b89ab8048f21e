"""An answer's items, put together from its Tokens, and OpenAI's stream events on the way.  answer -> [output].

A whole answer and a stream are made by the same steps, so both end in the same items.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from app.api.openai.responses.items import Item, new_id, text_part
from app.api.openai.responses.thoughts import Thoughts
from app.api.parts_in_turn import PartsInTurn
from app.core.events import Token, ToolDelta

Happening = tuple[str, dict[str, Any]]
"""A stream event without its number: its name, what it says."""
ENDS = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Why an answer is incomplete, by the finish_reason that says so."""


class Output:
    """The items so far; only the last of them can be open. A tool call's pieces come together, as engines send them."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self._thoughts, self._turns = Thoughts(self.items), PartsInTurn()
        self.incomplete: str | None = None
        self._open: Item | None = None
        self._tool: int | None = None

    @property
    def status(self) -> str:
        """`completed` or `incomplete`."""
        return "incomplete" if self.incomplete else "completed"

    def add(self, token: Token) -> Iterator[Happening]:
        """Take the next Token in."""
        for one in self._turns.feed(token):
            yield from self._take(one)

    def _take(self, token: Token) -> Iterator[Happening]:
        if token.reasoning:
            yield from self._close("completed")
            yield from self._thoughts.say(token.text)
            return
        yield from self._thoughts.end()
        self.stop(token.finish_reason)
        if token.tool is not None:
            yield from self._call(token.tool)
        elif token.text or token.logprobs:
            yield from self._say(token.text, list(token.logprobs or ()))

    def stop(self, reason: str | None) -> None:
        """Why it ends: a finish_reason."""
        self.incomplete = ENDS.get(reason or "", self.incomplete)

    def end(self) -> Iterator[Happening]:
        """Nothing more comes."""
        yield from self._thoughts.end()
        if not self.items and self.incomplete != "content_filter":
            yield from self._begin_message()  # a model that said nothing has said an empty message
        yield from self._close(self.status)

    def _say(self, text: str, logprobs: list[Any]) -> Iterator[Happening]:
        if self._open is None or self._open["type"] != "message":
            yield from self._close("completed")
            yield from self._begin_message()
        item = self._current()
        part = item["content"][0]
        part["text"] += text
        part["logprobs"] += logprobs
        yield "response.output_text.delta", self._at(item, content_index=0, delta=text, logprobs=logprobs)

    def _call(self, tool: ToolDelta) -> Iterator[Happening]:
        if self._open is None or self._tool != tool.index:
            yield from self._close("completed")
            self._tool = tool.index
            call_id = tool.id or new_id("call")
            item = {"id": new_id("fc"), "type": "function_call", "status": "in_progress"}
            item |= {"arguments": "", "call_id": call_id, "name": tool.name or ""}
            yield self._begin(item)
        item = self._current()
        item["arguments"] += tool.arguments
        if tool.arguments:
            yield "response.function_call_arguments.delta", self._at(item, delta=tool.arguments)

    def _begin_message(self) -> Iterator[Happening]:
        self._tool = None
        item: Item = {"id": new_id("msg"), "type": "message", "status": "in_progress", "role": "assistant"}
        item["content"] = []
        yield self._begin(item)
        item["content"] = [text_part("")]
        yield "response.content_part.added", self._at(item, content_index=0, part=text_part(""))

    def _begin(self, item: Item) -> Happening:
        self._open = item
        self.items.append(item)
        return "response.output_item.added", {"output_index": len(self.items) - 1, "item": dict(item)}

    def _close(self, status: str) -> Iterator[Happening]:
        item, self._open = self._open, None
        if item is None:
            return
        item["status"] = status
        if item["type"] == "function_call":
            told = self._at(item, arguments=item["arguments"], name=item["name"])
            yield "response.function_call_arguments.done", told
        else:
            part = item["content"][0]
            told = self._at(item, content_index=0, text=part["text"], logprobs=part["logprobs"])
            yield "response.output_text.done", told
            yield "response.content_part.done", self._at(item, content_index=0, part=part)
        yield "response.output_item.done", {"output_index": len(self.items) - 1, "item": item}

    def _current(self) -> Item:
        assert self._open is not None  # noqa: S101 - the caller has just begun it
        return self._open

    def _at(self, item: Item, **said: Any) -> dict[str, Any]:
        return {"item_id": item["id"], "output_index": len(self.items) - 1, **said}
