"""Kept items as the stages' Messages: text, tool calls and tools' outputs, and nothing beside them.  items -> [turns].

A call of a tool that ran elsewhere (a shell, a patch, code, an MCP server) is a tool call of its own name, where its
output is known. What says nothing without the machine that made it (searches, images, reasoning) is left out and
named. A call that nobody answered is answered with a line: many engines refuse a history with an open call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from app.api.openai.responses.items import OUTPUTS, Conversation, Item
from app.api.openai.responses.parts import told
from app.api.openai.responses.tools import flat
from app.api.openai.wire import ROLES
from app.core import errors
from app.core.events import Message

NO_OUTPUT = "[this call has no output]"
ORPHAN = "[the output of an earlier tool call]\n"
_FRAME = frozenset({"id", "type", "status", "call_id", "caller", "environment", "created_by", "max_output_length"})
"""Fields of a call that say nothing to the model."""


def messages(conversation: Conversation, instructions: str | None) -> tuple[Message, ...]:
    """The conversation for the stages; what is not part of it is named in its `left_out`.

    Raises ApiError (400): an output of the newest turn answers no call, or there is nothing to answer.
    """
    turns = _Turns(conversation.items, conversation.left_out)
    for at, item in enumerate(conversation.items):
        turns.take(at, item)
    turns.close()
    if not turns.done:
        raise errors.bad_request("Nothing of `input` can be answered: send a message.", "input", "invalid_value")
    return (*([Message("system", instructions)] if instructions else []), *turns.done)


@dataclass
class _Turns:
    """Messages so far. turn: the assistant's, to which its calls belong; open: its calls that have no output.

    called: what an output may name a call by -> the call's id.
    """

    items: Sequence[Item]
    left_out: list[str]
    done: list[Message] = field(default_factory=list)
    turn: Message | None = None
    open: list[str] = field(default_factory=list)
    called: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.answered = {name for item in self.items if str(item["type"]).endswith("_output") for name in _names(item)}
        ours = [at for at, item in enumerate(self.items) if _by_model(item)]
        self.newest = ours[-1] if ours else -1

    def take(self, at: int, item: Item) -> None:
        """The next item."""
        kind = str(item["type"])
        if kind == "message":
            self._say(item)
        elif kind == "function_call":
            self._call(item["call_id"], flat(item["name"], item.get("namespace")), item["arguments"], item)
        elif kind == "custom_tool_call":
            arguments = orjson.dumps({"input": item["input"]}).decode()
            self._call(item["call_id"], flat(item["name"], item.get("namespace")), arguments, item)
        elif kind.endswith("_output"):
            self._output(at, item)
        else:
            self._other(kind, item)

    def close(self) -> None:
        """End the assistant's turn."""
        if self.turn:
            self.done.append(self.turn)
        self.done += [Message("tool", NO_OUTPUT, {"tool_call_id": call_id}) for call_id in self.open]
        self.turn, self.open = None, []

    def _say(self, item: Item) -> None:
        role = str(item["role"])
        message = Message.of(ROLES.get(role, role), told(item["content"], self.left_out))
        self.close()
        if message.role == "assistant":
            self.turn = message
        else:
            self.done.append(message)

    def _call(self, call_id: str, name: str, arguments: str, item: Item) -> None:
        """A call, of the turn that is open."""
        self.called |= dict.fromkeys(_names(item) | {call_id}, call_id)
        if not self.answered & (_names(item) | {call_id}):
            self.open.append(call_id)
        turn = self.turn or Message("assistant", "")
        call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
        self.turn = Message(
            turn.role, turn.text, {"tool_calls": [*turn.extra.get("tool_calls", ()), call]}, turn.breaks
        )

    def _output(self, at: int, item: Item) -> None:
        call_id = next((self.called[name] for name in sorted(_names(item)) if name in self.called), None)
        if call_id is None and item["type"] not in OUTPUTS:
            self.left_out.append(f"input.{item['type']}")
            return
        if call_id is None and at > self.newest:
            raise errors.no_tool_call(str(item["call_id"]))
        texts = _output_texts(item, self.left_out)
        self.close()
        if call_id is not None:
            self.done.append(Message.of("tool", texts, {"tool_call_id": call_id}))
        else:  # its call was cut off with the beginning of the conversation
            self.done.append(Message.of("user", [ORPHAN, *texts]))

    def _other(self, kind: str, item: Item) -> None:
        """A call of a tool that ran elsewhere, where its output is known."""
        call_id = _text(item.get("call_id")) or _text(item.get("id"))
        made = _own_output(kind, item, self.left_out)
        known = bool(self.answered & _names(item)) and kind.endswith("_call")
        if not call_id or not (made or known):
            self.left_out.append(f"input.{kind}")
            return
        name = flat(_text(item.get("name")) or kind.removesuffix("_call"), _text(item.get("server_label")) or None)
        self._call(call_id, name, _arguments(item), item)
        if made and not known:
            self.open.remove(call_id)
            self.close()
            self.done.append(Message("tool", made, {"tool_call_id": call_id}))


def _by_model(item: Item) -> bool:
    return item.get("role") == "assistant" or str(item["type"]).endswith("_call")


def _names(item: Mapping[str, Any]) -> set[str]:
    """What an output may call this item by, or a call its output."""
    return {name for name in (item.get("call_id"), item.get("id")) if isinstance(name, str) and name}


def _arguments(item: Item) -> str:
    """A call's, as JSON."""
    if isinstance(item.get("arguments"), str):
        return str(item["arguments"])
    made = {name: value for name, value in item.items() if name not in _FRAME and not name.startswith("output")}
    made = {name: value for name, value in made.items() if name not in {"results", "name"} and value is not None}
    action = made.get("action")
    return orjson.dumps(action if len(made) == 1 and isinstance(action, dict) else made).decode()


def _own_output(kind: str, item: Item, left_out: list[str]) -> str:
    """What a call's own item tells of its output."""
    fields = {"mcp_call": ("output", "error"), "code_interpreter_call": ("outputs",), "file_search_call": ("results",)}
    found = [item[name] for name in fields.get(kind, ()) if item.get(name)]
    return "".join(_texts(found[0], left_out)) if found else ""


def _output_texts(item: Item, left_out: list[str]) -> list[str]:
    if "output" not in item and "result" not in item:
        return [_arguments(item)]
    said = _texts(item.get("output", item.get("result")), left_out)
    return said if said or item.get("status") in (None, "completed") else [str(item["status"])]


def _texts(value: Any, left_out: list[str]) -> list[str]:
    """An output of any form: words, parts, or JSON."""
    if value is None or isinstance(value, str):
        return [value] if value else []
    parts = value if isinstance(value, list) else [value]
    if all(isinstance(part, dict) and "type" in part for part in parts):
        return told([_log(part) for part in parts], left_out)
    return [orjson.dumps(value).decode()]


def _log(part: Item) -> Item:
    """What a program printed, as a part that is text."""
    return {"type": "text", "text": part["logs"]} if isinstance(part.get("logs"), str) else part


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
