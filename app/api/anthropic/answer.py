"""A call as an Anthropic message: one JSON object, or its stream of named events.  route -> [answer] -> content."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.types import Send

from app.api.answer import CallResponse, ends_call, send_json
from app.api.anthropic.content import Content
from app.api.anthropic.errors import fault_body, id_header, status_of
from app.api.anthropic.request import Read
from app.api.errors import error_headers
from app.api.headers import of_call
from app.api.ignored import ignored_header
from app.api.sse import EventStream, Piece, named
from app.core.call import Call
from app.core.errors import ApiError
from app.core.events import Refusal, Token
from app.core.ports import Window
from app.core.stage import Events
from app.pipeline.gateway import Gateway


class MessageAnswer(CallResponse):
    """The whole message as one JSON object. read: what was asked."""

    def __init__(self, gateway: Gateway, call: Call, events: Events, read: Read) -> None:
        super().__init__(gateway, call, events)
        self._read = read

    async def _run(self, send: Send) -> None:
        content = Content(self._read.names.told)
        async for event in self.events:
            if error := ends_call(event):
                await self.events.aclose()
                await send_fault(send, error, self.call)
                return
            if isinstance(event, Token):
                list(content.add(event))
            elif isinstance(event, Refusal):
                content.stop("content_filter")
        list(content.end())
        body = {**_head(self.call, self.model), "content": content.blocks, **_end(content), "usage": _usage(self.call)}
        await send_json(send, 200, body, _headers(self.call, self._read, settled=True))


class MessageStream(EventStream):
    """The message as it grows. read: what was asked."""

    def __init__(self, gateway: Gateway, call: Call, events: Events, read: Read) -> None:
        super().__init__(gateway, call, events)
        self._read = read
        self._content = Content(read.names.told)

    def head(self) -> dict[str, str]:
        """As every stream's, with Anthropic's own."""
        return super().head() | _headers(self.call, self._read, settled=False)

    def opening(self) -> bytes:
        """The empty message. Its counts are what is known by now; those at the end hold."""
        message = {**_head(self.call, self.model), "content": [], "stop_reason": None, "stop_sequence": None}
        return named("message_start", {"message": {**message, "usage": _first_usage(self.call)}}) + self.quiet()

    def piece(self, event: Piece) -> bytes:
        """What a Token does to the blocks."""
        if isinstance(event, Refusal):
            self._content.stop("content_filter")
            return b""
        return b"".join(named(*happening) for happening in self._content.add(event))

    async def ending(self) -> bytes:
        """The last block's end, why it ended, and that it did."""
        last = b"".join(named(*happening) for happening in self._content.end())
        delta = named("message_delta", {"delta": _end(self._content), "usage": _usage(self.call)})
        return last + delta + named("message_stop", {})

    def broken(self, error: ApiError) -> bytes:
        """Anthropic's error, as an event."""
        return named("error", fault_body(error, self.call))

    def quiet(self) -> bytes:
        """Anthropic's own keep-alive."""
        return named("ping", {})

    async def refused(self, send: Send, error: ApiError) -> None:
        """Anthropic's error, with its status."""
        await send_fault(send, error, self.call)


async def send_fault(send: Send, error: ApiError, call: Call) -> None:
    """The whole answer, as an error of this call's."""
    headers = error_headers(error) | of_call(call, settled=True) | rate_limits(call.windows) | id_header()
    await send_json(send, status_of(error), fault_body(error, call), headers)


def rate_limits(windows: Mapping[str, Window]) -> dict[str, str]:
    """`anthropic-ratelimit-{requests,tokens}-{limit,remaining,reset}`; reset: the moment, as RFC 3339."""
    out, now = {}, datetime.now(UTC)
    for what, window in windows.items():
        reset = now + timedelta(seconds=max(0.0, window.reset))
        out[f"anthropic-ratelimit-{what}-limit"] = str(window.limit)
        out[f"anthropic-ratelimit-{what}-remaining"] = str(max(0, window.remaining))
        out[f"anthropic-ratelimit-{what}-reset"] = reset.strftime("%Y-%m-%dT%H:%M:%SZ")
    return out


def _headers(call: Call, read: Read, *, settled: bool) -> dict[str, str]:
    named_out = ignored_header(read.ignored)
    return of_call(call, settled=settled) | rate_limits(call.windows) | named_out | id_header()


def _head(call: Call, model: str) -> dict[str, Any]:
    return {"id": f"msg_{call.id.rpartition('-')[2]}", "type": "message", "role": "assistant", "model": model}


def _end(content: Content) -> dict[str, Any]:
    refused = content.stop_reason == "refusal"
    why = "The rest of the answer was stopped by the output moderator."
    return {
        "stop_reason": content.stop_reason,
        "stop_sequence": content.stop_sequence,
        "stop_details": {"type": "refusal", "category": None, "explanation": why} if refused else None,
    }


def _first_usage(call: Call) -> dict[str, Any]:
    """What is known when the answer begins: the gateway's own count, where the engine has not counted yet."""
    used = _usage(call)
    return used if call.usage.prompt else {**used, "input_tokens": call.prompt_tokens_low}


def _usage(call: Call) -> dict[str, Any]:
    """What was read anew and what came from the engine's prefix cache are counted apart, as Anthropic does."""
    used = call.usage
    return {
        "input_tokens": used.prompt - used.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": used.cached,
        "output_tokens": used.completion,
    }
