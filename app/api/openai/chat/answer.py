"""A call as a chat completion: one JSON object, or OpenAI's stream of chunks.  route -> [answer] -> api.answer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from starlette.types import Send

from app.api.answer import CallResponse, Choice, collect, send_error, send_json, usage_body
from app.api.headers import of_call
from app.api.openai.chat.tools import CustomCalls, told
from app.api.sse import EventStream, Piece, dumps
from app.core.call import Call
from app.core.errors import ApiError
from app.core.events import Refusal, Token, ToolDelta
from app.core.stage import Events
from app.pipeline.gateway import Gateway

REASONING = ("reasoning_content", "reasoning")
"""Under which names clients read what a model thinks: OpenAI has none."""


class ChatAnswer(CallResponse):
    """`chat.completion`: the whole answer as one JSON object. custom_tools: names of tools that take text."""

    def __init__(
        self, gateway: Gateway, call: Call, events: Events, *, custom_tools: frozenset[str] = frozenset()
    ) -> None:
        super().__init__(gateway, call, events)
        self._custom = custom_tools

    async def _run(self, send: Send) -> None:
        choices = await collect(self.events)
        if isinstance(choices, ApiError):
            await send_error(send, choices, self.call)
            return
        await send_json(send, 200, self._body(choices), of_call(self.call, settled=True))

    def _body(self, choices: Mapping[int, Choice]) -> dict[str, Any]:
        return {
            "id": self.call.id,
            "object": "chat.completion",
            "created": int(self.call.created),
            "model": self.model,
            "choices": [
                {
                    "index": index,
                    "message": _message(choice, self._custom),
                    "logprobs": {"content": choice.logprobs, "refusal": None} if choice.logprobs else None,
                    "finish_reason": choice.finish_reason or "stop",
                }
                for index, choice in sorted(choices.items())
            ],
            "usage": usage_body(self.call.usage),
            "service_tier": "default",
            "system_fingerprint": f"fp_{self.call.pool or 'cache'}",
            **self.moderation,
        }


def _message(choice: Choice, custom: frozenset[str]) -> dict[str, Any]:
    message = {"role": "assistant", "content": choice.text, "refusal": None}
    if choice.thoughts:
        message |= dict.fromkeys(REASONING, "".join(choice.thoughts))
    calls = [told(call, custom) for call in choice.tool_calls]
    return {**message, "content": choice.text or None, "tool_calls": calls} if calls else message


class ChatStream(EventStream):
    """`chat.completion.chunk` events. custom_tools: as ChatAnswer's; a call of one is sent whole, at its end."""

    def __init__(
        self,
        gateway: Gateway,
        call: Call,
        events: Events,
        *,
        include_usage: bool,
        custom_tools: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(gateway, call, events)
        self._include_usage = include_usage
        self._calls = CustomCalls(custom_tools)
        self._opened: set[int] = set()

    @cached_property
    def _before(self) -> bytes:
        """What every chunk begins with. Made for the first: only then is the model known."""
        head = {
            "id": self.call.id,
            "object": "chat.completion.chunk",
            "created": int(self.call.created),
            "model": self.model,
            "service_tier": "default",
            "system_fingerprint": f"fp_{self.call.pool or 'cache'}",
        }
        if self._include_usage:
            head["usage"] = None
        return b"data: " + dumps(head)[:-1]

    def piece(self, event: Piece) -> bytes:
        """A Token's delta, after its choice's first one; why a choice ended."""
        if isinstance(event, Refusal):
            self._opened.add(event.choice or 0)
            return self._delta(event.choice or 0, {}, finish="content_filter")
        body = b""
        if event.choice not in self._opened:
            self._opened.add(event.choice)
            body = self._delta(event.choice, {"role": "assistant", "content": "", "refusal": None})
        if event.finish_reason:
            body += self._tools(event.choice, self._calls.ended(event.choice))
        if event.tool is not None:
            held = self._calls.holds(event.choice, event.tool)
            body += self._tools(event.choice, [] if held else [_tool_delta(event.tool)])
        elif event.reasoning and event.text:
            body += self._delta(event.choice, dict.fromkeys(REASONING, event.text))
        elif event.text or event.logprobs:
            body += self._delta(event.choice, {"content": event.text}, logprobs=event.logprobs)
        return body + (self._delta(event.choice, {}, finish=event.finish_reason) if event.finish_reason else b"")

    def _tools(self, index: int, calls: list[dict[str, Any]]) -> bytes:
        return self._delta(index, {"tool_calls": calls}) if calls else b""

    def _delta(self, index: int, delta: dict[str, Any], *, logprobs: Any = None, finish: str | None = None) -> bytes:
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": {"content": logprobs, "refusal": None} if logprobs else None,
            "finish_reason": finish,
        }
        return self._before + b',"choices":[' + dumps(choice) + b"]}\n\n"

    async def ending(self) -> bytes:
        """What was used and found, where asked for, and `[DONE]`."""
        end = b"data: [DONE]\n\n"
        empty = b"" if self._opened else self.piece(Token("", finish_reason="stop"))
        if self._include_usage:
            counted = usage_body(self.call.usage)
            before = self._before.removesuffix(b',"usage":null')
            end = before + b',"choices":[],"usage":' + dumps(counted) + b"}\n\n" + end
        if self.moderation:
            end = self._before + b',"choices":[],' + dumps(self.moderation)[1:] + b"\n\n" + end
        return empty + end


def _tool_delta(tool: ToolDelta) -> dict[str, Any]:
    """A piece of a tool call as OpenAI streams it: id, type and name once, with its first piece."""
    function: dict[str, Any] = {"arguments": tool.arguments}
    if tool.id is None:
        return {"index": tool.index, "function": function}
    return {"index": tool.index, "id": tool.id, "type": "function", "function": {"name": tool.name, **function}}
