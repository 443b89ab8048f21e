"""An answer's items, put together from its Tokens, and OpenAI's stream events on the way.  answer -> [output].

A whole answer and a stream are made by the same steps, so both end in the same items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from app.api.openai.responses.client_tools import held
from app.api.openai.responses.custom_input import CustomInput
from app.api.openai.responses.items import Item, text_part
from app.api.openai.responses.thoughts import Thoughts
from app.api.openai.responses.tools import Origin
from app.api.parts_in_turn import PartsInTurn
from app.core.errors import ApiError
from app.core.events import Token, ToolDelta

Happening = tuple[str, dict[str, Any]]
"""A stream event without its number: its name, what it says."""
ENDS = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Why an answer is incomplete, by the finish_reason that says so."""


class Output:
    """The items so far; only the last of them can be open. A tool call's pieces come together, as engines send them.

    new_id: kind of item -> an id. origins: name of a function -> the tool that it stands for. fault: why there is no
    answer, though the engine gave one.
    """

    fault: ApiError | None = None

    def __init__(self, new_id: Callable[[str], str], origins: Mapping[str, Origin]) -> None:
        self.items: list[Item] = []
        self._thoughts, self._turns = Thoughts(self.items), PartsInTurn()
        self.incomplete: str | None = None
        self._new_id = new_id
        self._origins = origins
        self._open: Item | None = None
        self._tool: int | None = None
        self._input = CustomInput()

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
        if not self.items and self._open is None and self.incomplete != "content_filter":
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
            yield from self._begin_call(tool)
        item = self._current()
        if item["type"] == "custom_tool_call":
            yield from self._write(item, self._input.feed(tool.arguments))
            return
        item["arguments"] += tool.arguments
        if tool.arguments and item["type"] == "function_call":
            yield "response.function_call_arguments.delta", self._at(item, delta=tool.arguments)

    def _begin_call(self, tool: ToolDelta) -> Iterator[Happening]:
        origin = self._origins.get(tool.name or "", Origin("function", tool.name or ""))
        call = {"call_id": tool.id or self._new_id("call"), "name": origin.name}
        call |= {"namespace": origin.namespace} if origin.namespace else {}
        if origin.kind == "function":
            item: Item = {"id": self._new_id("fc"), "type": "function_call", "status": "in_progress", "arguments": ""}
            yield self._begin(item | call)
        elif origin.kind == "custom":
            self._input = CustomInput()
            item = {"id": self._new_id("ctc"), "type": "custom_tool_call", "status": "in_progress", "input": ""}
            yield self._begin(item | call)
        else:  # what its item holds is known only at the end
            self._open = {"id": self._new_id("call"), "type": f"{origin.kind}_call", "arguments": "", **call}

    def _write(self, item: Item, text: str) -> Iterator[Happening]:
        """More of a custom tool's input."""
        item["input"] += text
        if text:
            yield "response.custom_tool_call_input.delta", self._at(item, delta=text)

    def _held(self, item: Item) -> Item:
        """The call of a tool that the client runs; a plain function call where the model wrote something else."""
        found = held(item["name"], item["arguments"])
        if found is None:
            return {**item, "type": "function_call", "status": "in_progress"}
        return {"id": item["id"], "type": item["type"], "status": "in_progress", "call_id": item["call_id"], **found}

    def _begin_message(self) -> Iterator[Happening]:
        self._tool = None
        item: Item = {"id": self._new_id("msg"), "type": "message", "status": "in_progress", "role": "assistant"}
        item["content"] = []
        yield self._begin(item)
        item["content"] = [text_part("")]
        yield "response.content_part.added", self._at(item, content_index=0, part=text_part(""))

    def _begin(self, item: Item) -> Happening:
        self._open = item
        self.items.append(item)
        return "response.output_item.added", {"output_index": len(self.items) - 1, "item": dict(item)}

    def _close(self, status: str) -> Iterator[Happening]:
        item = self._open
        if item is None:
            return
        if item is not (self.items[-1] if self.items else None):
            item = self._held(item)
            yield self._begin(item)
        yield from self._last(item)
        self._open = None
        item["status"] = status
        yield "response.output_item.done", {"output_index": len(self.items) - 1, "item": item}

    def _last(self, item: Item) -> Iterator[Happening]:
        """What comes before an item's end."""
        if item["type"] == "function_call":
            told = self._at(item, arguments=item["arguments"], name=item["name"])
            yield "response.function_call_arguments.done", told
        elif item["type"] == "custom_tool_call":
            yield from self._write(item, self._input.end())
            yield "response.custom_tool_call_input.done", self._at(item, input=item["input"])
        elif item["type"] == "message":
            part = item["content"][0]
            told = self._at(item, content_index=0, text=part["text"], logprobs=part["logprobs"])
            yield "response.output_text.done", told
            yield "response.content_part.done", self._at(item, content_index=0, part=part)

    def _current(self) -> Item:
        assert self._open is not None  # noqa: S101 - the caller has just begun it
        return self._open

    def _at(self, item: Item, **said: Any) -> dict[str, Any]:
        return {"item_id": item["id"], "output_index": len(self.items) - 1, **said}
