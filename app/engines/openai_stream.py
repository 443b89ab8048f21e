"""Read an OpenAI chat stream, vLLM's or an upstream's, as Tokens and Usage.  engine -> [openai_stream] -> generate.

A ChatStream is fed what arrives and keeps the counts: Usage comes before the Tokens that it counts, so that a client
who hangs up on a Token is billed for it, and once more at the end.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from app.core.events import Token, Usage
from app.core.ports import EngineError
from app.engines.choice_stream import ChoiceStream
from app.engines.event_stream import EventReader
from app.engines.loose_json import MOST, a_count, a_text, an_object, objects, parsed
from app.engines.surrogates import whole
from app.engines.told_usage import ToldUsage

if TYPE_CHECKING:
    from collections.abc import Mapping

# Usage with every chunk: what is to be billed is known at any moment. vLLM's extension; OpenAI ignores or refuses it.
STREAM_OPTIONS = {"include_usage": True, "continuous_usage_stats": True}

TOO_LONG = "context_length_exceeded"
AUTO_TOOLS = "no_auto_tools"
"""The code of an engine whose model cannot choose for itself whether to call a tool."""
# vLLM has no code for it, and words it in several ways; other servers copied OpenAI's sentence without its code.
_LENGTH = re.compile(r"maximum (context|model) length|context length (is|of)|longer than the maximum", re.IGNORECASE)
_DETAILS = re.compile(r" \(parameter=.*\)$", re.DOTALL)  # vLLM appends its own variables to a sentence
_CALLERS = (400, 413, 422)
_CALLERS_TYPES = {"invalid_request_error", "BadRequestError", "BadRequest"}
_OURS = {
    *("authentication_error", "permission_error", "permission_denied", "not_found_error", "billing_error"),
    *("invalid_api_key", "model_not_found", "insufficient_quota", "billing_hard_limit_reached", "billing_not_active"),
    *("account_deactivated", "rate_limit_error", "rate_limit_exceeded", "overloaded_error", "server_error"),
}
"""Codes and types of what is between an upstream and us, also where it comes with the status of a bad request."""


class ChatStream:
    """The state of one answer. `usage`: the latest count. `done`: whether the stream said that it is over.

    choices: how many were asked for; what is said of others is left out. None: whatever comes. What is odd in a chunk
    is left out too, and the rest of it read.
    """

    def __init__(self, choices: int | None = None) -> None:
        self.done = False
        self._asked = choices
        self._only: int | None = None
        self._choices: dict[int, ChoiceStream] = {}
        self._told = ToldUsage()
        self._last = Usage()

    @property
    def usage(self) -> Usage:
        """What is known of the tokens by now."""
        return self._told.usage

    @property
    def begun(self) -> bool:
        """Whether any choice has said something, or ended."""
        return any(choice.begun for choice in self._choices.values())

    @property
    def ended(self) -> bool:
        """Whether every choice that began has ended."""
        return self.begun and all(choice.ended for choice in self._choices.values() if choice.begun)

    def feed(self, data: str | bytes | Mapping[str, Any]) -> list[Token | Usage]:
        """Events of one `data: {...}` event, or several, or of a chunk that is parsed already.

        Raises EngineError: the stream carries an error, or is no chat stream.
        """
        if not isinstance(data, str | bytes):
            return self._chunk(data)
        reader = EventReader()
        events = reader.feed(data if isinstance(data, bytes) else data.encode("utf-8", "replace")) + reader.end()
        return [each for event in events for each in self.event(event)]

    def event(self, data: str) -> list[Token | Usage]:
        """The Tokens and Usage of one event's data. Raises EngineError, as `feed`."""
        if self.done or not data.strip():
            return []
        if data.strip() == "[DONE]":
            self.done = True
            return []
        return self.whole(parsed(data))

    def whole(self, chunk: Any) -> list[Token | Usage]:
        """Those of a chunk, or of a whole answer. Raises EngineError, as `feed`."""
        if not isinstance(chunk, dict):
            message = "the engine sent something that is no chat completion chunk"
            raise EngineError(message, retryable=True)
        return self._chunk(chunk)

    def end(self) -> list[Token | Usage]:
        """The ends of the choices whose end was not told, where the stream said that it is over."""
        return [token for index, choice in self._choices.items() if choice.begun for token in choice.end("stop", index)]

    def _chunk(self, chunk: Mapping[str, Any]) -> list[Token | Usage]:
        if chunk.get("error") or chunk.get("object") == "error":
            raise engine_error(chunk)
        choices = objects(chunk.get("choices"))
        read = [(index, choice) for choice in choices if (index := self._index(choice)) is not None]
        tokens = [token for index, choice in read for token in self._read(index, choice)]
        said = [chunk.get("usage"), an_object(chunk.get("x_groq")).get("usage"), *(one.get("usage") for one in choices)]
        self._told.take(said, read[0][0] if read else None, sum(bool(token.said) for token in tokens))
        usage = self.usage
        if usage == self._last:
            return list(tokens)
        self._last = usage
        return [usage, *tokens]

    def _index(self, choice: Mapping[str, Any]) -> int | None:
        """Which choice it is; None: one that nobody asked for."""
        index = a_count(choice.get("index")) or 0
        if self._asked == 1:  # some number from 1
            self._only = index if self._only is None else self._only
            return 0 if index == self._only else None
        return index if index < (self._asked or MOST) else None

    def _read(self, index: int, choice: Mapping[str, Any]) -> list[Token]:
        return list(self._choices.setdefault(index, ChoiceStream()).read(choice, index))


def completion_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """A chat request's params as the completions API spells them: there `logprobs` is a number."""
    sent = {name: value for name, value in params.items() if name not in ("logprobs", "top_logprobs")}
    return {**sent, "logprobs": params.get("top_logprobs") or 0} if params.get("logprobs") else sent


def engine_error(body: Any, status: int | None = None) -> EngineError:
    """An OpenAI error body, whole or only its `error`, as an EngineError. status: of the HTTP answer, if any.

    Its message is the engine's own, for the log.
    """
    error = body.get("error") or body if isinstance(body, dict) else body
    if not isinstance(error, dict):
        error = {"message": error}
    code, kind = error.get("code"), a_text(error.get("type"))
    if (number := a_count(code)) is not None:  # vLLM writes the HTTP status here
        status, code = status or number, None
    code, param = a_text(code) or None, a_text(error.get("param")) or None
    message = _DETAILS.sub("", whole(a_text(error.get("message"))) or f"the engine answered with status {status}")
    if code == TOO_LONG or (status in (None, *_CALLERS) and _LENGTH.search(message)):
        return EngineError(message, retryable=False, code=TOO_LONG, param="messages")
    if _is_callers(status, kind) and not ({code, kind} & _OURS):
        return EngineError(message, retryable=False, code=code, param=param)
    return EngineError(message, retryable=True, code=code)


def _is_callers(status: int | None, kind: str) -> bool:
    """Whether the request is at fault. Whatever an upstream has against us (401, 402, 403, 404, 451) is not."""
    return kind in _CALLERS_TYPES if status is None else status in _CALLERS
